"""Once told to stop, the process is gone within its grace and a second, whatever it is doing, and says what was stuck."""

from __future__ import annotations

import signal
import time

import pytest
from conftest import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)

GRACE = 2.0

#: `first` and `last` run around the hook under test, which has `BODY` in it; so does main, or a task of it.
PROGRAM = """
app = App("stuck", grace={grace})

@app.on_shutdown
async def last():
    await asyncio.sleep(0.01)
    say("last")

{hook}

@app.on_shutdown
async def first():
    await asyncio.sleep(0.01)
    say("first")

{main}

app.run(main, loop_factory=LOOP)
"""
HOOK = """
@app.on_shutdown
async def stuck():
{body}
"""
MAIN = """
async def main():
    say("ready")
{body}
    await asyncio.sleep(60)
"""
QUIET_MAIN = MAIN.format(body="")
TASK = """
async def work():
    await asyncio.sleep(0)
{body}
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    held = asyncio.create_task(work())
    await asyncio.sleep(60)
"""

HANGS = {
    "awaits forever": "    await asyncio.Event().wait()",
    "swallows cancellation": """
    while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: pass
""",
    "starts tasks without end": """
    async def breed():
        asyncio.create_task(breed())
        await asyncio.sleep(0.001)
    asyncio.create_task(breed())
""",
    "leaves a task that swallows cancellation": """
    async def stay():
        while True:
            try: await asyncio.sleep(60)
            except asyncio.CancelledError: pass
    asyncio.create_task(stay())
""",
}

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

DEAF = {
    "a query": """
    import sqlite3
    query = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"
    sqlite3.connect(":memory:").execute(query).fetchall()
""",
    "a key derivation": """
    import hashlib
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 2_000_000_000)
""",
    "a bare except": """
    while True:
        try: time.sleep(60)
        except: pass
""",
}


def source(hook: str = "", main: str = QUIET_MAIN) -> str:
    return PROGRAM.format(grace=GRACE, hook=hook, main=main)


