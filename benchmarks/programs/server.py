"""Requests that a server answers per second of its own CPU time: `server.py FRAMEWORK echo|aiohttp`."""

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncGenerator

from frameworks import Spawn, complete

#: The number of requests in a part, which takes about a tenth of a second.
REQUESTS = {"echo": 3_000, "aiohttp": 1_500}
PARTS = 12


@contextlib.asynccontextmanager
async def echo() -> AsyncGenerator[int, None]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@contextlib.asynccontextmanager
async def aiohttp() -> AsyncGenerator[int, None]:
    from aiohttp import web

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello!")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def main(_: Spawn) -> None:
    """Serve a client in another process, and read the CPU clock whenever the client has completed a part."""
    kind = sys.argv[2]
    program = os.path.join(os.path.dirname(__file__), "client.py")
    async with {"echo": echo, "aiohttp": aiohttp}[kind]() as port:
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, program, str(port), kind, str(REQUESTS[kind]), str(PARTS)), stdout=asyncio.subprocess.PIPE
        )
        assert client.stdout is not None
        times = [time.thread_time() async for _ in client.stdout]
        print(REQUESTS[kind] / min(end - began for began, end in itertools.pairwise(times)))  # the least disturbed part
        await client.wait()


complete(sys.argv[1], main)
