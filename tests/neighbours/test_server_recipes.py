"""The recipes of examples/servers: whatever ends the app, nothing that a server has begun is lost, and streams are told."""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import time

import pytest
from support.programs import LOOPS
from support.recipes import FOLDER, RECIPE, Client, free_port, upgrade, wait_refused

#: The recipes for HTTP, each with its exit status after SIGTERM, a failure and `stop()`.
HTTP = {
    "aiohttp_resource": (0, 1, 0),
    "aiohttp_run_app": (0, 1, 0),
    "hypercorn_lifespan": (0, 1, 0),
    "hypercorn_resource": (0, 1, 0),
    "uvicorn_lifespan": (-signal.SIGTERM, -signal.SIGTERM, -signal.SIGTERM),
    "uvicorn_resource": (0, 1, 0),
}
GRPC = {"grpc_block": (-signal.SIGTERM, 1, 0), "grpc_resource": (0, 1, 0)}
ENDS = ["SIGTERM", "failure", "stop"]
#: What ends it has little to do with the loop, so one end is tried on each.
ENDS_AND_LOOPS = [
    *(
        pytest.param("SIGTERM", *each.values, marks=each.marks) if hasattr(each, "values") else ("SIGTERM", each)
        for each in LOOPS
    ),
    ("failure", "asyncio"),
    ("stop", "asyncio"),
]

#: Stops reading at the end, so an upload is lost of which a part is still to come: its first lines say so.
READS_NO_MORE = "aiohttp_run_app"

AT_MOST = 5  # lines of ours


@pytest.fixture
def recipe(listener):
    """Start a recipe: `recipe(name, end, loop)` gives it, and its port. `end_it(running, end)` then does what `end` says."""
    reserved = []

    def start(name, end, loop):
        pytest.importorskip(name.split("_")[0])
        if not name.startswith(("grpc", "aiohttp")):
            pytest.importorskip("starlette")
        holder, port = free_port()
        reserved.append(holder)
        env = {"PORT": str(port), "END": end, "PYTHONUNBUFFERED": "1"}
        return listener(RECIPE, loop=loop, args=[FOLDER / f"{name}.py"], env=env), port

    yield start
    for each in reserved:
        each.close()


@pytest.fixture
def connect():
    """A client of this port: `connect(port)`."""
    with contextlib.ExitStack() as stack:

        def client(port):
            made = Client(port)
            stack.callback(made.close)
            return made

        yield client


def end_it(running, end):
    if end == "SIGTERM":
        running.send(signal.SIGTERM)
    else:
        running.process.stdin.write(b"end")
        running.wait_for("end")
        running.since = time.monotonic()


@pytest.mark.parametrize("end, loop", ENDS_AND_LOOPS)
@pytest.mark.parametrize("name", HTTP)
def test_nothing_is_lost(recipe, connect, name, end, loop):
    """The request under way is answered, connections are closed without a reset, and an event stream and a websocket end."""
    running, port = recipe(name, end, loop)
    idle, busy, stream, websocket = (connect(port) for _ in range(4))
    assert (200, b"") == idle.send("GET /ready").answer()
    stream.send("GET /events").head()
    events = stream.chunks()
    assert b"data: 0\n\n" == next(events)
    frames = upgrade(websocket, "/follow").frames()
    assert (1, b"0") == next(frames)
    body = b"apple" * 20_000
    busy.send("POST /order?id=1&takes=0.2", Content_Length=len(body), Expect="100-continue")
    assert 100 == busy.head()[0]  # the handler reads
    late = 0 if name == READS_NO_MORE else 1000
    busy.socket.sendall(body[late:])

    end_it(running, end)

    assert b"event: end\ndata:\n\n" == [*events][-1]
    *prices, (close, code) = frames_until_close(websocket, frames)
    assert [(1, str(number).encode()) for number in range(1, len(prices) + 1)] == prices
    assert (8, 1001) == (close, int.from_bytes(code[:2]))
    busy.socket.sendall(body[:late])
    assert (200, f"1 {hashlib.sha256(body).hexdigest()}".encode()) == busy.answer()
    assert [b"", b"", b""] == [each.rest() for each in (idle, busy, stream)]
    assert b"" == websocket.rest_after_close_frame()
    ended = running.end()
    assert HTTP[name][ENDS.index(end)] == ended.status, ended.err
    assert ["order 1", "database closed"] == [line for line in ended.lines if line != "end"]
    assert (end == "failure") == ("ValueError: of a background task" in ended.err) == (ended.err != ""), ended.err
    assert ended.took < 3


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", HTTP)
def test_a_request_alone_is_answered(recipe, connect, name, end):
    """So is a request with nothing beside it that the drain would wait for; what it uses is closed after that."""
    running, port = recipe(name, end, "asyncio")
    busy = connect(port).send("POST /order?id=1&takes=0.3", Content_Length=5, Expect="100-continue")
    assert 100 == busy.head()[0]
    if name == READS_NO_MORE:
        busy.socket.sendall(b"apple")

    end_it(running, end)

    if name != READS_NO_MORE:
        wait_refused(port)
        busy.socket.sendall(b"apple")
    assert (200, f"1 {hashlib.sha256(b'apple').hexdigest()}".encode()) == busy.answer()
    assert b"" == busy.rest()
    ended = running.end()
    assert HTTP[name][ENDS.index(end)] == ended.status, ended.err
    assert ["order 1", "database closed"] == [line for line in ended.lines if line != "end"]