@pytest.mark.parametrize("hang", HANGS)
def test_a_hook_that_hangs(program, loop, hang):
    """A hook that hangs is given up and named with where it stands; the others run to their end, in time."""
    text = source(HOOK.format(body=HANGS[hang]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (1, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert "stuck was not done after" in ended.err
    assert "; it stood at " in ended.err
    assert 1 == ended.err.count("Traceback")
    assert ended.took < GRACE + 1


def test_a_task_that_swallows_cancellation(program, loop):
    """A task that will not be cancelled is named and left behind; the cleanup runs, and the status is the signal's."""
    text = source(main=TASK.format(body=HANGS["swallows cancellation"]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert 1 == ended.err.count("would not be cancelled, and is left behind; it stood at asyncio/tasks.py:")
    assert "in work" in ended.err
    assert 1 == len(ended.err.splitlines()), ended.err
    assert ended.took < GRACE + 1


def test_an_async_generator_that_never_ends(program, loop):
    """An async generator whose finally hangs costs the others nothing."""
    text = source(
        main="""
async def endless():
    try: yield
    finally: await asyncio.Event().wait()
generator = endless()
async def main():
    await anext(generator)
    say("ready")
    await asyncio.sleep(60)
"""
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert "async generators" in ended.err
    assert "Traceback" not in ended.err
    assert ended.took < GRACE + 1


@pytest.mark.parametrize("kind", ["executor", "thread"])
def test_a_thread_that_does_not_end(program, loop, kind):
    """An executor job or a non-daemon thread of 60 s: all hooks run, and at the deadline the process ends with 70."""
    start = {
        "executor": "asyncio.get_running_loop().run_in_executor(None, job)",
        "thread": "threading.Thread(target=job, name='stuck thread').start()",
    }[kind]
    text = source(
        main=f"""
def job():
    say("ready")
    time.sleep(60)
async def main():
    {start}
    await asyncio.sleep(60)
"""
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (70, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert "in job" in ended.err
    assert "Traceback" not in ended.err
    assert ended.took < GRACE + 1


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


@pytest.mark.parametrize("block", DEAF)
@pytest.mark.parametrize("where", ["main", "hook"])
def test_what_nothing_can_unblock_ends_at_the_deadline(program, loop, where, block):
    """C code that never comes back, or code that swallows everything: 70 at the deadline, with every thread's stack."""
    body = DEAF[block]
    text = source(HOOK.format(body=body)) if where == "hook" else source(main=MAIN.format(body=body))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert 70 == ended.status
    assert f"did not end within {GRACE:g} s of" in ended.err
    assert "thread MainThread:" in ended.err
    assert f"in {'stuck' if where == 'hook' else 'main'}" in ended.err
    assert ended.took < GRACE + 1


def test_a_third_request_reaches_a_deaf_program(program, loop):
    """Code that hears no signal at all is ended by the third request, too, and not only at the deadline."""
    text = source(main=MAIN.format(body=DEAF["a query"])).replace("grace=2.0", "grace=60, debounce=0.1")
    started = program(text, loop=loop).wait_for("ready")
    for _ in range(3):
        time.sleep(0.2)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end()
    assert 128 + signal.SIGINT == ended.status
    assert "is ended by SIGINT, before its cleanup was over; still running:" in ended.err
    assert "in main" in ended.err
    assert ended.took < 2


def test_a_block_that_ends_by_itself(program, loop):
    """Where the block is over before half the grace, the shutdown goes on as if nothing had been."""
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


def test_a_program_that_caught_it_lives_on(program, loop):
    """Whoever caught Interrupted is not ended, however long after the deadline."""
    text = source().replace("grace=2.0", "grace=0.5").replace("app.run(main", "try: app.run(main") + (
        "except Interrupted: pass\ntime.sleep(1.5)\nsay('alive')\nthreading.Thread(target=time.sleep, args=(0.5,)).start()"
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (0, ["ready", "first", "last", "alive"], "") == (ended.status, ended.lines, ended.err)


def test_a_program_whose_main_returned_is_left_alone(program, loop):
    """Where main simply returned, threads may take as long as they like: nobody told the process to end."""
    text = (
        "app = App(grace=0.3)\nasync def main(): threading.Thread(target=job).start()\n"
        "def job():\n    time.sleep(1.5)\n    say('thread done')\napp.run(main, loop_factory=LOOP)"
    )
    ended = program(text, loop=loop).end()
    assert (0, ["thread done"], "") == (ended.status, ended.lines, ended.err)


def test_a_service_that_was_signalled_and_lives_on(program, loop):
    """run() returned after SIGTERM and the program goes on past the deadline: it is left alone for good."""
    text = """
app = App(grace=0.5)
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
app.run(loop_factory=LOOP)
time.sleep(1.5)
threading.Thread(target=lambda: (time.sleep(1), say("thread done"))).start()
"""
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (0, ["ready", "thread done"], "") == (ended.status, ended.lines, ended.err)


def test_in_the_steady_state_one_idle_thread(program, loop):
    """A running app has one more thread than without it, no timer, and does not wake up."""
    text = """
app = App()
async def main():
    await asyncio.sleep(0.05)
    say(sorted(t.name for t in threading.enumerate()), signal.getitimer(signal.ITIMER_REAL))
    def switches(): return int([l.split()[1] for l in open("/proc/self/task/%d/status" % ident) if l.startswith("vol")][0])
    ident = next(t.native_id for t in threading.enumerate() if "watchdog" in t.name)
    before = switches()
    await asyncio.sleep(0.5)
    say(switches() - before)
app.run(main, loop_factory=LOOP)
"""
    ended = program(text, loop=loop).end()
    assert (["['MainThread', 'graceful watchdog'] (0.0, 0.0)", "0"], "") == (ended.lines, ended.err)


def test_a_stderr_that_nobody_reads(program, loop):
    """A full pipe on stderr delays no end: neither that of a deaf program nor that of a third request."""
    fill = """
import fcntl
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while os.write(writing, b"x" * 4096): pass
except BlockingIOError: pass
os.set_blocking(writing, True)
os.dup2(writing, 2)
"""
    text = fill + source(main=MAIN.format(body=DEAF["a query"]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert 70 == ended.status
    assert ended.took < GRACE + 1


def test_stop_before_run_and_a_hook_that_blocks(program, loop):
    """Where stop() came before run() the deadline holds as well."""
    text = """
app = App(grace=1)
@app.on_shutdown
def block(): time.sleep(60)
app.stop()
try: app.run(loop_factory=LOOP)
except HookTimeout as error: say(error.hook)
"""
    ended = program(text, loop=loop).end()
    assert (0, ["block"]) == (ended.status, ended.lines)
    assert ended.took < 3


def test_stop_from_a_thread_and_deaf_code(program, loop):
    """stop() from a thread keeps the deadline though main is in a C call that does not come back."""
    text = source(main=MAIN.format(body="    threading.Timer(0.1, app.stop).start()" + DEAF["a query"]))
    ended = program(text, loop=loop).wait_for("ready").end()
    assert 70 == ended.status
    assert ended.took < GRACE + 2


def test_a_stuck_job_in_an_executor_of_the_programs_own(program, loop):
    """A default executor that the program set itself is waited for with a limit, too."""
    text = """
from concurrent.futures import ThreadPoolExecutor
app = App(grace=0.5)
async def main():
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3)
    return 5
say(app.run(main, loop_factory=LOOP))
"""
    ended = program(text, loop=loop).end()
    assert (0, ["5"]) == (ended.status, ended.lines)
