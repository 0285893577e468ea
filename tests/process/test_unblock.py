"""What is interrupted where the code that blocks was called by the package, by the loop or by the standard library."""

from __future__ import annotations

import asyncio
import signal

import pytest
from support.blocking import GRACE, MAIN, QUIET_MAIN, source
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


#: What a hook or main must have to block somewhere behind graceful or the loop, and the status.
BEHIND = {
    "an eager task": (
        """
async def block():
    say("ready")
    time.sleep(30)
def eager(loop, coro, eager_start=True, **options):  # 3.13.0's own refuses what uvloop offers
    return asyncio.eager_task_factory(loop, coro, **options)
async def main():
    asyncio.get_running_loop().set_task_factory(eager)
    held = asyncio.create_task(block())
    await asyncio.sleep(60)
""",
        -15,
    ),
    "a context manager that is entered": (
        """
class Slow:
    async def __aenter__(self):
        say("ready")
        time.sleep(30)
    async def __aexit__(self, *_): pass
async def main():
    await app.enter_async_context(Slow())
""",
        -15,
    ),
    "an exception handler": (
        """
def handle(loop, context):
    say("ready")
    time.sleep(30)
async def main():
    asyncio.get_running_loop().set_exception_handler(handle)
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(60)
""",
        1,
    ),
    "a logging handler": (
        """
import logging
class Slow(logging.Handler):
    def emit(self, record): time.sleep(30)
logging.basicConfig(level=logging.INFO, handlers=[Slow()])
"""
        + QUIET_MAIN,
        -15,
    ),
    "a hook in C": ("lock = threading.Lock()\nlock.acquire()\napp.on_shutdown(lock.acquire)\n" + QUIET_MAIN, 1),
    "a pushed callback in C": (MAIN.format(body="    app.push_async_callback(time.sleep, 30)"), 1),
}


def test_code_called_by_the_package_or_the_loop_is_unblocked(program, loop):
    """Code that blocks is unblocked also where the package or the loop called it directly, or where it is all C."""
    started = {}  # side by side, as they take their time
    for block, (main, _) in BEHIND.items():
        if block != "an eager task" or hasattr(asyncio, "eager_task_factory"):
            started[block] = program(source(main=main), loop=loop).wait_for("ready")
    for each in started.values():
        each.send(signal.SIGTERM)
    for block, each in started.items():
        ended = each.end(timeout=8)
        expected = (block, BEHIND[block][1], ["ready", "first", "last"])
        assert expected == (block, ended.status, ended.lines), ended.err
        assert ended.took < GRACE + 1


GUEST = """
app = App("guest", grace=2)
@app.on_shutdown
async def close():
    await asyncio.sleep(1.4)
    say("closed")
async def main():
    async with app: pass
with asyncio.Runner(loop_factory=LOOP) as runner: runner.run(main())
"""


TEXT = """
class Slow(Exception):
    def __str__(self): time.sleep(30)
async def main(): raise Slow
app = App("text", grace=1)
@app.on_shutdown
async def close(): say("closed")
try: app.run(main, loop_factory=LOOP)
except Slow: pass
"""


TIMER = """
app = App("timer", grace=2)
@app.on_shutdown
def close(): say("closed")
@app.on_shutdown
def block(): time.sleep(30)
@app.on_shutdown
def use_the_timer():
    before = signal.signal(signal.SIGALRM, print)
    signal.setitimer(signal.ITIMER_REAL, 1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
try: app.run(asyncio.sleep(0), loop_factory=LOOP)
except HookTimeout: pass
"""


OF_THE_LIBRARY = """
from contextlib import AsyncExitStack
app = App("stack", grace=2)
@app.on_shutdown
def close(): say("closed")
stack = AsyncExitStack()
stack.callback(time.sleep, 30)
app.on_shutdown(stack.aclose)
async def main():
    await app.enter_async_context(other := AsyncExitStack())
    other.callback(time.sleep, 30)
try: app.run(main, loop_factory=LOOP)
except* HookTimeout: pass
"""


OF_THE_LIBRARY_AT_THE_START = """
from contextlib import AsyncExitStack
app = App("stack", grace=2)
stack = AsyncExitStack()
stack.callback(time.sleep, 30)
app.on_startup(timeout=0.3)(stack.aclose)
try: app.run(loop_factory=LOOP)
except HookTimeout: say("closed")
"""


LOOP_THAT_CLOSES_SLOWLY = """
class Slow(asyncio.SelectorEventLoop):
    def close(self):
        super().close()
        time.sleep(30)
app = App("loop", grace=1)
app.run(asyncio.sleep(0), loop_factory=Slow)
say("closed")
"""


ALARM = {"a long cleanup in somebody else's loop": GUEST, "the text of an exception blocks": TEXT}
ALARM |= {"a hook of the library": OF_THE_LIBRARY, "the same at the start": OF_THE_LIBRARY_AT_THE_START}
ALARM |= {"a hook used the timer": TIMER, "the loop blocks when it is closed": LOOP_THAT_CLOSES_SLOWLY}


@pytest.mark.parametrize("case", ALARM)
def test_only_blocking_code_is_interrupted(program, loop, case):
    """A hook that awaits within its time is not interrupted, code that blocks is, and the cleanup runs to its end."""
    ended = program(ALARM[case], loop=loop).end(timeout=8)
    assert (0, ["closed"]) == (ended.status, ended.lines), ended.err
    assert "Traceback" not in ended.err
