"""uvicorn, hypercorn and aiohttp as owners of the loop: they keep their signals and requests, then the hooks run."""

from __future__ import annotations

import contextlib
import signal
import socket

import pytest
from support.programs import LOOPS
from support.sites import SITE, SLOW_HOOK


class Client:
    """A connection to a server, with a patience of its own."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def send(self, body):
        head = f"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def answer(self):
        """The next response: its status and its body."""
        with self.socket.makefile("rb") as lines:
            status = int(lines.readline().split()[1])
            length = 0
            while (line := lines.readline().lower()) != b"\r\n":
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            return status, lines.read(length)

    def is_let_go(self):
        """Wait for the server to close an idle connection, which it does when it begins to shut down."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


@pytest.fixture
def serve(listener):
    """Start a program that serves: `serve(source, loop)` gives it, and what makes connections to it."""
    with contextlib.ExitStack() as stack:

        def start(source, loop):
            with socket.create_server(("127.0.0.1", 0)) as listening:
                fd, port = listening.fileno(), listening.getsockname()[1]
                running = listener(source, loop=loop, args=[str(fd)], pass_fds=[fd])

            def connect():
                client = Client(port)
                stack.callback(client.socket.close)
                return client

            return running, connect

        yield start


LIFESPAN = {
    "plain": """
async def lifespan(scope, receive, send):
    await receive()
    before = handlers()
    async with app.lifespan():
        say("signals are the server's:", owned(before))
        await send({"type": "lifespan.startup.complete"})
        await receive()
    say("signals are the server's:", before == handlers())
    await send({"type": "lifespan.shutdown.complete"})
""",
    "Starlette": """
class Router:
    # Starlette's, in short.
    def __init__(self, lifespan):
        self.lifespan_context = lifespan

    async def lifespan(self, scope, receive, send):
        started = False
        await receive()
        before = handlers()
        try:
            async with self.lifespan_context(self):
                say("signals are the server's:", owned(before))
                await send({"type": "lifespan.startup.complete"})
                started = True
                await receive()
        except BaseException:
            failed = "lifespan.shutdown.failed" if started else "lifespan.startup.failed"
            await send({"type": failed, "message": traceback.format_exc()})
            raise
        say("signals are the server's:", owned(before))
        await send({"type": "lifespan.shutdown.complete"})

lifespan = Router(lifespan=app.lifespan).lifespan
""",
}


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
    "aiohttp": """
import socket
from aiohttp import web
async def handle(request):
    return web.Response(body=await answer(await request.read()))
async def lifespan(site):
    before = handlers()
    async with app:
        say("signals are the server's:", owned(before))
        yield
    say("signals are the server's:", before == handlers())
site = web.Application()
site.add_routes([web.post("/", handle)])
site.cleanup_ctx.append(lifespan)
listening = socket.socket(fileno=int(sys.argv[1]))
web.run_app(site, sock=listening, loop=(LOOP or asyncio.new_event_loop)(), print=None, keepalive_timeout=60)
""",
}


def site_on(server, style="Starlette"):
    pytest.importorskip(server)
    return SITE + LIFESPAN[style], SERVE[server]


SERVER_AND_STYLE = [("uvicorn", "plain"), ("uvicorn", "Starlette"), ("hypercorn", "plain"), ("hypercorn", "Starlette")]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server, style", [*SERVER_AND_STYLE, ("aiohttp", "plain")])
def test_no_request_is_lost(serve, server, style, loop):
    """A request that is in flight at SIGTERM is answered, by tasks of the app; then its hooks run, once and in order."""
    running, connect = serve("".join(site_on(server, style)), loop)
    idle, busy = connect(), connect()
    idle.send(b"before")
    assert (200, b"BEFORE") == idle.answer()
    busy.send(b"in flight")
    running.wait_for("in flight").send(signal.SIGTERM)
    assert idle.is_let_go()
    running.process.stdin.write(b"go on")
    assert (200, b"IN FLIGHT") == busy.answer()
    ended = running.end()
    owned = "signals are the server's: True"
    seen = [line for line in ended.lines if line != "in flight"]
    assert ["started", owned, "closed", "pool closed", owned] == seen, ended.err
    assert (-signal.SIGTERM if server == "uvicorn" else 0) == ended.status, ended.err


