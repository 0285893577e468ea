"""
Beside others: aiohttp, uvicorn, hypercorn and anyio, under load and as the owners of the loop.

Under load nothing of what they do may be taken for a failure of the program, however impatient the app is. As owners,
they keep their signals and their requests, and the app's hooks run when the last request was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import socket
import subprocess

import pytest
from conftest import LOOPS

from graceful import App

# --- under load ---------------------------------------------------------------------------------------------------------

#: What each program under load starts with: an impatient app, rude clients, and a failure that must be noticed.
#: The clients use plain sockets, so that what is heard of a transport or a task comes from the server under test.
#: However slow the machine is, the load ends when each of `EXPECTED` was seen.
LOAD = """\
import contextlib, gc, socket, struct
from collections import Counter

PATIENCE, SECONDS, LIMIT = 0.05, 0.6, 30
app = App("load", patience=PATIENCE, grace=8)
seen, turns = Counter(), Counter()

class Control(Exception):
    pass

@app.on_exception
def noticed(failure):
    if isinstance(failure.exception, Control):  # anything else is a false alarm: it stops the program, with status 1
        control.set()
        return True

async def fail():
    raise Control("on purpose")

@contextlib.asynccontextmanager
async def under_load(*clients):
    # Each client comes again and again. Amid the traffic a task fails that nobody looks at: that one must be noticed.
    global control
    control = asyncio.Event()
    began = time.monotonic()
    def enough():
        took = time.monotonic() - began
        return took > LIMIT or (took > SECONDS and turns.total() > 50 and all(seen[word] for word in EXPECTED))
    async def again(client):
        while not enough():
            await client()
            turns[client.__name__] += 1
            await asyncio.sleep(0)
    yield
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(again(client))
        await asyncio.sleep(SECONDS / 2)
        held = asyncio.create_task(fail())
    async with asyncio.timeout(5):
        await control.wait()
    gc.collect()
    await asyncio.sleep(4 * PATIENCE)  # an app this impatient has told of whatever failed by now

def ended():
    for failure in app.report.failures:
        say("failure", repr(failure.exception), "-", failure.message)
    say("turns", turns.total() > 50)
    say("never seen:", *sorted(str(word) for word in EXPECTED if not seen[word]))

class Raw:
    # A connection without a transport or a task.
    def __init__(self, port):
        self.loop = asyncio.get_running_loop()
        self.port = port

    async def __aenter__(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        await self.loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def send(self, data):
        with contextlib.suppress(ConnectionError):
            await self.loop.sock_sendall(self.socket, data)

    async def some(self, size=65536):
        try:
            return await self.loop.sock_recv(self.socket, size)
        except ConnectionError:
            return b""

    async def rest(self):
        got = b""
        while more := await self.some():
            got += more
        return got

    async def reply(self):
        # One response, to its Content-Length or to the end; its status.
        got = b""
        while b"\\r\\n\\r\\n" not in got and (more := await self.some()):
            got += more
        head, _, body = got.partition(b"\\r\\n\\r\\n")
        rows = head.lower().split(b"\\r\\n")
        length = next((int(row[15:]) for row in rows if row.startswith(b"content-length:")), float("inf"))
        while len(body) < length and (more := await self.some()):
            body += more
        return head.split()[1].decode()

def request(path, method="GET", length=None, body=b""):
    length = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\\r\\nHost: here\\r\\nContent-Length: {length}\\r\\n\\r\\n"
    return head.encode() + body

def clients_of(port):
    async def keeps_alive():
        async with Raw(port) as raw:
            for _ in range(5):
                await raw.send(request("/"))
                seen[await raw.reply()] += 1

    async def hits_a_bug():
        async with Raw(port) as raw:
            await raw.send(request("/bug"))
            seen[await raw.reply()] += 1

    async def hits_a_late_bug():
        async with Raw(port) as raw:
            await raw.send(request("/late-bug"))
            await raw.rest()

    async def resets_amid_the_head():
        async with Raw(port) as raw:
            await raw.send(b"GET / HTTP/1.1\\r\\nHost: he")
            raw.reset()

    async def resets_amid_the_body():
        async with Raw(port) as raw:
            await raw.send(request("/echo", "POST", 100_000, b"a part"))
            await asyncio.sleep(0.005)
            raw.reset()

    async def leaves_amid_the_body():
        async with Raw(port) as raw:
            await raw.send(request("/echo", "POST", 100_000, b"a part"))
            await asyncio.sleep(0.005)

    async def resets_amid_the_response():
        async with Raw(port) as raw:
            await raw.send(request("/endless"))
            await raw.some(10)
            raw.reset()

    async def leaves_amid_the_response():
        async with Raw(port) as raw:
            await raw.send(request("/endless"))
            await raw.some(10)

    async def resets_while_it_is_waited_for():
        async with Raw(port) as raw:
            await raw.send(request("/slow"))
            await asyncio.sleep(0.005)
            raw.reset()

    async def sends_slowly():
        async with Raw(port) as raw:
            for byte in request("/", body=b"slowly"):
                await raw.send(bytes([byte]))
                await asyncio.sleep(0)
            seen[await raw.reply()] += 1

    async def reads_slowly():
        async with Raw(port) as raw:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await raw.send(request("/big"))
            for _ in range(20):
                await raw.some(4096)
                await asyncio.sleep(0.001)

    async def talks_nonsense():
        async with Raw(port) as raw:
            await raw.send(b"\\x16\\x03\\x01 nonsense\\r\\n\\r\\n")
            await raw.rest()

    async def sends_two_and_goes():
        async with Raw(port) as raw:
            await raw.send(request("/") * 2)

    return [each for each in locals().values() if callable(each)]
"""

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

AIOHTTP = """
import logging, tempfile
from aiohttp import web
logging.disable()
async def hello(request):
    return web.Response(text="hello")
async def bug(request):
    raise RuntimeError("a bug in a handler")
async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"x" * 1000)
    return response
