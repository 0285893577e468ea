"""
FastAPI in an app that owns the process: the readiness probe fails while everything is still served.

The server is a resource of the app, opened last and closed first. So the app has the signals, and goes on serving for its
`drain_delay`, in which load balancers learn from `/ready` to send their requests elsewhere. `FastAPI(lifespan=app.lifespan)`
starts nothing here, because the app is running already; it puts the resources into `request.state`.

    python examples/22_fastapi_in_app.py

Needs uvicorn.
Needs fastapi.

Prints:

    database: open
    client: ready, 200
    ^C
    client: not ready, 503
    client: 3 apples
    database: closed

Exit status: death by SIGINT. After SIGTERM it is 0.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import uvicorn
from fastapi import FastAPI, Request, Response

from graceful import App

app = App("shop", drain_delay=1.5)  # under Kubernetes about 5 s
site = FastAPI(lifespan=app.lifespan)


class Database:
    stock = 3


@app.resource
async def database() -> AsyncGenerator[Database]:
    print("database: open")
    yield Database()
    print("database: closed")


@app.resource
async def server() -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(site, log_level="warning"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # they are the app's
    serving = asyncio.create_task(server.serve(sockets=[door]))
    yield
    server.should_exit = True
    await serving


@site.middleware("http")
async def say_goodbye(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    if app.stopping:  # so that nobody sends another request on this connection, just before it is closed
        response.headers["Connection"] = "close"
    return response


@site.get("/apples")
async def apples(request: Request) -> str:
    return f"{request.state.database.stock} apples"


@site.get("/ready")
async def ready() -> Response:
    return Response("not ready", status_code=503) if app.stopping else Response("ready")


async def get(path: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@app.background
async def client() -> None:
    for _ in range(2):
        status, body = await get("/ready")
        print(f"client: {body}, {status}")
        await app.wait_stopping()
    _, body = await get("/apples")
    print("client:", body.strip('"'))


door = socket.create_server(("127.0.0.1", 0))  # any free port

if __name__ == "__main__":
    app.run()
