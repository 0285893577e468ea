"""An ASGI site with hooks, for the tests in which a server or asyncio.run() owns the loop."""

from __future__ import annotations

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

def owned(before):
    # Whether the server's handlers are still called: the app only announces their signals.
    inside = [getattr(each, "_handler", each) for each in handlers()[1][:2]]
    return before[1][:2] == inside

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


SLOW_HOOK = """
@app.on_shutdown
async def slow():
    # Said when the hook has come to its await, so that what interrupts this program there does not hit the hook.
    asyncio.get_running_loop().call_soon(say, "closing")
    await told()
    say("slow closed")
"""
