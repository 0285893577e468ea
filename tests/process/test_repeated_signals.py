"""Ctrl-C stops, the second one hurries, the third one ends the process; echoes and storms are one request."""

from __future__ import annotations

import signal
import time

import pytest
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_during_startup(program, loop):
    """A signal during a startup hook: it is cancelled, what was started is cleaned up, the rest never ran."""
    source = """
app = App()
@app.resource
async def entered():
    say("entered")
    yield
    say("exited")
@app.on_startup
async def slow():
    try:
        say("starting")
        await asyncio.sleep(60)
    finally:
        say("broken off")
@app.on_shutdown
def not_owed(): say("never")
@app.resource
async def after():
    say("never")
    yield
async def main(): say("never")
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("starting").send(signal.SIGTERM).end()
    assert (-15, ["entered", "starting", "broken off", "exited"], "") == (ended.status, ended.lines, ended.err)


#: A cleanup that waits for the test to write to the program's stdin; it prints how many requests there were.
HELD = """
app = App("held", grace=5, debounce=0.2)

@app.on_shutdown
async def last(): say("last")

@app.on_shutdown
async def hold():
    say("holding")
    while not os.path.exists(sys.argv[1]):
        await asyncio.sleep(0.01)
    say("held")

@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")

async def main(): await asyncio.sleep(60)
"""


RUN = "app.run(main, loop_factory=LOOP)\n"


def test_the_same_signal_twice_is_one_request(program, loop, tmp_path):
    """One Ctrl-C that arrives twice, or as INT and TERM from a wrapper, is one request: the hook runs to its end."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready")
    started.send(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP).wait_for("holding")
    go.touch()
    ended = started.end()
    assert (["ready", "holding", "held", "last"], "") == (ended.lines, ended.err)
    assert ended.status in (-2, -15, -1)  # which of those sent together comes first is the kernel's choice


def test_the_second_ctrl_c_shortens_the_grace(program, loop, tmp_path):
    """
    A second Ctrl-C gives all cleanup hooks together 2 s: one that hangs is given up, the others still run.

    That was ordered, so it is reported in a line, and the process still dies by SIGINT.
    """
    started = program(HELD.replace("grace=5", "grace=60") + RUN, loop=loop, args=[str(tmp_path / "never")])
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)  # not to synchronise: the debounce is a time
    ended = started.send(signal.SIGINT).end()
    assert (-signal.SIGINT, ["ready", "holding", "last"]) == (ended.status, ended.lines)
    assert "hold timed out after" in ended.err
    assert "Traceback" not in ended.err
    assert ended.took < 2 + 1


def test_other_signals_never_escalate(program, loop, tmp_path):
    """SIGTERM and SIGHUP, however often they come: the cleanup has all of its grace."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready").send(signal.SIGTERM).wait_for("holding")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        time.sleep(0.3)  # not to synchronise: the debounce is a time
        started.send(number)
    go.touch()
    ended = started.end()
    assert (-signal.SIGTERM, ["ready", "holding", "held", "last"], "") == (ended.status, ended.lines, ended.err)


def test_a_signal_during_the_cleanup_after_a_failure(program, loop, tmp_path):
    """One SIGTERM of a deploy, or one Ctrl-C, while the app cleans up after a failure does not cut the cleanup short."""
    go = tmp_path / "go"
    failing = HELD.replace("async def main(): await asyncio.sleep(60)", "async def main(): raise OSError('mine')")
    started = program(failing + RUN, loop=loop, args=[str(go)]).wait_for("holding")
    for number in (signal.SIGTERM, signal.SIGINT):
        time.sleep(0.3)
        started.send(number)
    time.sleep(2.2)  # longer than a hurry would leave
    go.touch()
    ended = started.end()
    assert (1, ["ready", "holding", "held", "last"]) == (ended.status, ended.lines)
    assert "OSError: mine" in ended.err


def test_whoever_keeps_pressing_is_heard(program, loop, tmp_path):
    """Presses 0.1 s apart, with a debounce of 0.2 s: the shutdown hurries, and is then ended."""
    started = program(HELD.replace("grace=5", "grace=60") + RUN, loop=loop, args=[str(tmp_path / "never")])
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    began = time.monotonic()
    while started.process.poll() is None and time.monotonic() - began < 10:
        time.sleep(0.1)
        started.process.send_signal(signal.SIGINT)
    ended = started.end()
    assert -signal.SIGINT == ended.status
    assert "before its cleanup had finished; still running:" in ended.err
    assert time.monotonic() - began < 5


def test_the_third_ctrl_c_ends_the_process(program, loop, tmp_path):
    """A third Ctrl-C ends the process at once, by SIGINT, and stderr says what was still running and where."""
    started = program(
        HELD.replace("grace=5", "grace=60").replace("sleep(0.01)", "sleep(60)") + RUN,
        loop=loop,
        args=[str(tmp_path / "never")],
    )
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)
    started.send(signal.SIGINT)
    time.sleep(0.3)
    ended = started.send(signal.SIGINT).end()
    assert (-2, ["ready", "holding"]) == (ended.status, ended.lines)
    assert "before its cleanup had finished; still running:" in ended.err
    assert "hook hold (" in ended.err
    assert "s at asyncio/tasks.py:" in ended.err
    assert "in hold" in ended.err
    assert 2 == len(ended.err.splitlines()), ended.err
    assert ended.took < 1


@pytest.mark.parametrize(("requests", "status", "ends"), [(2, -signal.SIGINT, True), (3, -signal.SIGINT, False)])
def test_signals_while_the_interruption_ends_the_process(program, loop, requests, status, ends):
    """A second Ctrl-C while an uncaught Interrupted ends the process lets atexit callbacks run; a third does not."""
    source = f"""
import atexit
app = App(grace=5, debounce=0.1)
@atexit.register
def slow():
    say("ending")
    time.sleep({1.3 if ends else 30})
    say("ended")
async def main():
    say("ready")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    started = program(source, loop=loop).wait_for("ready").send(signal.SIGINT).wait_for("ending")
    for pause in (0.7, 0.3)[: requests - 1]:
        time.sleep(pause)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end(timeout=8)
    assert (status, ["ready", "ending", *(["ended"] if ends else [])], "") == (ended.status, ended.lines, ended.err)


def test_a_thousand_signals(program, loop, tmp_path):
    """1,000 signals within the debounce or of a supervisor's: the cleanup runs once and to its end, without a crash."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready")
    for _ in range(250):
        started.send(signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM)
        time.sleep(0.004)
    go.touch()
    ended = started.end()
    assert (["ready", "holding", "held", "last"], "") == (ended.lines, ended.err)
    assert ended.status in (-15, -1)


def test_without_debounce_a_second_signal_is_not_the_third(program, loop):
    """With `debounce=0`, too, a second signal while the process ends cuts no atexit callback short."""
    source = """
import atexit
def again():
    os.kill(os.getpid(), signal.SIGTERM)
    say("callback")
atexit.register(again)
async def main():
    say("ready")
    await asyncio.sleep(60)
App(debounce=0, grace=5).run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", "callback"], "") == (ended.status, ended.lines, ended.err)
