"""aiohttp and grpc.aio servers in a resource: the request under way when SIGTERM comes is answered before the server stops."""

from __future__ import annotations

import re
import signal
import socket
import threading
import urllib.request

import pytest
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)

AIOHTTP = """
from aiohttp import web
app = App("site", grace=5)

async def slow(request):
    say("request")
    await wait_for_the_end()
    return web.Response(text="answer")

@app.resource
async def database():
    yield
    say("database closed")

@app.resource
async def server():
    site = web.Application()
    site.router.add_get("/", slow)
    runner = web.AppRunner(site)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    say("port", tcp._server.sockets[0].getsockname()[1])
    yield
    await runner.cleanup()
    say("server stopped")
"""

GRPC = """
import grpc
app = App("rpc", grace=5)

class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        async def slow(request, context):
            say("request")
            await wait_for_the_end()
            return b"answer"
        return grpc.unary_unary_rpc_method_handler(slow)

@app.resource
async def database():
    yield
    say("database closed")

@app.resource
async def server():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    say("port", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    yield
    await server.stop(3)
    say("server stopped")
"""

#: A request goes on for a while after the app has begun to shut down.
END = """
async def wait_for_the_end():
    while not app.stopping:
        await asyncio.sleep(0.01)
    for _ in range(10):
        await asyncio.sleep(0.01)

app.run(loop_factory=LOOP)
"""


@pytest.fixture
def stop_amid(program):
    """Start a server, stop it with SIGTERM when `ask(port)` has reached it; returns the answer, and how it ended."""

    def run(source, loop, ask):
        answers = []

        def request(port):
            try:
                answers.append(ask(port))
            except Exception as error:
                answers.append(error)

        started = program(source + END, loop=loop)
        port = started._read_line().split()[1]
        asking = threading.Thread(target=request, args=[int(port)])
        asking.start()
        ended = started.wait_for("request").send(signal.SIGTERM).end()
        asking.join(20)
        return answers, ended

    return run


EXPECTED = (0, ["request", "server stopped", "database closed"], "")


def test_an_aiohttp_server(stop_amid, loop):
    """`runner.cleanup()` finds the connections of aiohttp alive, and waits for their requests."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")

    def ask(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.read()

    answers, ended = stop_amid(AIOHTTP, loop, ask)

    assert [b"answer"] == answers
    assert EXPECTED == (ended.status, ended.lines, ended.err)


#: A task of grpc.aio itself waits until its C core says that the call is closed. If that comes later than `server.stop()` returns,
#: whatever cancels what is left, `asyncio.run` among them, makes it print this.
GRPC_IS_TOLD_LATE = re.compile(
    r"Traceback .*\n  File .* in grpc\._cython\.cygrpc\._schedule_rpc_coro\n.*CancelledError\n"
)

#: Asks in a process of its own: the threads of gRPC do not go together with the forks of other tests.
GRPC_CLIENT = """
import grpc
with grpc.insecure_channel("127.0.0.1:" + sys.argv[1]) as channel:
    say(channel.unary_unary("/service/method")(b"", timeout=10, wait_for_ready=True).decode())
"""


def test_a_grpc_server(stop_amid, program, loop):
    """`server.stop(grace)` of grpc.aio runs to its end, and the calls under way with it."""
    pytest.importorskip("grpc", reason="grpcio is not installed")

    def ask(port):
        ended = program(GRPC_CLIENT, args=[str(port)]).end(20)
        return ended.out or ended.err

    answers, ended = stop_amid(GRPC, loop, ask)

    assert ["answer\n"] == answers
    assert EXPECTED == (ended.status, ended.lines, GRPC_IS_TOLD_LATE.sub("", ended.err))


STREAMS = """
app = App("echo", grace=5)

async def answer(reader, writer):
    say("request")
    await wait_for_the_end()
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    done.set()

@app.resource
async def database():
    yield
    say("database closed")

@app.resource
async def server():
    global done
    done = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        say("port", server.sockets[0].getsockname()[1])
        yield
        server.close()
        await done.wait()
    say("server stopped")
"""


def test_a_server_of_asyncio(stop_amid, loop):
    """So it is with `asyncio.start_server`, whose connection tasks are created by the transport."""

    def ask(port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"hello\n")
            return client.makefile("rb").read()

    answers, ended = stop_amid(STREAMS, loop, ask)

    assert [b"hello\n"] == answers
    assert EXPECTED == (ended.status, ended.lines, ended.err)