def test_answers_of_a_closing_aiohttp_say_so(recipe, connect):
    """Also those that a handler raises: or the next request on such a connection would come just as it is closed."""
    running, port = recipe("aiohttp_resource", "SIGTERM", "asyncio")
    answered, refused, busy = (connect(port) for _ in range(3))
    for client in (answered, refused):
        assert (200, b"") == client.send("GET /ready").answer()
    busy.send("POST /order?id=1", Content_Length=5, Expect="100-continue")
    assert 100 == busy.head()[0]
    running.send(signal.SIGTERM)
    wait_refused(port)

    for client, path, status in (answered, "/ready", 503), (refused, "/nothing", 404):
        found, headers = client.send(f"GET {path}").head()
        assert (status, b"close") == (found, headers.get(b"connection"))
        client.rest()
    busy.socket.sendall(b"apple")
    assert (200, f"1 {hashlib.sha256(b'apple').hexdigest()}".encode()) == busy.answer()
    assert 0 == running.end().status


def frames_until_close(websocket, frames):
    """The frames up to the one that closes, which is answered."""
    seen = []
    for opcode, payload in frames:
        seen.append((opcode, payload))
        if opcode == 8:
            websocket.close_frame(payload)
            break
    return seen


#: A client of the service, in a process of its own: the threads of gRPC do not go together with the forks of other tests.
GRPC_CLIENT = """
import hashlib, grpc
body = b"apple" * 20_000
with grpc.insecure_channel("127.0.0.1:" + sys.argv[1], options=[("grpc.enable_retries", 0)]) as channel:
    ready = channel.stream_unary("/shop/ready")
    ready(iter([]), timeout=20, wait_for_ready=True)
    prices = channel.unary_stream("/shop/prices")(b"")
    assert b"0" == next(prices)
    order = channel.unary_unary("/shop/order").future(b"1 0.3 " + body)
    ready(iter([]), timeout=20)  # on the same connection, so by now the order has begun
    say("begun")
    assert order.result(20) == b"1 " + hashlib.sha256(body).hexdigest().encode()
    last = int([b"0", *prices][-1])
    say("told" if last < 100 else last, prices.code().name)
"""


@pytest.mark.parametrize("end, loop", ENDS_AND_LOOPS)
@pytest.mark.parametrize("name", GRPC)
def test_no_call_is_lost(recipe, program, name, end, loop):
    """The call under way is answered, and a stream ends by itself, with OK."""
    running, port = recipe(name, end, loop)
    client = program(GRPC_CLIENT, args=[str(port)])
    client.wait_for("begun")

    end_it(running, end)

    called = client.end(30)
    assert (0, ["begun", "told OK"], "") == (called.status, called.lines, called.err)
    ended = running.end()
    assert GRPC[name][ENDS.index(end)] == ended.status, ended.err
    assert ["order 1", "database closed"] == [line for line in ended.lines if line != "end"]
    assert (end == "failure") == ("ValueError: of a background task" in ended.err) == (ended.err != ""), ended.err


# --- how much of it is ours ------------------------------------------------------------------------------------------


CALLS_GRACEFUL = re.compile(r"\b(?:App\(|app\.(?!value)\w+|async with app\b)")


def ours(path):
    """The lines that call graceful or are decorated by it, in a recipe and in the application that it imports."""
    code = path.read_text().split('"""', 2)[2]
    lines = [line for line in code.splitlines() if CALLS_GRACEFUL.search(line)]
    for site in re.findall(r"^from (site_\w+) import", code, re.MULTILINE):
        lines += ours(FOLDER / f"{site}.py")
    return lines


@pytest.mark.parametrize("name", [*HTTP, *GRPC])
def test_a_recipe_is_short(name):
    """A recipe has at most five lines of graceful, with those of its application; each is marked, and nothing else is."""
    lines = ours(FOLDER / f"{name}.py")
    marked = [line for line in lines if "  # graceful" in line]
    files = [FOLDER / f"{name}.py", *FOLDER.glob(f"site_{'asgi' if 'corn' in name else name.split('_')[0]}.py")]

    assert 3 <= len(lines) <= AT_MOST, lines
    assert lines == marked
    assert len(files) == 2
    assert len(marked) == sum(line.count("  # graceful") for path in files for line in path.read_text().splitlines())


def test_each_recipe_is_tried():
    """Each file in the folder is one of these, or an application of theirs."""
    assert sorted([*HTTP, *GRPC]) == sorted(
        path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("site_")
    )
