"""A server that owns the signals is told to stop: requests that wait for the end of the app are told before it waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest
from support.programs import LOOPS, PRELUDE, Program

#: A site that streams until the app stops.
STREAM = """
app = App("site", grace=5)

@app.resource
async def pool():
    yield
    say("pool closed")

@app.on_shutdown(stage="drain")
def drain():
    say("drained")

def told(cause):
    return cause.kind, cause.signal and cause.signal.name

async def lifespan(scope, receive, send):
    await receive()
    async with app.lifespan():
        await send({"type": "lifespan.startup.complete"})
        await receive()
    say("cause", *told(app.report.cause))
    await send({"type": "lifespan.shutdown.complete"})

async def wait(path):
    if path == "/sleep":
        return await app.sleep(60)
    if path == "/wait":
        return await app.wait_stopping()
    return await app.unless_stopping(asyncio.sleep(60), "ended")

async def site(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"begun;", "more_body": True})
    await wait(scope["path"])
    await send({"type": "http.response.body", "body": b"stopping" if app.stopping else b"serving"})
"""

SERVE = {
    "uvicorn": """
import uvicorn
uvicorn.run(site, fd=int(sys.argv[1]), loop=os.environ["TEST_LOOP"], log_level="error")
""",
    "hypercorn": """
import hypercorn.asyncio
config = hypercorn.Config()
config.bind = ["fd://" + sys.argv[1]]
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(hypercorn.asyncio.serve(site, config))
""",
    "uvicorn in a background task": """
import uvicorn
server = uvicorn.Server(uvicorn.Config(site, fd=int(sys.argv[1]), lifespan="off", log_level="error"))
@app.background
async def serve():
    await server.serve()
try:
    app.run(loop_factory=LOOP)
finally:
    say("cause", *told(app.report.cause))
""",
    "uvicorn in main": """
import uvicorn
async def main():
    await uvicorn.Server(uvicorn.Config(site, fd=int(sys.argv[1]), lifespan="off", log_level="error")).serve()
try:
    app.run(main, loop_factory=LOOP)
finally:
    say("cause", *told(app.report.cause))
""",
    "uvicorn in a block": """
import uvicorn
async def main():
    async with app:
        await uvicorn.Server(uvicorn.Config(site, fd=int(sys.argv[1]), lifespan="off", log_level="error")).serve()
try:
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
finally:
    say("cause", *told(app.report.cause))
""",
}

#: The command lines; the program is the module `site_here`.
COMMANDS = {
    "uvicorn": ["uvicorn", "site_here:site", "--log-level", "error", "--fd"],
    "hypercorn": ["hypercorn", "site_here:site", "--workers", "0", "--bind"],
    "hypercorn with workers": ["hypercorn", "site_here:site", "--bind"],
}


class Stream:
    """A request whose answer does not end before the app does."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        self.seen = b""

    def until(self, text: bytes) -> Stream:
        while text not in self.seen:
            more = self.socket.recv(4096)
            assert more, self.seen
            self.seen += more
        return self

    def rest(self) -> bytes:
        while more := self.socket.recv(4096):
            self.seen += more
        self.socket.close()
        return self.seen


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("path", ["/sleep", "/wait", "/unless"])
@pytest.mark.parametrize("server", SERVE)
def test_a_stream_is_told_at_once(program, listening, server, path, loop):
    """At SIGTERM a handler that waits for the end goes on at once, before the server waits for it; no request is lost."""
    pytest.importorskip(server.split()[0])
    fd, port = listening.fileno(), listening.getsockname()[1]
    running = program(STREAM + SERVE[server], loop=loop, args=[str(fd)], pass_fds=[fd])
    stream = Stream(port, path).until(b"begun;")
    running.send(signal.SIGTERM)
    assert b"stopping" in stream.rest()
    ended = running.end()
    assert ended.took < 3
    assert ["cause signal SIGTERM", "drained", "pool closed"] == sorted(ended.lines), ended.err
    own = {"hypercorn": 0, "uvicorn in a background task": 0, "uvicorn in main": 0}
    assert own.get(server, -signal.SIGTERM) == ended.status
    assert [] == [line for line in ended.err.splitlines() if "Running on" not in line]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", ["uvicorn in a background task", "uvicorn in main"])
