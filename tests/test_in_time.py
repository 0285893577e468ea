"""Once told to stop, the process is gone within its grace and a second, whatever it is doing, and says what was stuck."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import textwrap
import time

import pytest
from conftest import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)

GRACE = 2.0
HURRY = 2.0

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


#: The descriptor `fd` is a pipe from here on that is full, and that nobody reads.
FULL = """
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while os.write(writing, b"x" * 4096): pass
except BlockingIOError: pass
os.set_blocking(writing, True)
os.dup2(writing, {fd})
"""


def source(hook: str = "", main: str = QUIET_MAIN, grace: float = GRACE) -> str:
    return PROGRAM.format(grace=grace, hook=hook, main=main)


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
    assert 1 == len(re.findall(r"is left behind after 1\.\d s; it stood at asyncio/tasks\.py:", ended.err)), ended.err
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
    """Code that hears no signal at all dies by the third request, too, and not only at the deadline."""
    text = source(main=MAIN.format(body=DEAF["a query"])).replace("grace=2.0", "grace=60, debounce=0.1")
    started = program(text, loop=loop).wait_for("ready")
    for _ in range(3):
        time.sleep(0.2)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end()
    assert -signal.SIGINT == ended.status
    assert "is ended by SIGINT, before its cleanup was over; still running:" in ended.err
    assert "in main" in ended.err
    assert ended.took < 2


def test_a_second_request_hurries_a_deaf_program(program, loop):
    """Code that hears no signal at all is ended 2 s after the second request, however long the grace is."""
    text = source(main=MAIN.format(body=DEAF["a query"])).replace("grace=2.0", "grace=30, debounce=0.1")
    started = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM)
    time.sleep(0.3)  # not to synchronise: the debounce is a time
    ended = started.send(signal.SIGTERM).end(timeout=8)
    assert 70 == ended.status
    assert "in main" in ended.err
    assert ended.took < HURRY + 1


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
    others = {int(each) for each in os.listdir("/proc/self/task")} - {threading.main_thread().native_id}
    say(len(others), threading.enumerate() == [threading.main_thread()], signal.getitimer(signal.ITIMER_REAL))
    def switches(): return int([l.split()[1] for l in open("/proc/self/task/%d/status" % min(others)) if l.startswith("vol")][0])
    before = switches()
    await asyncio.sleep(0.5)
    say(switches() - before)
app.run(main, loop_factory=LOOP)
"""
    ended = program(text, loop=loop).end()
    assert (["1 True (0.0, 0.0)", "0"], "") == (ended.lines, ended.err)


