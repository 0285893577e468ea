"""Programs under load: an impatient app, rude clients, and a failure that must be noticed."""

from __future__ import annotations

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
    # Each client connects again and again. Meanwhile a task fails that is never awaited: that one must be noticed.
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

    async def resets_during_the_head():
        async with Raw(port) as raw:
            await raw.send(b"GET / HTTP/1.1\\r\\nHost: he")
            raw.reset()

    async def resets_during_the_body():
        async with Raw(port) as raw:
            await raw.send(request("/echo", "POST", 100_000, b"a part"))
            await asyncio.sleep(0.005)
            raw.reset()

    async def leaves_during_the_body():
        async with Raw(port) as raw:
            await raw.send(request("/echo", "POST", 100_000, b"a part"))
            await asyncio.sleep(0.005)

    async def resets_during_the_response():
        async with Raw(port) as raw:
            await raw.send(request("/endless"))
            await raw.some(10)
            raw.reset()

    async def leaves_during_the_response():
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


ON_PURPOSE = "failure Control('on purpose') - nobody retrieved its exception within 0.05 s"
