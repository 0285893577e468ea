"""Code that blocks the event loop is interrupted in time, named on stderr, and every hook still runs."""

from __future__ import annotations

import re
import signal

import pytest
from support.blocking import GRACE, HOOK, MAIN, TASK, source
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


BLOCKS = {
    "a Python loop": "    while True: pass",
    "a Python loop that swallows exceptions": """
    while True:
        try: pass
        except Exception: pass
""",
    "time.sleep": "    time.sleep(60)",
    "a lock": """
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
""",
    "a socket": """
    import socket
    near, far = socket.socketpair()
    near.recv(1)
""",
    "a subprocess": """
    import subprocess
    subprocess.run(["sleep", "60"])
""",
    "a catastrophic regex": """
    import re
    re.match(r"(a+)+$", "a" * 60 + "b")
""",
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("where", ["main", "task", "hook"])
def test_a_blocked_loop_is_unblocked(program, loop, where, block):
    """Interruptible code that blocks the loop is aborted in time: every hook still runs to its end."""
    body = BLOCKS[block]
    if where == "hook":
        text, status = source(HOOK.format(body=body)), 1
    else:
        text, status = source(main=(MAIN if where == "main" else TASK).format(body=body)), -15
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (status, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert {"main": "in main", "task": "in work", "hook": "in stuck"}[where] in ended.err
    assert (status == 1) == ("Traceback" in ended.err)
    assert ended.took < GRACE + 1


def test_a_block_that_ends_by_itself(program, loop):
    """If the blocking code ends before half the grace, the shutdown goes on as usual."""
    text = source(main=MAIN.format(body="    time.sleep(0.5)"))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "last"], "") == (ended.status, ended.lines, ended.err)


def test_stop_from_a_thread_reaches_a_blocked_loop(program, loop):
    """stop() from a thread unblocks a blocked loop just as a signal does."""
    text = source(
        main="""
async def main():
    threading.Timer(0.1, app.stop).start()
    time.sleep(60)
"""
    )
    ended = program(text, loop=loop).end()
    assert (0, ["first", "last"]) == (ended.status, ended.lines)
    assert ended.took < GRACE + 2


def test_work_goes_on_in_the_drain_delay(program, loop):
    """Work that makes the loop late now and then is left alone in the drain delay: it has half the grace to end."""
    text = """
app = App(grace=8, drain_delay=1)
@app.background
async def work():
    say("ready")
    while True:
        await asyncio.sleep(0.1)
        time.sleep(0.6)
app.run(loop_factory=LOOP)
"""
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (0, ["ready"], "") == (ended.status, ended.lines, ended.err)


def test_many_tasks_that_block_when_they_are_cancelled(program, loop):
    """However many tasks block one after the other as they are cancelled, the hooks have their time."""
    body = """
    async def work():
        try: await asyncio.sleep(60)
        finally: time.sleep(30)
    tasks = [asyncio.create_task(work()) for _ in range(15)]
    asyncio.get_running_loop().call_soon(say, "working")
"""
    text = source(main=MAIN.format(body=body), grace=3)
    ended = program(text, loop=loop).wait_for("working").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", "working", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert ended.took < 3 + 1


@pytest.mark.parametrize(("owner", "status"), [("background", 0), ("main", -15)])
def test_a_task_of_a_group_that_blocks(program, loop, owner, status):
    """A task in a TaskGroup that was unblocked is reported in one line, and is no failure of the group."""
    text = """
app = App(grace=1)
async def block():
    say("ready")
    time.sleep(30)
async def serve():
    async with asyncio.TaskGroup() as group: group.create_task(block())
"""
    text += {
        "background": "app.background(serve)\napp.run(loop_factory=LOOP)",
        "main": "app.run(serve, loop_factory=LOOP)",
    }[owner]
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (status, ["ready"]) == (ended.status, ended.lines), ended.err
    assert "blocked the loop" in ended.err
    assert "in block" in ended.err
    assert 1 == len(ended.err.splitlines()), ended.err
    assert ended.took < 1 + 1


def test_a_loop_factory_that_blocks(program, loop):
    """A signal while the loop factory blocks ends the process in time."""
    text = """
app = App(grace=1)
def factory():
    say("ready")
    time.sleep(30)
    return (LOOP or asyncio.new_event_loop)()
async def main(): say("never")
app.run(main, loop_factory=factory)
"""
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready"]) == (ended.status, ended.lines), ended.err
    assert ended.took < 1 + 1


