"""
Hooks under uvicorn, which owns the loop and the signals: the cleanup runs after the last request has been answered.

Frameworks take a lifespan: `FastAPI(lifespan=app.lifespan)`, `Starlette(lifespan=app.lifespan)`. A plain ASGI
application, as here, receives a message at the start and one at the end, and uses `async with app.lifespan():` between
the two.

    python examples/10_uvicorn.py

Needs uvicorn.

Prints:

    database: open
    request: under way, SIGTERM
    client: 3 apples
    database: closed

Exit status: death by SIGTERM, which uvicorn raises again after its shutdown.
"""

import asyncio
import contextlib
import signal
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from graceful import App

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

app = App("shop")


@app.resource
async def database() -> AsyncIterator[None]:
    print("database: open")
    yield
    print("database: closed")


@app.background(drain=True)
async def client() -> None:
    with contextlib.suppress(ConnectionError):  # Ctrl-C may come before the request
        reader, writer = await asyncio.open_connection(*door.getsockname())
        writer.write(b"GET /apples HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        print("client:", answer.partition(b"\r\n\r\n")[2].decode())
        writer.close()


async def asgi(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    print("request: under way, SIGTERM")
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"3 apples"})


async def lifespan(receive: Receive, send: Send) -> None:
    step = (await receive())["type"]  # lifespan.startup
    try:
        async with app.lifespan():
            await send({"type": f"{step}.complete"})
            step = "lifespan.shutdown"
            await receive()
        await send({"type": f"{step}.complete"})
    except Exception:
        await send({"type": f"{step}.failed", "message": traceback.format_exc()})  # uvicorn logs only this message


door = socket.create_server(("127.0.0.1", 0))  # any free port
server = uvicorn.Server(uvicorn.Config(asgi, log_level="warning"))

if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # as uvicorn.run() does
        server.run(sockets=[door])
