"""The deadline: whatever hangs, the hooks have their time and the process ends with 70 when the grace is over."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time

import pytest
from support.blocking import DEAF, GRACE, HOOK, MAIN, TASK, source
from support.programs import LOOPS

from graceful._core.deadline import Deadline
from graceful._process.watchdog import Watchdog

pytestmark = pytest.mark.parametrize("loop", LOOPS)


# --- what hangs ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("hang", HANGS)
def test_a_hook_that_hangs(program, loop, hang):
    """A hook that hangs is given up and named with where it stands; the others run to their end, in time."""
    text = source(HOOK.format(body=HANGS[hang]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (1, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert "stuck timed out after" in ended.err
    assert "; stuck at " in ended.err
    assert 1 == ended.err.count("Traceback")
    assert ended.took < GRACE + 1


def test_a_task_that_swallows_cancellation(program, loop):
    """A task that will not be cancelled is named and left behind; the cleanup runs, and the status is the signal's."""
    text = source(main=TASK.format(body=HANGS["swallows cancellation"]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (-15, ["ready", "first", "last"]) == (ended.status, ended.lines)
    assert 1 == len(re.findall(r"is abandoned after 1\.\d s; stuck at asyncio/tasks\.py:", ended.err)), ended.err
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


@pytest.mark.parametrize("block", DEAF)
@pytest.mark.parametrize("where", ["main", "hook"])
def test_what_cannot_be_unblocked_ends_at_the_deadline(program, loop, where, block):
    """C code that never comes back, or code that swallows everything: 70 at the deadline, with every thread's stack."""
    body = DEAF[block]
    text = source(HOOK.format(body=body)) if where == "hook" else source(main=MAIN.format(body=body))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert 70 == ended.status
    assert f"did not end within {GRACE:g} s of" in ended.err
    assert "thread MainThread:" in ended.err
    assert f"in {'stuck' if where == 'hook' else 'main'}" in ended.err
    assert ended.took < GRACE + 1


@pytest.mark.parametrize(("where", "begun"), [("on_shutdown", "ready"), ("background", "staying")])
def test_a_coroutine_that_swallows_every_exception(program, loop, where, begun):
    """A coroutine that no exception can end does not keep the process alive, not even at the interpreter's end."""
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


def test_a_stuck_job_in_an_executor_of_the_program(program, loop):
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


# --- signals to a process that cannot hear them ----------------------------------------------------------------------


def test_a_third_signal_ends_a_program_that_handles_no_signals(program, loop):
    """Code that lets no signal handler run is ended by the third signal, too, and not only at the deadline."""
    text = source(main=MAIN.format(body=DEAF["a query"])).replace("grace=2.0", "grace=60, debounce=0.1")
    started = program(text, loop=loop).wait_for("ready")
    for _ in range(3):
        time.sleep(0.2)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end()
    assert -signal.SIGINT == ended.status
    assert "was ended by SIGINT before its cleanup had finished; still running:" in ended.err
    assert "in main" in ended.err
    assert ended.took < 2


HURRY = 2.0


def test_a_second_ctrl_c_shortens_the_deadline_of_blocked_code(program, loop):
    """Code that lets no signal handler run is ended 2 s after the second Ctrl-C, however long the grace is."""
    text = source(main=MAIN.format(body=DEAF["a query"])).replace("grace=2.0", "grace=30, debounce=0.1")
    started = program(text, loop=loop).wait_for("ready").send(signal.SIGINT)
    time.sleep(0.3)  # not to synchronise: the debounce is a time
    ended = started.send(signal.SIGINT).end(timeout=8)
    assert 70 == ended.status
    assert "in main" in ended.err
    assert ended.took < HURRY + 1


def test_stop_from_a_thread_and_a_c_call_that_blocks(program, loop):
    """stop() from a thread keeps the deadline though main is in a C call that does not come back."""
    text = source(main=MAIN.format(body="    threading.Timer(0.1, app.stop).start()" + DEAF["a query"]))
    ended = program(text, loop=loop).wait_for("ready").end()
    assert 70 == ended.status
    assert "a signal" not in ended.err
    assert ended.took < GRACE + 2


# --- from when the deadline counts -----------------------------------------------------------------------------------


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


def test_the_grace_counts_from_the_signal(program, loop, tmp_path):
    """A C call that ends late has used up its part of the grace: the rest of the shutdown has what is left."""
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
    assert "hang timed out after" in ended.err
    assert ended.took < GRACE + 1


@pytest.mark.parametrize("seconds", [1e10, sys.float_info.max])
def test_durations_longer_than_any_timer(program, loop, seconds):
    """A huge duration means "for ever", whatever the system's timers take."""
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


# --- the thread ------------------------------------------------------------------------------------------------------


def test_a_running_app_has_one_idle_thread(program, loop):
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


def test_the_watchdog_thread_outlasts_the_run(program, loop):
    """After a run that was ended by a signal the watchdog's thread keeps the deadline: no new one is started."""
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
    """If the loop cannot be woken from the watchdog's thread, the deadline is kept, and the run ends."""
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


def test_giving_the_wakeup_fd_back_loses_no_deadline(loop):
    """What the main thread reads as it gives the wakeup fd back may say that there is a deadline: the thread still wakes."""

    async def main():
        deadline = Deadline(grace=60)
        ignore = {"is_ours": bool, "on_signal": int, "on_foreign": int, "on_expired": int, "on_forced": int}
        watchdog = Watchdog(deadline, 0.5, frozenset(), **ignore)
        watchdog.attach(asyncio.get_running_loop())
        deadline.begin(0.0)
        watchdog.deadline_changed()
        watchdog.detach()  # before the thread, which is not started here, has read anything
        return [key.fd for key, _ in watchdog._selector.select(0)] == [watchdog._reading.fileno()], watchdog

    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        wakes, watchdog = runner.run(main())
    watchdog._release()
    watchdog._writing.close()
    assert wakes