@pytest.mark.parametrize("seconds", [1e10, sys.float_info.max])
def test_durations_that_no_timer_takes(program, loop, seconds):
    """Who writes a huge number means "for ever", whatever the system's timers take."""
    text = f"""
LONG = {seconds!r}
app = App(grace=LONG, debounce=LONG, patience=LONG)
@app.resource(timeout=LONG)
async def door():
    await asyncio.sleep(0.01)
    yield
    await asyncio.sleep(0.01)
    say("closed")
@app.on_exception(timeout=LONG)
async def failed():
    await asyncio.sleep(0.01)
    return True
async def fail(): raise ValueError
async def main():
    app.create_task(fail())
    app.create_task(app.sleep(LONG))
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    ended = program(text, loop=loop).end()
    assert (-signal.SIGTERM, ["closed"], "") == (ended.status, ended.lines, ended.err)


def test_the_thread_that_keeps_the_end(program, loop):
    """After a run that a signal has ended it is the watchdog's own that stays to keep the deadline: none is started."""
    text = """
def others(): return {int(each) for each in os.listdir("/proc/self/task")} - {threading.main_thread().native_id}
app = App()
@app.on_startup
def ready():
    global during
    during = others()
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
app.run(loop_factory=LOOP)
say(len(during), others() == during)
"""
    ended = program(text, loop=loop).end()
    assert (0, ["1 True"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize(("body", "status"), [("await asyncio.sleep(60)", -15), (DEAF["a query"].strip(), 70)])
def test_a_loop_that_no_other_thread_can_wake(program, loop, body, status):
    """Where the loop's own method fails in the watchdog's thread, the deadline is kept, and the run ends."""
    text = source(main=MAIN.format(body=f"    {body}")).replace("loop_factory=LOOP", "loop_factory=factory")
    text = f"""
def factory():
    class Loop(type((LOOP or asyncio.new_event_loop)())):
        def call_soon_threadsafe(self, *args, **options):
            if threading.get_ident() != threading.main_thread().ident: raise ValueError("only here")
            return super().call_soon_threadsafe(*args, **options)
    return Loop()
{text}"""
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert status == ended.status
    assert ended.took < GRACE + 1


def test_a_stderr_that_nobody_reads(program, loop):
    """A full pipe on stderr delays no end: neither that of a deaf program nor that of a third request."""
    text = FULL.format(fd=2) + source(main=MAIN.format(body=DEAF["a query"]))
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
    assert "a signal" not in ended.err
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


ERRORS = {
    "a hook hangs, a job": ("await asyncio.sleep(60)", "asyncio.get_running_loop().run_in_executor(None, job)"),
    "a hook raises": ("raise ValueError", "threading.Thread(target=job).start()"),
    "a hook exits": ("sys.exit(3)", "threading.Thread(target=job).start()"),
    "main had returned": ("await asyncio.sleep(0.5)", "threading.Thread(target=job).start(); return"),
}


def test_an_error_does_not_lift_the_deadline(program, loop):
    """A signal and then an error, or a main that returned before: a thread that does not end is ended in time."""
    text = """
app = App(grace=1)
def job(): time.sleep(30)
@app.on_shutdown
async def clean_up():
    if returns: say("ready")
    {hook}
async def main():
    {start}
    say("ready")
    await asyncio.sleep(60)
returns = {returns}
app.run(main, loop_factory=LOOP)
"""
    started = {}  # side by side, as they take their time
    for error, (hook, start) in ERRORS.items():
        case = text.format(hook=hook, start=start, returns="return" in start)
        started[error] = program(case, loop=loop).wait_for("ready")
    for each in started.values():
        each.send(signal.SIGTERM)
    for error, each in started.items():
        ended = each.end(timeout=8)
        assert (error, 70, ["ready"]) == (error, ended.status, ended.lines), ended.err
        assert "in job" in ended.err
        assert ended.took < 1 + 1


def test_the_grace_counts_from_the_signal(program, loop, tmp_path):
    """A C call that ends late has used up the grace: what comes after it has the rest, and not a grace of its own."""
    text = """
import sqlite3
app = App(grace=2)
@app.on_shutdown
async def hang(): await asyncio.Event().wait()
async def main():
    other = sqlite3.connect(sys.argv[1])
    other.execute("begin exclusive")
    threading.Timer(0.1, say, ["waiting"]).start()
    try: sqlite3.connect(sys.argv[1], timeout=1.6).execute("begin exclusive")
    except sqlite3.OperationalError: await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    started = program(text, loop=loop, args=[str(tmp_path / "data")]).wait_for("waiting")
    ended = started.send(signal.SIGTERM).end(timeout=8)
    assert 1 == ended.status, ended.err
    assert "hang was not done after" in ended.err
    assert ended.took < GRACE + 1


def test_last_words_go_to_stderr_only(program, loop, tmp_path):
    """Where stderr was closed from the start, a file that came to have its number is left as the program wrote it."""
    text = """
if sys.stderr is not None:  # once more, without it
    os.close(2)
    os.execv(sys.executable, [sys.executable, *sys.argv])
data = open(sys.argv[1], "w")
assert data.fileno() == 2
print("mine", file=data, flush=True)
"""
    text += source(main=MAIN.format(body=DEAF["a bare except"]), grace=1)
    data = tmp_path / "data"
    ended = program(text, loop=loop, args=[str(data)]).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (70, "mine\n") == (ended.status, data.read_text())
    assert ended.took < 1 + 1


def test_a_stdout_that_nobody_reads(program, loop):
    """A full pipe on stdout delays no end, though there is still something in the buffer."""
    text = "app = App(grace=1)\n@app.on_shutdown\ndef close(): print('bye')\n"
    text += MAIN.format(body=textwrap.indent(FULL.format(fd=1), "    ")) + "app.run(main, loop_factory=LOOP)\n"
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert ended.status in (-15, 70), ended.err
    assert ended.took < 1 + 1


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


def test_what_blocks_behind_graceful_is_unblocked(program, loop):
    """Code that blocks is unblocked also where graceful or the loop has called it by itself, or is in C throughout."""
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
    """A task in a TaskGroup that was unblocked is told in one line, and is no failure of the group."""
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
    """A signal that finds no loop yet, because what makes it blocks, ends the process in time all the same."""
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


def test_who_holds_the_lock_is_told(program, loop):
    """Where a lock was waited for that another thread holds, stderr says where that thread stands, too."""
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


def test_an_atexit_callback_in_c(program, loop):
    """An atexit callback that does not end and has no frame of its own: 70 in time, and the list is not empty."""
    text = "import atexit\natexit.register(time.sleep, 30)\n" + source(grace=1)
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (70, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert ended.err.partition("still running:")[2].strip(), ended.err
    assert ended.took < 1 + 1


@pytest.mark.parametrize(("where", "begun"), [("on_shutdown", "ready"), ("background", "staying")])
def test_what_swallows_everything(program, loop, where, begun):
    """A coroutine that no exception can end does not keep the process, not even at the end of the interpreter."""
    text = f"""
app = App(grace=1)
@app.{where}
async def stay():
    say("staying")
    while True:
        try: await asyncio.sleep(1)
        except BaseException: pass
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
app.run(loop_factory=LOOP)
"""
    ended = program(text, loop=loop).wait_for(begun).send(signal.SIGTERM).end(timeout=8)
    assert ended.status in (70, 1 if where == "on_shutdown" else 0), ended.err
    assert "in stay" in ended.err
    assert ended.took < 1 + 1


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


def test_an_exception_hook_that_blocks(program, loop):
    """A hook that is told of a failure and blocks is unblocked; the others run, and the failure is what is raised."""
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
    assert "block was not done after" in ended.err
    assert "in block" in ended.err
    assert ended.took < GRACE + 2


def test_a_hook_that_blocks_inside_somebody_elses_loop(program, loop):
    """Under `async with app:` a hook that blocks is unblocked, also where SIGINT has a handler of the program's own."""
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
    assert "block was not done after" in ended.err
    assert ended.took < GRACE + 2


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
def test_the_alarm_hits_what_blocks_and_nothing_else(program, loop, case):
    """Who awaits in his time is left alone, whatever blocks besides is unblocked, and the cleanup runs to its end."""
    ended = program(ALARM[case], loop=loop).end(timeout=8)
    assert (0, ["closed"]) == (ended.status, ended.lines), ended.err
    assert "Traceback" not in ended.err
