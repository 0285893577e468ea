"""`FastAPI(lifespan=app.lifespan)` where the app owns the process: the server is a part of it, and its lifespan starts nothing again."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.programs import LOOPS

from graceful import App, StateError

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

SOURCE = """
import contextlib
import uvicorn
from fastapi import FastAPI, Request, Response

app = App("shop", grace=8, drain_delay=1)

@app.resource
async def pool():
    say("pool open")
    yield {"apples": 3}
    say("pool closed")

site = FastAPI(lifespan=app.lifespan)

@site.get("/apples")
async def apples(request: Request, takes: float = 0.0) -> int:
    say("asked")
    await asyncio.sleep(takes)
    say("answered")
    return request.state.pool["apples"]

@site.get("/ready")
async def ready() -> Response:
    return Response(status_code=503 if app.stopping else 200)

door = socket.socket(fileno=int(sys.argv[1]))

async def serve():
    server = uvicorn.Server(uvicorn.Config(site, log_level="warning"))
    server.capture_signals = contextlib.nullcontext
    return server
"""

RESOURCE = """
@app.resource
async def server():
    uvicorn = await serve()
    serving = asyncio.create_task(uvicorn.serve(sockets=[door]))
    yield
    uvicorn.should_exit = True
    await serving
"""

BACKGROUND = """
@app.background(drain=True)
async def serve_all():
    global uvicorn
    uvicorn = await serve()
    await uvicorn.serve(sockets=[door])

@app.on_shutdown(stage="drain")
def stop_accepting():
    uvicorn.should_exit = True
"""

RUN = "app.run(loop_factory=LOOP)\n"
BLOCK = """
async def main():
    async with app:
        await asyncio.sleep(60)
try:
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
except Interrupted:
    sys.exit(3)
"""


def get(address: tuple[str, int], path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("serve", "entrance", "status"),
    [(RESOURCE, RUN, 0), (BACKGROUND, RUN, 0), (RESOURCE, BLOCK, 3)],
    ids=["resource", "background", "block"],
)
def test_lifespan_in_app(program, loop, serve, entrance, status):
    """Handlers have the resources in `request.state`; at SIGTERM the probe fails at once, and what is asked is answered."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        source = f"import socket\n{SOURCE}{serve}{entrance}"
        running = program(source, loop=loop, args=[str(door.fileno())], pass_fds=[door.fileno()])
        address = door.getsockname()
    assert get(address, "/ready") == (200, b"")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(get, address, "/apples?takes=1.5")
        running.wait_for("asked")
        running.send(signal.SIGTERM)
        until = time.monotonic() + 5
        while get(address, "/ready") != (503, b""):
            assert time.monotonic() < until, "the probe does not fail"
        assert slow.result() == (200, b"3")
    ended = running.end()
    assert ended.status == status, ended.err
    assert ended.lines == ["pool open", "asked", "answered", "pool closed"], ended.err
    assert "Traceback" not in ended.err


def test_a_second_server_in_the_loop():
    """It shares the loop with the first one, whose lifespan the app is, and is no part of the app: that is refused."""

    async def main():
        app = App("shop", signals=())
        both, served = asyncio.Event(), asyncio.Event()

        async def first():
            async with app.lifespan():
                both.set()
                await served.wait()

        async def second():
            await both.wait()
            try:
                with pytest.raises(StateError, match="is running already"):
                    async with app.lifespan():
                        pass
            finally:
                served.set()

        await asyncio.gather(second(), first())

    asyncio.run(main())