async def late_bug(request):
    await stream(request)
    raise RuntimeError("a bug in the middle of a response")
async def endless(request):
    response = await stream(request)
    try:
        while True:
            await response.write(b"x" * 1000)
            await asyncio.sleep(0.001)
    finally:
        seen["left"] += 1
async def slow(request):
    await asyncio.sleep(0.05)
    raise RuntimeError("nobody waits for it any more")
async def echo(request):
    return web.Response(body=await request.read())
big = tempfile.NamedTemporaryFile()
big.write(b"x" * 1_000_000)
big.flush()
async def file(request):
    return web.FileResponse(big.name)
async def chat(request):
    socket = web.WebSocketResponse(heartbeat=0.02)
    await socket.prepare(request)
    async for message in socket:
        if message.data == "bug":
            raise RuntimeError("a bug in a websocket handler")
        if message.data == "reset":
            request.transport.abort()
        await socket.send_str(message.data)
    return socket
async def serve(cancel):
    site = web.Application()
    handlers = {"/": hello, "/bug": bug, "/late-bug": late_bug, "/endless": endless, "/slow": slow, "/big": file}
    site.add_routes(web.get(path, handler) for path, handler in handlers.items())
    site.add_routes([web.get("/chat", chat), web.post("/echo", echo)])
    runner = web.AppRunner(site, handler_cancellation=cancel, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]
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

