"""uvicorn, hypercorn and aiohttp under load: nothing of what they do is taken for a failure of the program."""

from __future__ import annotations

import pytest
from support.load import AIOHTTP, ON_PURPOSE
from support.programs import LOOPS

#: An ASGI app whose paths behave as badly as its clients.
ASGI = """
async def site(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    async def answer(status, body=b"", more=False, length=None):
        headers = [(b"content-length", str(len(body) if length is None else length).encode())] if not more else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})
    path = scope["path"]
    if path == "/bug":
        raise RuntimeError("a bug in a handler")
    if path == "/late-bug":
        await answer(200, b"some", more=True)
        raise RuntimeError("a bug in the middle of a response")
    if path == "/endless":
        await answer(200, b"x" * 1000, more=True)
        async def feed():
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
                await asyncio.sleep(0.001)
        async def gone():
            while (await receive())["type"] != "http.disconnect":
                pass
            raise ConnectionResetError("the client has gone")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed())
                group.create_task(gone())
        finally:
            seen["left"] += 1
    if path == "/slow":
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ConnectionResetError("the client has gone")
    if path == "/echo":
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ConnectionResetError("the client has gone")
            body, more = body + event["body"], event["more_body"]
        return await answer(200, body)
    await answer(200, b"x" * 1_000_000 if path == "/big" else b"hello")
"""


UNDER_UVICORN = """
import uvicorn
async def main():
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(site, lifespan="off", log_level=100))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    async with under_load(*clients_of(port)):
        pass
    server.should_exit = True
    await serving
"""


UNDER_HYPERCORN = """
import hypercorn.asyncio, logging
logging.disable()
async def main():
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = hypercorn.Config()
    config.bind = [f"fd://{listening.fileno()}"]
    enough = asyncio.Event()
    serving = asyncio.create_task(hypercorn.asyncio.serve(site, config, shutdown_trigger=enough.wait))
    async with under_load(*clients_of(port)):
        pass
    enough.set()
    await serving
"""


UNDER_AIOHTTP = """
async def main():
    one, one_port = await serve(cancel=False)
    two, two_port = await serve(cancel=True)
    async with under_load(*clients_of(one_port), *clients_of(two_port)):
        pass
    await one.cleanup()
    await two.cleanup()
"""


SERVERS = {"uvicorn": ASGI + UNDER_UVICORN, "hypercorn": ASGI + UNDER_HYPERCORN, "aiohttp": AIOHTTP + UNDER_AIOHTTP}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", SERVERS)
def test_a_servers_traffic_is_no_failure(under_load, server, loop):
    """Clients that reset, leave, are slow or talk nonsense, and handlers that raise, are no failures of the program."""
    pytest.importorskip(server)
    ended = under_load(SERVERS[server], loop, "200", "500", "left")
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == ended
