"""One signal stops, the second one hurries, the third one ends the process; echoes and storms are one request."""

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


def test_the_second_signal_shortens_the_grace(program, loop, tmp_path):
    """A second signal gives all cleanup hooks together 2 s: one that hangs is given up, the others still run."""
    started = program(HELD.replace("grace=5", "grace=60") + RUN, loop=loop, args=[str(tmp_path / "never")])
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)  # not to synchronise: the debounce is a time
    ended = started.send(signal.SIGTERM).end()
    assert (1, ["ready", "holding", "last"]) == (ended.status, ended.lines)
    assert "hold timed out after" in ended.err
    assert ended.took < 2 + 1


def test_the_third_signal_ends_the_process(program, loop, tmp_path):
    """A third signal ends the process at once, by that signal, and stderr says what was still running and where."""
    started = program(
        HELD.replace("grace=5", "grace=60").replace("sleep(0.01)", "sleep(60)") + RUN,
        loop=loop,
        args=[str(tmp_path / "never")],
    )
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)
    started.send(signal.SIGINT)
    time.sleep(0.3)
    ended = started.send(signal.SIGTERM).end()
    assert (-15, ["ready", "holding"]) == (ended.status, ended.lines)
    assert "before its cleanup had finished; still running:" in ended.err
    assert "hook hold (" in ended.err
    assert "s at asyncio/tasks.py:" in ended.err
    assert "in hold" in ended.err
    assert 2 == len(ended.err.splitlines()), ended.err
    assert ended.took < 1


@pytest.mark.parametrize(("requests", "status", "ends"), [(2, -signal.SIGINT, True), (3, -signal.SIGTERM, False)])
def test_signals_while_the_interruption_ends_the_process(program, loop, requests, status, ends):
    """A second signal while an uncaught Interrupted ends the process lets atexit callbacks run; a third does not."""
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
        started.send(signal.SIGTERM)
    ended = started.end(timeout=8)
    assert (status, ["ready", "ending", *(["ended"] if ends else [])], "") == (ended.status, ended.lines, ended.err)


def test_a_thousand_signals_are_one_request(program, loop, tmp_path):
    """1,000 signals in about a second: the cleanup runs once and to its end, without a crash or re-entrance."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready")
    for _ in range(250):
        started.send(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        time.sleep(0.004)
    go.touch()
    ended = started.end()
    assert (["ready", "holding", "held", "last"], "") == (ended.lines, ended.err)
    assert ended.status in (-2, -15, -1)


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