AIOHTTPS_CLIENT = """
import aiohttp
from aiohttp.abc import AbstractResolver

class Nowhere(AbstractResolver):
    async def resolve(self, host, port=0, family=0):
        await asyncio.sleep(0.005)
        raise OSError(f"no such host: {host}")
    async def close(self):
        pass

def clients(session, lost, url):
    async def get(path, **options):
        async with session.get(url + path, **options) as response:
            await response.read()
            seen[response.status] += 1

    def counting(error):
        seen[type(error).__name__] += 1

    async def keeps_alive():
        for _ in range(5):
            await get("/")

    async def hears_of_a_bug():
        try:
            await get("/bug", raise_for_status=True)
        except aiohttp.ClientResponseError as error:
            counting(error)

    async def hears_of_a_late_bug():
        try:
            await get("/late-bug")
        except aiohttp.ClientPayloadError as error:
            counting(error)

    async def has_no_time():
        for limit in (aiohttp.ClientTimeout(total=0.01), aiohttp.ClientTimeout(sock_read=0.01)):
            try:
                await get("/slow", timeout=limit)
            except TimeoutError as error:
                counting(error)

    async def has_no_time_for_the_body():
        try:
            async with asyncio.timeout(0.01):
                await get("/endless")
        except TimeoutError as error:
            counting(error)

    async def is_cancelled():
        tasks = [asyncio.create_task(get(path)) for path in ("/slow", "/endless", "/", "/bug", "/big") for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        seen["cancelled"] += sum(task.cancelled() for task in done)

    async def is_refused():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            try:
                await session.get("http://127.0.0.1:%d/" % closed.getsockname()[1])
            except aiohttp.ClientConnectorError as error:
                counting(error)

    async def finds_nobody():
        found = await asyncio.gather(*[lost.get("http://nowhere.test/") for _ in range(5)], return_exceptions=True)
        seen["nobody"] += sum(isinstance(each, aiohttp.ClientConnectorError) for each in found)

    async def gives_up_finding():
        tasks = [asyncio.create_task(lost.get("http://elsewhere.test/")) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            seen["given up"] += task.cancelled() or task.exception() is not None

    async def waits_for_all():
        slow = asyncio.sleep(4 * PATIENCE)
        bug = get("/bug", raise_for_status=True)
        found = await asyncio.gather(bug, slow, return_exceptions=True)
        seen["all"] += isinstance(found[0], aiohttp.ClientResponseError)

    async def is_one_of_a_group():
        try:
            async with asyncio.TaskGroup() as group:
                for path in ("/slow", "/endless"):
                    group.create_task(get(path))
                group.create_task(get("/bug", raise_for_status=True))
        except* aiohttp.ClientResponseError as error:
            counting(error)

    async def is_reset():
        with socket.create_server(("127.0.0.1", 0)) as rude:
            rude.setblocking(False)
            asking = asyncio.create_task(session.post("http://127.0.0.1:%d/" % rude.getsockname()[1]))
            loop = asyncio.get_running_loop()
            connection, _ = await loop.sock_accept(rude)
            await loop.sock_recv(connection, 65536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            try:
                await asking
            except aiohttp.ClientConnectionError as error:
                counting(error)

    async def sends_a_body_that_fails():
        async def body():
            yield b"some"
            await asyncio.sleep(0.001)
            raise ValueError("no more")
        try:
            async with session.post(url + "/echo", data=body()) as response:
                await response.read()
        except aiohttp.ClientConnectionError as error:
            seen["body"] += 1

    async def sends_what_nobody_reads():
        async def body():
            while True:
                yield b"x" * 65536
        try:
            async with asyncio.timeout(0.05), session.post(url + "/bug", data=body()) as response:
                await response.read()
        except (TimeoutError, aiohttp.ClientConnectionError) as error:
            pass
        seen["unread"] += 1

    async def chats():
        for last in ("bug", "reset", "bye"):
            # Where everything takes long, it is the heartbeat that closes it.
            with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                async with session.ws_connect(url + "/chat", heartbeat=0.02) as chat:
                    await chat.send_str("hello")
                    seen["chat"] += (await chat.receive()).data == "hello"
                    await chat.send_str(last)
                    async with asyncio.timeout(0.01):
                        while not chat.closed:
                            await chat.receive()

    async def closes_amid_its_requests():
        other = aiohttp.ClientSession()
        tasks = [asyncio.create_task(other.get(url + path)) for path in ("/slow", "/endless", "/")]
        await asyncio.sleep(0.005)
        await other.close()
        await asyncio.wait(tasks)
        seen["closed"] += sum(task.exception() is not None for task in tasks)

    return [each for name, each in locals().items() if "_" in name or name == "chats"]

async def main():
    runner, port = await serve(cancel=True)
    lost_session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere(), ttl_dns_cache=0))
    async with aiohttp.ClientSession() as session, lost_session as lost:
        async with under_load(*clients(session, lost, f"http://127.0.0.1:{port}")):
            pass
    await runner.cleanup()
"""

