"""
uvicorn as a resource of the app, which owns the process: on Ctrl-C the request under way is answered, then cleanup runs.

uvicorn takes the signals while it serves; here they are left to the app. Whatever ends it, the server is the resource that was
opened last, and so the first to be closed: it stops accepting, and answers the requests that it has accepted.

    python examples/11_server_in_app.py

Needs uvicorn.

Prints:

    database: open
    request: under way
    ^C
    request: answered
    database: closed

Exit status: death by SIGINT. After SIGTERM it is 0.
"""

import asyncio
import contextlib
import socket
import threading
import urllib.request
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


@app.resource
async def server() -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(asgi, lifespan="off", log_level="warning"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # they are the app's
    serving = asyncio.create_task(server.serve(sockets=[door]))
    yield
    server.should_exit = True
    await serving


async def asgi(
    _scope: Message, _receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
) -> None:
    print("request: under way")
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"3 apples"})
    print("request: answered")


def client() -> None:
    """In a thread, which the app knows nothing of."""
    host, port = door.getsockname()
    with contextlib.suppress(OSError):  # Ctrl-C may come before the request
        urllib.request.urlopen(f"http://{host}:{port}/apples").close()


door = socket.create_server(("127.0.0.1", 0))  # any free port

if __name__ == "__main__":
    threading.Thread(target=client).start()
    app.run()
