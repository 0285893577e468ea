"""
FastAPI under uvicorn: a resource of the app in `request.state`, and a readiness probe that fails as soon as it stops.

`FastAPI(lifespan=app.lifespan)` opens the resources before the first request and closes them after the last one. What a
resource yields is in `request.state`, under the name of its function. `app.stopping` is true from the signal on, while
uvicorn still answers the requests it has accepted. It accepts no new connection, so a new probe is refused; in
22_fastapi_in_app.py everything is served for a while.

    python examples/14_fastapi.py

Needs uvicorn.
Needs fastapi.

Prints:

    database: open
    client: 3 apples
    database: ping
    client: ready, 200
    database: ping
    ^C
    client: not ready, 503
    database: closed

Exit status: 0, which is that of `uvicorn.run` after Ctrl-C. After SIGTERM it dies by that.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import uvicorn
from fastapi import FastAPI, Request, Response

from graceful import App

app = App("shop")
site = FastAPI(lifespan=app.lifespan)


class Database:
    stock = 3

    async def ping(self) -> None:
        print("database: ping")
        await asyncio.sleep(0.5)


@app.resource
async def database() -> AsyncGenerator[Database]:
    print("database: open")
    yield Database()
    print("database: closed")


@site.get("/apples")
async def apples(request: Request) -> str:
    return f"{request.state.database.stock} apples"


@site.get("/ready")
async def ready(request: Request) -> Response:
    await request.state.database.ping()
    return Response("not ready", status_code=503) if app.stopping else Response("ready")


async def get(path: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@app.background(drain=True)
async def client() -> None:
    with contextlib.suppress(ConnectionError):  # Ctrl-C may come before the request
        _, body = await get("/apples")
        print("client:", body.strip('"'))
        while not app.stopping:
            status, body = await get("/ready")
            print(f"client: {body}, {status}")


door = socket.create_server(("127.0.0.1", 0))  # any free port

if __name__ == "__main__":
    uvicorn.run(site, fd=door.fileno(), log_level="warning")