ANYIO = """
import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskStatus

async def fails(after=0.0):
    await anyio.sleep(after)
    raise ValueError("of a child")

async def fails_when_cancelled():
    try:
        await anyio.sleep_forever()
    finally:
        raise KeyError("of a child that is cancelled")

async def a_group_whose_children_fail():
    try:
        async with anyio.create_task_group() as group:
            for after in (0, 0, 0.001):
                group.start_soon(fails, after)
            group.start_soon(fails_when_cancelled)
            await anyio.sleep_forever()
    except* ValueError as errors:
        seen["ValueError"] += len(errors.exceptions)
    except* KeyError as errors:
        seen["KeyError"] += len(errors.exceptions)

async def groups_in_groups():
    try:
        async with anyio.create_task_group() as outer:
            async with anyio.create_task_group() as inner:
                inner.start_soon(fails)
                outer.start_soon(anyio.sleep_forever)
                outer.start_soon(fails, 0.001)
    except* ValueError:
        seen["nested"] += 1

async def scopes():
    with anyio.move_on_after(0.002):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.005)
            await anyio.sleep_forever()
    try:
        with anyio.fail_after(0.002):
            await anyio.sleep_forever()
    except TimeoutError:
        seen["TimeoutError"] += 1
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            scope.cancel()
    seen["cancelled"] += scope.cancelled_caught

async def starts_that_fail():
    async def before(*, task_status):
        await fails(0.001)
    async def after(*, task_status):
        task_status.started("up")
        await fails(0.001)
    async def never(*, task_status):
        await anyio.sleep(0.001)
    async with anyio.create_task_group() as group:
        for service, error in ((before, ValueError), (never, RuntimeError)):
            try:
                await group.start(service)
            except error:
                seen["not started"] += 1
    try:
        async with anyio.create_task_group() as group:
            seen["started"] += await group.start(after) == "up"
            await anyio.sleep_forever()
    except* ValueError:
        pass
    with anyio.move_on_after(0.002):
        async with anyio.create_task_group() as group:
            async def hangs(*, task_status):
                await anyio.sleep_forever()
            await group.start(hangs)

async def threads():
    def raises():
        raise ValueError("in a thread")
    def raises_late():
        time.sleep(0.005)
        raise ValueError("in a thread that was given up")
    def asks():
        from_thread.run(fails)
    for job in (raises, asks):
        try:
            await to_thread.run_sync(job)
        except ValueError:
            seen["thread"] += 1
    with contextlib.suppress(ValueError), anyio.move_on_after(0.002):  # it fails after that, or before
        await to_thread.run_sync(raises_late, abandon_on_cancel=True)
    try:
        async with anyio.create_task_group() as group:
            for job in (raises, raises, raises_late):
                group.start_soon(to_thread.run_sync, job)
    except* ValueError:
        seen["threads"] += 1

async def portals():
    async with from_thread.BlockingPortal() as portal:
        def work():
            nobody_looks = portal.start_task_soon(fails)
            try:
                portal.call(fails)
            except ValueError:
                seen["portal"] += 1
        await to_thread.run_sync(work)

async def memory_streams():
    sender, receiver = anyio.create_memory_object_stream(1)
    async def consume(stream):
        async with stream:
            async for item in stream:
                if item == 3:
                    raise ValueError("of a consumer")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(consume, receiver)
            async with sender:
                for item in range(10):
                    await sender.send(item)
    except* (ValueError, anyio.BrokenResourceError):
        seen["consumer"] += 1
    sender, receiver = anyio.create_memory_object_stream(0)
    with sender, receiver:
        with anyio.move_on_after(0.001):
            await sender.send("nobody receives")
        try:
            receiver.receive_nowait()
        except anyio.WouldBlock:
            seen["WouldBlock"] += 1

async def sockets():
    async def serve(stream):
        async with stream:
            while True:
                await stream.send(await stream.receive())
    async def serve_all(listener):
        async def one(stream):
            try:
                await serve(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                seen[type(error).__name__] += 1
        await listener.serve(one)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(serve_all, listener)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"hello")
            seen["echo"] += await stream.receive() == b"hello"
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(b"hello")
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(stream)
        await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    try:
        await anyio.connect_tcp("localhost", port)
    except OSError:
        seen["refused"] += 1

async def main():
    async with under_load(
        a_group_whose_children_fail, groups_in_groups, scopes, starts_that_fail, threads, portals, memory_streams, sockets
    ):
        pass
"""

SERVERS = {"uvicorn": ASGI + UNDER_UVICORN, "hypercorn": ASGI + UNDER_HYPERCORN, "aiohttp": AIOHTTP + UNDER_AIOHTTP}
ON_PURPOSE = "failure Control('on purpose') - nobody retrieved its exception within 0.05 s"


@pytest.fixture
def under_load(program):
    """Run such a program, which is to see each of these at least once, and say how it ended."""

    def run(source, loop, *expected):
        text = f"EXPECTED = {expected}\n{LOAD}{source}\napp.run(main, loop_factory=LOOP)\nended()\n"
        ended = program(text, loop=loop).end()
        return ended.lines, ended.err, ended.status

    return run


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", SERVERS)
def test_a_servers_traffic_is_no_failure(under_load, server, loop):
    """Clients that reset, leave, dawdle and talk nonsense, and handlers that raise, are no failures of the program."""
    pytest.importorskip(server)
    ended = under_load(SERVERS[server], loop, "200", "500", "left")
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == ended


@pytest.mark.parametrize("loop", LOOPS)
def test_a_clients_traffic_is_no_failure(under_load, loop):
    """Requests that are cancelled, timed out, refused, reset, lost or broken off by either side are no failures."""
    pytest.importorskip("aiohttp")
    errors = ["ClientConnectorError", "ClientOSError", "ClientPayloadError", "ClientResponseError", "ExceptionGroup"]
    others = ["TimeoutError", "all", "body", "cancelled", "chat", "closed", "given up", "left", "nobody", "unread"]
    ended = under_load(AIOHTTP + AIOHTTPS_CLIENT, loop, 200, *errors, *others)
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == ended


