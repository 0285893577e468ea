"""
uvicorn as a task inside the app, which owns the loop and the signals.

On SIGTERM, uvicorn answers the request in progress. Then the cleanup runs, and the exit status is the app's: 0.

    python examples/11_server_in_app.py

Needs uvicorn.

Prints:

    database: open
    request: under way, SIGTERM
    client: 3 apples
    database: closed

Exit status: 0.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from graceful import App

Message = dict[str, Any]

app = App("shop")


@app.resource
async def database() -> AsyncIterator[None]:
    print("database: open")
    yield
    print("database: closed")


@app.background(drain=True)
async def serve() -> None:
    await server.serve(sockets=[door])


@app.on_shutdown(stage="drain")
def stop_accepting() -> None:
    server.should_exit = True  # it answers the accepted requests, and then `serve` returns


@app.background(drain=True)
async def client() -> None:
    with contextlib.suppress(ConnectionError):  # Ctrl-C may come before the request
        reader, writer = await asyncio.open_connection(*door.getsockname())
        writer.write(b"GET /apples HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        print("client:", answer.partition(b"\r\n\r\n")[2].decode())
        writer.close()


async def asgi(
    _scope: Message, _receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
) -> None:
    print("request: under way, SIGTERM")
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"3 apples"})


door = socket.create_server(("127.0.0.1", 0))  # any free port
server = uvicorn.Server(uvicorn.Config(asgi, lifespan="off", log_level="warning"))
server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment] # the app handles the signals

if __name__ == "__main__":
    app.run()