def test_a_stream_is_told_by_ctrl_c(program, listening, server, loop):
    """So it is at Ctrl-C, where the server has taken the signals from an app that owns them: the shell sees SIGINT."""
    pytest.importorskip("uvicorn")
    fd, port = listening.fileno(), listening.getsockname()[1]
    running = program(STREAM + SERVE[server], loop=loop, args=[str(fd)], pass_fds=[fd])
    stream = Stream(port, "/sleep").until(b"begun;")
    running.send(signal.SIGINT)
    assert b"stopping" in stream.rest()
    ended = running.end()
    assert ended.took < 3
    assert ["cause signal SIGINT", "drained", "pool closed"] == sorted(ended.lines), ended.err
    assert (-signal.SIGINT, "") == (ended.status, ended.err)


@pytest.mark.parametrize("command", COMMANDS)
def test_under_the_command_line(tmp_path, listening, command):
    """The same under `python -m uvicorn`, and `python -m hypercorn`, in its own process and in a worker."""
    pytest.importorskip(command.split()[0])
    (tmp_path / "site_here.py").write_text(PRELUDE + STREAM)
    fd, port = listening.fileno(), listening.getsockname()[1]
    bind = str(fd) if command == "uvicorn" else f"fd://{fd}"
    running = Program(
        subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[command], bind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            pass_fds=[fd],
        )
    )
    with running.process.stdout, running.process.stderr, contextlib.ExitStack() as stack:
        stack.callback(running.process.kill)
        stream = Stream(port, "/sleep").until(b"begun;")
        running.send(signal.SIGTERM)
        assert b"stopping" in stream.rest()
        ended = running.end()
    assert ["cause signal SIGTERM", "drained", "pool closed"] == sorted(ended.lines), ended.err
    assert ended.took < 4


@pytest.mark.parametrize("loop", LOOPS)
def test_readiness_says_so_while_the_server_goes_on(program, listening, loop):
    """On an open connection the readiness probe answers 503 as soon as the signal has come."""
    pytest.importorskip("aiohttp")
    source = """
import socket
from aiohttp import web
app = App("site", grace=5)
async def stream(request):
    say("begun")
    await app.wait_stopping()
    return web.Response(text=str(503 if app.stopping else 200))
async def lifespan(site):
    async with app:
        yield
site = web.Application()
site.add_routes([web.get("/", stream)])
site.cleanup_ctx.append(lifespan)
web.run_app(site, sock=socket.socket(fileno=int(sys.argv[1])), loop=(LOOP or asyncio.new_event_loop)(), print=None)
say("cause", app.report.cause.kind)
"""
    fd, port = listening.fileno(), listening.getsockname()[1]
    running = program(source, loop=loop, args=[str(fd)], pass_fds=[fd])
    stream = Stream(port, "/")
    running.wait_for("begun").send(signal.SIGTERM)
    assert b"503" in stream.rest()
    ended = running.end()
    assert (0, "cause signal") == (ended.status, ended.lines[-1]), ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_beside_sse_starlette(program, listening, loop):
    """sse-starlette, which finds uvicorn's server by its signal handler, ends its streams as it does without us."""
    pytest.importorskip("sse_starlette")
    source = """
import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route
app = App("site", grace=5)
async def events():
    yield {"data": "begun;"}
    await asyncio.sleep(60)
async def stream(request):
    return EventSourceResponse(events())
site = Starlette(routes=[Route("/", stream)], lifespan=app.lifespan)
uvicorn.run(site, fd=int(sys.argv[1]), loop=os.environ["TEST_LOOP"], log_level="error")
"""
    fd, port = listening.fileno(), listening.getsockname()[1]
    running = program(source, loop=loop, args=[str(fd)], pass_fds=[fd])
    stream = Stream(port, "/").until(b"begun;")
    running.send(signal.SIGTERM)
    stream.rest()
    ended = running.end()
    assert ended.took < 3
    assert -signal.SIGTERM == ended.status, ended.err


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", SERVE)
def test_a_failing_background_task_stops_the_server(program, listening, server, loop):
    """A failure is the cause, the server stops, streams are told, and the traceback is shown."""
    pytest.importorskip(server.split()[0])
    fails = """
@app.background
async def fail():
    await go.wait()
    raise ValueError("of a background task")
go = asyncio.Event()
inner = wait
async def wait(path):
    go.set()
    return await inner(path)
"""
    fd, port = listening.fileno(), listening.getsockname()[1]
    running = program(STREAM + fails + SERVE[server], loop=loop, args=[str(fd)], pass_fds=[fd])
    stream = Stream(port, "/sleep")
    assert b"stopping" in stream.rest()
    ended = running.end()
    assert "ValueError: of a background task" in ended.err
    assert {"drained", "pool closed"} <= {*ended.lines}, ended.lines
    assert 0 != ended.status or server == "hypercorn"
    assert ended.took < 4