@pytest.mark.parametrize("loop", LOOPS)
def test_groups_scopes_and_streams_are_no_failure(under_load, loop):
    """What fails in anyio's groups, starts, threads, portals and streams, and is caught there, is no failure."""
    pytest.importorskip("anyio")
    errors = ["BrokenResourceError", "EndOfStream", "KeyError", "TimeoutError", "ValueError", "WouldBlock"]
    others = ["cancelled", "consumer", "echo", "nested", "not started", "portal", "refused", "started", "thread"]
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == under_load(ANYIO, loop, *errors, *others, "threads")


# --- as the owners of the loop ------------------------------------------------------------------------------------------

#: An ASGI app with hooks. Its answers come from a background task, so that they need the app to be up.
SITE = """
import traceback
app = App("site", grace=5)
jobs = asyncio.Queue()

def handlers():
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGURG, signal.SIGALRM]
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd, [signal.getsignal(number) for number in numbers]

async def told():
    # Until the test writes something.
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    loop.add_reader(0, lambda: woken.done() or woken.set_result(None))
    await woken
    loop.remove_reader(0)

@app.on_startup
def start():
    say("started")

@app.resource
async def pool():
    yield
    await asyncio.sleep(0.01)
    say("pool closed")

@app.background
async def work():
    while True:
        body, answer = await jobs.get()
        answer.set_result(body.upper())

@app.on_shutdown
async def close():
    await asyncio.sleep(0.01)
    say("closed")

async def answer(body):
    if body == b"in flight":
        say("in flight")
        await told()
    done = asyncio.get_running_loop().create_future()
    jobs.put_nowait((body, done))
    return await done

async def http(scope, receive, send):
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    body = await answer(body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

async def site(scope, receive, send):
    await (lifespan if scope["type"] == "lifespan" else http)(scope, receive, send)
"""

LIFESPAN = {
    "plain": """
async def lifespan(scope, receive, send):
    await receive()
    before = handlers()
    async with app.lifespan():
        say("signals are the server's:", before == handlers())
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
                say("signals are the server's:", before == handlers())
                await send({"type": "lifespan.startup.complete"})
                started = True
                await receive()
        except BaseException:
            failed = "lifespan.shutdown.failed" if started else "lifespan.startup.failed"
            await send({"type": failed, "message": traceback.format_exc()})
            raise
        say("signals are the server's:", before == handlers())
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
        say("signals are the server's:", before == handlers())
        yield
    say("signals are the server's:", before == handlers())
site = web.Application()
site.add_routes([web.post("/", handle)])
site.cleanup_ctx.append(lifespan)
listening = socket.socket(fileno=int(sys.argv[1]))
web.run_app(site, sock=listening, loop=(LOOP or asyncio.new_event_loop)(), print=None, keepalive_timeout=60)
""",
}


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
def listener(program):
    """Start a program that can be told something, on its stdin: `listener(source, loop=..., ...)`."""
    with contextlib.ExitStack() as stack:

        def start(source, **options):
            running = program(source, stdin=subprocess.PIPE, **options)
            stack.callback(running.process.stdin.close)
            return running

        yield start


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
def test_a_start_that_fails_is_told_to_the_server(serve, server, status):
    """What was started is cleaned up, and the server does not begin to serve; the error is told."""
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
def test_a_background_task_that_fails_under_uvicorn_is_told(serve, style):
    """No error is swallowed: stderr shows the traceback of a background task that failed, whatever the server does."""
    site, server = site_on("uvicorn", style)
    running, _ = serve(site + FAILS + server, "asyncio")
    running.wait_for("started").process.stdin.write(b"fail")
    running.wait_for("pool closed").send(signal.SIGTERM)
    assert "ValueError: of a background task" in running.end().err


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_stop_ends_the_server(serve, server):
    """app.stop() begins the shutdown of the program; a server that serves on would serve without its app."""
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


SLOW_HOOK = """
@app.on_shutdown
async def slow():
    # Said when the hook has come to its await, so that what interrupts this program there does not hit the hook.
    asyncio.get_running_loop().call_soon(say, "closing")
    await told()
    say("slow closed")
"""
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


# --- asyncio.run --------------------------------------------------------------------------------------------------------