def test_an_async_generator_that_blocks(program, loop):
    """An async generator whose finally blocks is unblocked, and named with its place."""
    text = source(
        main="""
async def endless():
    try: yield
    finally: time.sleep(30)
generator = endless()
async def main():
    await anext(generator)
    say("ready")
    await asyncio.sleep(60)
"""
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert "blocked the loop" in ended.err
    assert "in endless" in ended.err
    assert ended.took < GRACE + 1


def test_the_holder_of_a_lock_is_shown(program, loop):
    """If main waits for a lock, stderr also shows the stack of the thread that holds it."""
    text = source(
        main="""
lock, held = threading.Lock(), threading.Event()
def holder():
    with lock:
        held.set()
        time.sleep(30)
async def main():
    threading.Thread(target=holder, daemon=True).start()
    held.wait()
    say("ready")
    lock.acquire()
"""
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert "in main" in ended.err
    assert "in holder" in ended.err


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_an_exception_hook_that_blocks(program, loop):
    """An on_exception hook that blocks is unblocked; the others run, and the failure is what is raised."""
    hook = "@app.on_exception(ValueError)\ndef block(): time.sleep(30)"
    ended = program(source(hook, "async def main(): raise ValueError('mine')"), loop=loop).end(timeout=8)
    assert (1, ["first", "last"]) == (ended.status, ended.lines), ended.err
    assert "raise ValueError('mine')" in ended.err
    assert "in block" in ended.err
    assert ended.took < GRACE + 2


@pytest.mark.parametrize("kind", ["on_startup", "resource"])
def test_a_startup_hook_that_blocks(program, loop, kind):
    """A startup hook that blocks beyond its timeout is unblocked: the start has failed. So is a resource's first half."""
    text = f"""
app = App(grace=2)
@app.{kind}(timeout=0.3)
def block():
    time.sleep(30)
    {"yield" if kind == "resource" else ""}
async def main(): say("never")
app.run(main, loop_factory=LOOP)
"""
    ended = program(text, loop=loop).end(timeout=8)
    assert (1, []) == (ended.status, ended.lines), ended.err
    assert "block timed out after" in ended.err
    assert "in block" in ended.err
    assert ended.took < GRACE + 2


def test_a_hook_that_blocks_in_an_embedded_app(program, loop):
    """Under `async with app:` a hook that blocks is unblocked, also if the program has its own SIGINT handler."""
    text = """
app = App(grace=2)
@app.on_shutdown
def last(): say("last")
@app.on_shutdown
def block(): time.sleep(30)
async def main():
    async with app: app.stop()
signal.signal(signal.SIGINT, lambda *_: None)
with asyncio.Runner(loop_factory=LOOP) as runner: runner.run(main())
"""
    ended = program(text, loop=loop).end(timeout=8)
    assert (1, ["last"]) == (ended.status, ended.lines), ended.err
    assert "block timed out after" in ended.err
    assert ended.took < GRACE + 2


@pytest.mark.parametrize("call", ["call_soon(time.sleep, 60)", "call_later(0.01, lock.acquire)"])
def test_a_function_in_c_that_the_loop_calls_itself(program, loop, call):
    """A callback that has no frame is unblocked and named; on uvloop the loop has none, either."""
    main = (
        'async def main():\n    say("ready")\n    lock = threading.Lock()\n    lock.acquire()\n'
        f"    asyncio.get_running_loop().{call}\n    await asyncio.sleep(60)"
    )
    ended = program(source(main=main), loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    name = "sleep" if "sleep" in call else "acquire"
    assert re.match(rf"callback .*\b{name}\b.* blocked the loop, and was unblocked after", ended.err), ended.err
    assert ended.took < GRACE + 1


def test_an_idle_loop_is_not_taken_for_a_blocked_one(program, loop):
    """While a hook waits for most of the grace, the loop idles in its own frame: nothing is interrupted."""
    hook = "@app.on_shutdown\nasync def waits():\n    await asyncio.sleep(1.6)\n    say('waited')"
    ended = program(source(hook, grace=4), loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "waited", "last"], "") == (ended.status, ended.lines, ended.err)
