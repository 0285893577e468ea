"""nats-py beside a real nats-server: what the client has received or buffered when the app ends is handled and sent."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess

import pytest
from support.programs import LOOPS

NATS_SERVER = shutil.which("nats-server")

pytestmark = pytest.mark.skipif(NATS_SERVER is None, reason="there is no nats-server on the PATH")

#: How many messages wait in the subscription when the end comes, and how many main publishes as its last words.
JOBS, LAST_WORDS = 20, 100

#: A client with a subscription whose handler takes its time, so that all `JOBS` are unhandled when the app ends.
CLIENT = """
import contextlib
import nats

app = App("worker", grace=8)

@contextlib.asynccontextmanager
async def connected():
    global client
    client = await nats.connect("nats://127.0.0.1:" + sys.argv[1], allow_reconnect=False)
    await client.subscribe("jobs", cb=handle)
    try:
        yield
    finally:
        await client.drain()
        say("drained")

async def handle(message):
    while not ending.is_set():
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.002)
    await client.publish("done", b"job " + message.data)

@contextlib.contextmanager
def last_words():
    # What main publishes as it ends: it is in the client's buffer when the client is released.
    global ending
    ending = asyncio.Event()
    try:
        yield
    finally:
        ending.set()
        async def publish():
            for number in range(LAST_WORDS):
                await client.publish("done", f"last {number}".encode())
        try:
            publish().send(None)  # without giving up the loop, in which the client would flush
        except StopIteration:
            say("buffered", client.pending_data_size > 0)

async def work():
    with last_words():
        for number in range(JOBS):
            await client.publish("jobs", str(number).encode())
        await client.flush()  # all of them are back, and wait for `handle`
        say("up")
        await end()
"""

SHAPES = {
    "resource": """
@app.resource
async def nats_client():
    async with connected():
        yield
main = work
""",
    "pair of hooks": """
@app.on_startup
async def connect():
    global connection
    connection = connected()
    await connection.__aenter__()
@app.on_shutdown
async def disconnect():
    await connection.__aexit__(None, None, None)
main = work
""",
    "enter_async_context": """
async def main():
    await app.enter_async_context(connected())
    await work()
""",
    "async with in main": """
async def main():
    async with connected():
        await work()
""",
}

#: How main goes on when it is up; what happens then; the exit status.
ENDS = {
    "SIGTERM": ("await asyncio.sleep(60)", -signal.SIGTERM),
    "SIGINT": ("await asyncio.sleep(60)", -signal.SIGINT),
    "main fails": ("raise ValueError('of main')", 1),
    "a background task fails": ("failing.set(); await asyncio.sleep(60)", 1),
    "stop()": ("app.stop(); await asyncio.sleep(60)", 0),
    "main returns": ("return", 0),
}

RUN = """
@app.background
async def fail():
    global failing
    failing = asyncio.Event()
    await failing.wait()
    raise ValueError("of a background task")

app.run(main, loop_factory=LOOP)
"""


class Subscriber:
    """Reads a subject in the words of the protocol, without a library; `SUB` has reached the server when it is made."""

    def __init__(self, port: int, subject: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.lines = self.socket.makefile("rb")
        self.socket.sendall(f'CONNECT {{"verbose":false}}\r\nSUB {subject} 1\r\nPING\r\n'.encode())
        while self.lines.readline() != b"PONG\r\n":
            pass

    def read(self, count: int) -> list[str]:
        """The next messages; fewer if none comes any more for as long as the socket's timeout."""
        got: list[str] = []
        with contextlib.suppress(TimeoutError):
            while len(got) < count and (line := self.lines.readline()):
                if line.startswith(b"MSG "):
                    got.append(self.lines.read(int(line.split()[-1])).decode())
                elif line == b"PING\r\n":
                    self.socket.sendall(b"PONG\r\n")
        return got

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@pytest.fixture(scope="module")
def port():
    """A nats-server on a free port of its own choice."""
    command = [NATS_SERVER, "-a", "127.0.0.1", "-p", "-1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = None
            for line in server.stderr:
                if listening := re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", line):
                    port = int(listening[1])
                if "Server is ready" in line:
                    break
            assert port, "nats-server has not said where it listens"
            yield port
        finally:
            server.terminate()


@pytest.fixture
def done(port):
    """What comes on the subject `done`."""
    with contextlib.closing(Subscriber(port, "done")) as subscriber:
        yield subscriber


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_message_is_lost(program, port, done, shape, end, loop):
    """Each message that was received is handled, and each that was published arrives, however the client is opened."""
    pytest.importorskip("nats", reason="nats-py is not installed")
    ending, status = ENDS[end]
    sizes = f"JOBS, LAST_WORDS = {JOBS}, {LAST_WORDS}\n"
    source = f"{sizes}{CLIENT}{SHAPES[shape]}\nasync def end():\n    {ending}\n{RUN}"

    running = program(source, loop=loop, args=[str(port)]).wait_for("up")
    if end.startswith("SIG"):
        running.send(signal.Signals[end])
    ended = running.end()

    assert ["up", "buffered True", "drained"] == ended.lines, ended.err
    assert status == ended.status, ended.err
    assert (status == 1) == ("ValueError: of" in ended.err) == (ended.err != ""), ended.err
    expected = [f"last {number}" for number in range(LAST_WORDS)] + [f"job {number}" for number in range(JOBS)]
    assert expected == done.read(len(expected))


SUBSCRIBED_BY_MAIN = """
import nats
app = App("worker", grace=8)

@app.resource
async def nats_client():
    client = await nats.connect("nats://127.0.0.1:" + sys.argv[1], allow_reconnect=False)
    yield client
    await client.drain()
    say("drained")

@app.on_shutdown(stage="drain")
async def stop_receiving():
    await subscription.drain()

async def handle(message):
    while not app.stopping:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.002)
    await app.value(nats_client).publish("done", b"job " + message.data)

async def main():
    global subscription
    client = app.value(nats_client)
    subscription = await client.subscribe("jobs", cb=handle)
    for number in range(JOBS):
        await client.publish("jobs", str(number).encode())
    await client.flush()
    say("up")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_subscription_of_main(program, port, done, loop):
    """Its task is main's work, which is cancelled before the client is closed: a drain hook ends it before that."""
    pytest.importorskip("nats", reason="nats-py is not installed")
    source = f"JOBS = {JOBS}\n{SUBSCRIBED_BY_MAIN}"

    ended = program(source, loop=loop, args=[str(port)]).wait_for("up").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["up", "drained"], "") == (ended.status, ended.lines, ended.err)
    assert [f"job {number}" for number in range(JOBS)] == done.read(JOBS)