#: A program of which `asyncio.run` takes Ctrl-C.
UNDER_ASYNCIO = """
async def main():
    async with app:
        say("up")
        await asyncio.sleep(60)
try:
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
finally:
    if app.report is not None:
        for outcome in app.report.outcomes:
            say(outcome.hook, outcome.verdict)
"""
BLOCKING_HOOK = """
@app.on_shutdown
async def slow():
    say("closing")
    time.sleep(60)
"""
CLOSED = ["closed", "pool closed", "start ok", "pool ok"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_asyncio_run_while_a_hook_runs(listener, loop):
    """It breaks off the loop and cancels all tasks; the hook that runs and those behind it run to their end."""
    running = listener(SITE + SLOW_HOOK + UNDER_ASYNCIO, loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    running.process.stdin.write(b"go on")
    ended = running.end()
    assert ["slow closed", *CLOSED, "slow ok", "close ok", "pool ok"] == ended.lines[3:], ended.err
    assert -signal.SIGINT == ended.status, ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_asyncio_run_while_a_hook_blocks(program, loop):
    """It unblocks the hook, whose time is over then; those behind it run, and the report says so."""
    running = program(SITE + BLOCKING_HOOK + UNDER_ASYNCIO, loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    ended = running.end()
    assert [*CLOSED, "slow timed out", "close ok", "pool ok"] == ended.lines[3:], ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_ctrl_c_that_unblocked_a_guests_hook_ends_the_process(program, loop):
    """A hook that had to be unblocked is an error, and an error outranks Ctrl-C: status 1, as the report says."""
    running = program(SITE + BLOCKING_HOOK + UNDER_ASYNCIO + "    say(app.report.exit_status)\n", loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    ended = running.end()
    assert (1, "1") == (ended.status, ended.lines[-1])
    assert "HookTimeout" in ended.err


def test_a_third_ctrl_c_under_asyncio_run_ends_it(listener):
    """The second one hurries, the third ends the process by SIGINT, and says which hook was still running, as in `run()`."""
    log = "import logging\nlogging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n"
    running = listener(log + SITE.replace("grace=5", "grace=5, debounce=0") + SLOW_HOOK + UNDER_ASYNCIO)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    running.wait_for("site hurries: 2 s to clean up; Ctrl-C again to end it at once").send(signal.SIGINT)
    ended = running.end()
    assert -signal.SIGINT == ended.status, ended.err
    assert "slow closed" not in ended.lines
    assert "hook slow" in ended.err
    assert "never awaited" not in ended.err


def test_a_second_ctrl_c_under_asyncio_run_wherever_it_comes(program):
    """A doubled Ctrl-C, as terminals and wrappers send it: at whatever line of ours the second comes, no hook is lost."""
    ended = program("""
    import logging
    logging.disable()
    ours = os.path.dirname(graceful.__file__)

    def press_twice(step):
        # The second time when `step` lines of ours were run since the first.
        app, ran, where, left = App(grace=2), [], [], step

        @app.resource
        async def pool():
            yield
            ran.append("pool")

        @app.on_shutdown
        async def close():
            await asyncio.sleep(0)
            ran.append("close")

        def trace(frame, event, _):
            nonlocal left
            if os.path.dirname(frame.f_code.co_filename) != ours:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    where.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}")
                    signal.raise_signal(signal.SIGINT)
            return trace

        async def main():
            async with app:
                asyncio.get_running_loop().call_soon(press)
                await asyncio.sleep(60)

        def press():
            sys.settrace(trace)
            signal.raise_signal(signal.SIGINT)

        def third(*_):
            ran.append("hung")
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, third)
        signal.setitimer(signal.ITIMER_REAL, 10)
        try:
            with asyncio.Runner() as runner:
                runner.run(main())
        except KeyboardInterrupt:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.settrace(None)
        return ran, where

    step = 1
    while (pressed := press_twice(step))[1] and pressed[0] == ["close", "pool"]:
        step += 1
    say(step > 100, pressed)
    """).end()
    assert ["True (['close', 'pool'], [])"] == ended.lines, ended.err


def test_the_report_of_a_block_that_was_cancelled():
    """A block that its owner cancels has that for a cause: the report does not say that stop() was called."""
    app = App(grace=2)

    async def main():
        async with asyncio.timeout(0):
            async with app:
                await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert "stop() was called" not in app.report.text()


# --- what leaves the block ----------------------------------------------------------------------------------------------


def failing(*errors, grace=3):
    """An app whose background tasks raise these, all in one pass of the loop, as soon as its block waits."""
    app = App("failing", grace=grace)
    app.go = asyncio.Event()
    for error in errors:

        async def fail(error=error):
            await app.go.wait()
            raise error

        app.background(fail)
    return app


def chain(error):
    """It, and what it is shown with."""
    while error is not None:
        yield from getattr(error, "exceptions", [error])
        error = error.__cause__ or error.__context__


def test_failures_that_come_together_leave_the_block_together():
    """Two background tasks fail at once: both errors leave the block, in a group or in one's chain."""
    first, second = ValueError("first"), KeyError("second")

    async def main():
        async with failing(first, second) as app:
            app.go.set()
            await asyncio.sleep(60)

    with pytest.raises(Exception) as caught:
        asyncio.run(main())
    assert {first, second} <= {*chain(caught.value)}


def test_a_hook_that_fails_after_a_task_leaves_the_block_with_it():
    """A background task fails, then a hook: the hook's error is seen, too, chained to the task's."""
    failure, of_hook = ValueError("of a task"), OSError("of a hook")

    async def main():
        app = failing(failure)

        @app.on_shutdown
        def close():
            raise of_hook

        async with app:
            app.go.set()
            await asyncio.sleep(60)

    with pytest.raises(ValueError) as caught:
        asyncio.run(main())
    assert {failure, of_hook} <= {*chain(caught.value)}


@pytest.mark.parametrize("end", ["raises", "swallows", "raises when cancelled"])
def test_a_failure_leaves_the_block_however_the_block_ends(end):
    """A block that raises an error of its own, or swallows its cancellation, does not hide the task's failure."""
    failure, own = ValueError("of a task"), KeyError("of the block")

    async def main():
        async with failing(failure) as app:
            app.go.set()
            if end == "raises":
                await asyncio.sleep(0)
                raise own
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if end == "raises when cancelled":
                    raise own from None

    with pytest.raises(Exception) as caught:
        asyncio.run(main())
    assert ({failure} if end == "swallows" else {failure, own}) <= {*chain(caught.value)}


def test_after_a_failure_the_task_is_not_cancelled():
    """The cancellation that ended the block is taken back: whoever catches the failure goes on as if nothing was."""
    seen = []

    async def main():
        try:
            async with failing(ValueError()) as app:
                app.go.set()
                await asyncio.sleep(60)
        except ValueError:
            seen.append(asyncio.current_task().cancelling())
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        seen.append("went on")

    asyncio.run(main())
    assert [0, "went on"] == seen


def test_the_timeout_around_a_block_is_the_owners():
    """asyncio.timeout around the block: the hooks run to their end, then the timeout says so; the count is right."""
    app = App(grace=3)
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.01)
        seen.append("closed")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), app:
                await asyncio.sleep(60)
        seen.append(asyncio.current_task().cancelling())

    asyncio.run(main())
    assert ["closed", 0] == seen


def test_a_sibling_that_fails_ends_the_block():
    """In a TaskGroup beside a task that fails: the hooks run to their end, and the group raises that failure alone."""
    app = App(grace=3)
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))
    failure = LookupError()

    async def fail():
        raise failure

    async def main():
        async with asyncio.TaskGroup() as group, app:
            group.create_task(fail())
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert ((failure,), ["closed"]) == (caught.value.exceptions, seen)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_signals_are_their_owners(loop):
    """Every handler and the wakeup fd are the same as outside, whoever set them; asyncio's SIGINT, and a free SIGALRM, until the app stops."""

    SPARED = {signal.SIGKILL, signal.SIGINT, signal.SIGALRM}

    def handlers():
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        return fd, [signal.getsignal(number) for number in sorted(signal.valid_signals() - SPARED)]

    seen, interrupt = [], []
    app = App(grace=3)
    app.on_startup(lambda: seen.append(handlers()))
    app.on_shutdown(lambda: seen.append(handlers()))

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            seen.append(handlers())
            interrupt.append(signal.getsignal(signal.SIGINT))
            async with app:
                seen.append(handlers())
                interrupt.append(signal.getsignal(signal.SIGINT))
                app.create_task(asyncio.sleep(0))
                app.stop()
            seen.append(handlers())
            interrupt.append(signal.getsignal(signal.SIGINT))
        finally:
            signal.signal(signal.SIGTERM, before)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

    factory = None if loop == "asyncio" else importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert [seen[0]] * 5 == seen
    assert [interrupt[0]] * 3 == interrupt