@pytest.mark.parametrize(("server", "status"), [("uvicorn", 3), ("hypercorn", 1)])
def test_a_start_that_fails_reaches_the_server(serve, server, status):
    """What was started is cleaned up, and the server does not begin to serve; the error is shown."""
    fails = """
@app.on_startup
def fail():
    raise ValueError("no database")
"""
    site, server = site_on(server)
    ended = serve(site + fails + server, "asyncio")[0].end()
    assert (status, ["started", "closed", "pool closed"]) == (ended.status, ended.lines)
    assert "ValueError: no database" in ended.err


FAILS = """
@app.background
async def fail():
    await told()
    raise ValueError("of a background task")
"""


@pytest.mark.parametrize("server, style", SERVER_AND_STYLE)
def test_a_background_task_that_fails_ends_the_server(serve, server, style):
    """A supervised task's failure ends the program: the server stops serving, and where it can, with a status."""
    status = {"uvicorn": -signal.SIGTERM, "hypercorn": int(style == "Starlette")}[server]
    site, server = site_on(server, style)
    running, connect = serve(site + FAILS + server, "asyncio")
    idle = connect()
    idle.send(b"before")
    assert (200, b"BEFORE") == idle.answer()
    running.process.stdin.write(b"fail")
    assert idle.is_let_go()
    ended = running.end()
    assert (status, ["closed", "pool closed"]) == (ended.status, ended.lines[2:4]), ended.err


@pytest.mark.parametrize(
    "style",
    [
        "plain",
        "Starlette",
    ],
)
def test_a_background_task_that_fails_under_uvicorn_is_shown(serve, style):
    """No error is swallowed: stderr shows the traceback of a background task that failed, whatever the server does."""
    site, server = site_on("uvicorn", style)
    running, _ = serve(site + FAILS + server, "asyncio")
    running.wait_for("started").process.stdin.write(b"fail")
    running.wait_for("pool closed").send(signal.SIGTERM)
    assert "ValueError: of a background task" in running.end().err


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_stop_ends_the_server(serve, server):
    """app.stop() stops the server as well, which would otherwise serve on without its app."""
    stops = """
@app.background
async def ask_to_stop():
    await told()
    app.stop()
"""
    site, server = site_on(server)
    running, connect = serve(site + stops + server, "asyncio")
    idle = connect()
    idle.send(b"before")
    assert (200, b"BEFORE") == idle.answer()
    running.process.stdin.write(b"stop")
    assert idle.is_let_go()
    ended = running.end()
    assert ["closed", "pool closed"] == ended.lines[2:4], ended.err


# --- a second Ctrl-C under uvicorn -----------------------------------------------------------------------------------


TELL = """
for outcome in app.report.outcomes:
    say(outcome.hook, outcome.verdict)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_uvicorn_while_it_waits_for_a_request(serve, loop):
    """uvicorn then gives up the request and its lifespan; the hooks run all the same, once and to their end."""
    site, server = site_on("uvicorn")
    running, connect = serve(site + server + TELL, loop)
    idle, busy = connect(), connect()
    idle.send(b"before")
    assert (200, b"BEFORE") == idle.answer()
    busy.send(b"in flight")
    running.wait_for("in flight").send(signal.SIGINT)
    assert idle.is_let_go()
    running.send(signal.SIGINT)
    busy.socket.close()  # from 3.12 on uvicorn waits for its connections even so
    ended = running.end()
    assert ["closed", "pool closed", "start ok", "pool ok", "close ok", "pool ok"] == ended.lines[3:], ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_uvicorn_while_a_hook_runs(serve, loop):
    """The hook that runs and those behind it run to their end."""
    site, server = site_on("uvicorn")
    running, _ = serve(site + SLOW_HOOK + server + TELL, loop)
    running.wait_for("signals are the server's: True").send(signal.SIGINT)
    running.wait_for("closing").send(signal.SIGINT).process.stdin.write(b"go on")
    ended = running.end()
    expected = ["slow closed", "closed", "pool closed", "signals are the server's: True"]
    assert [*expected, "start ok", "pool ok", "slow ok", "close ok", "pool ok"] == ended.lines[3:], ended.err