# --- an app in another app ----------------------------------------------------------------------------------------------

NESTED = """
outer = App("outer", grace=5)

@outer.on_shutdown
def outer_close():
    say("outer closed")

@outer.background
async def nest():
    async with app:
        say("up")
        if "stop" in sys.argv:
            app.stop()
        await asyncio.sleep(60)

outer.run(loop_factory=LOOP)
for outcome in app.report.outcomes:
    say(outcome.hook, outcome.verdict)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_an_app_in_another_apps_task(program, loop):
    """SIGTERM: the inner app's hooks run to their end, in order, before the first of the outer's."""
    running = program(SITE + NESTED, loop=loop)
    ended = running.wait_for("up").send(signal.SIGTERM).end()
    expected = ["started", "up", "closed", "pool closed", "outer closed", "start ok", "pool ok", "close ok", "pool ok"]
    assert (0, expected) == (ended.status, ended.lines), ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_an_app_in_another_app_is_cleaning_up_when_that_is_told_to_stop(listener, loop):
    """The inner app's hook that runs when SIGTERM comes, and those behind it, run to their end before the outer's."""
    running = listener(SITE + SLOW_HOOK + NESTED, loop=loop, args=["stop"])
    running.wait_for("closing").send(signal.SIGTERM).process.stdin.write(b"go on")
    ended = running.end()
    expected = ["started", "up", "closing", "slow closed", "closed", "pool closed", "outer closed"]
    assert [*expected, "start ok", "pool ok", "slow ok", "close ok", "pool ok"] == ended.lines, ended.err
    assert 0 == ended.status, ended.err


def test_the_failure_of_an_inner_app_is_the_outers():
    """A task of the inner app fails: that is raised by its block, and by the outer's run; each tells it once."""
    seen = []
    failure = ValueError("inner")
    outer, inner = App("outer", grace=3), failing(failure, grace=2)
    outer.on_shutdown(lambda: seen.append("outer closed"))
    inner.on_shutdown(lambda: seen.append("inner closed"))

    @outer.background
    async def nest():
        async with inner:
            inner.go.set()
            await asyncio.sleep(60)

    with pytest.raises(ValueError) as caught:
        outer.run()
    assert (failure, ["inner closed", "outer closed"]) == (caught.value, seen)
    assert [[failure]] * 2 == [[each.exception for each in app.report.failures] for app in (inner, outer)]


# --- anyio --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancel_scope_around_a_block(loop):
    """anyio cancels again and again until the block is left: the hooks run to their end all the same, once."""
    anyio = pytest.importorskip("anyio")
    app = App(grace=3)
    seen = []

    @app.resource
    async def pool():
        yield
        await anyio.sleep(0.01)
        seen.append("pool closed")

    @app.on_shutdown
    async def close():
        await anyio.sleep(0.01)
        seen.append("closed")

    async def main():
        with anyio.move_on_after(0.01) as scope:
            async with app:
                await anyio.sleep_forever()
        seen.append(scope.cancelled_caught)

    anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})
    assert ["closed", "pool closed", True] == seen


def test_a_task_group_as_a_resource():
    """anyio's group around the yield of a resource is left by the task that entered it; its children are cancelled."""
    anyio = pytest.importorskip("anyio")
    app = App(grace=3)
    seen = []

    async def child():
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("child cancelled")

    @app.resource
    async def group():
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            yield
            group.cancel_scope.cancel()
        seen.append("group left")

    async def main():
        async with app:
            await anyio.sleep(0.01)

    anyio.run(main)
    app.run(anyio.sleep(0.01))
    assert ["child cancelled", "group left"] * 2 == seen


def test_a_failing_task_of_the_app_in_anyios_group():
    """A failure leaves the block as an exception of that child, so that the group cancels the others and raises it."""
    anyio = pytest.importorskip("anyio")
    seen = []
    failure = ValueError("of the app's task")

    async def serve():
        async with failing(failure) as app:
            app.go.set()
            await anyio.sleep_forever()

    async def other():
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            group.start_soon(serve)

    with pytest.raises(ExceptionGroup) as caught:
        anyio.run(main)
    assert ((failure,), ["cancelled"]) == (caught.value.exceptions, seen)


def test_a_block_that_a_fixture_enters_and_another_task_leaves():
    """As pytest's fixtures do: the app runs between the two, and its hooks run when it is left."""
    app, seen = App(grace=3), []
    app.on_shutdown(lambda: seen.append("closed"))

    async def test():
        seen.append(app.stopping)
        assert await app.sleep(0.01)

    with asyncio.Runner() as runner:
        runner.run(app.__aenter__())
        runner.run(test())
        runner.run(app.__aexit__(None, None, None))
    assert [False, "closed"] == seen
    assert 0 == app.report.exit_status
