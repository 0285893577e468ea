"""Signals and timers that the program uses itself, and that the package needs, too."""

from __future__ import annotations

import signal

import pytest
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_a_hook_with_an_alarm_of_its_own(program, loop):
    """A hook that guards a blocking call with signal.alarm() keeps it across an await; then blocking code is unblocked."""
    text = """
app = App(grace=4)
class Late(Exception): pass
def late(*_): raise Late
@app.on_shutdown(timeout=1)
def blocks():
    say("blocks")
    time.sleep(60)
@app.on_shutdown
async def guarded():
    signal.signal(signal.SIGALRM, late)
    signal.alarm(1)
    await asyncio.sleep(0.1)
    try: time.sleep(2.5)
    except Late: say("late")
async def main(): pass
app.run(main, loop_factory=LOOP)
"""
    ended = program(text, loop=loop).end()
    assert (1, ["late", "blocks"]) == (ended.status, ended.lines)
    assert "blocks timed out after" in ended.err
    assert ended.took < 4 + 1


def test_a_program_whose_handler_was_set_before(program, loop):
    """signal.alarm() in a hook calls the handler that the program has set at its import; then blocking code is unblocked."""
    text = """
app = App(grace=6)
class Late(Exception): pass
def late(*_): raise Late
signal.signal(signal.SIGALRM, late)
@app.on_shutdown(timeout=1)
def blocks():
    say("blocks")
    time.sleep(60)
@app.on_shutdown
def guarded():
    signal.alarm(1)
    try: time.sleep(2.5)
    except Late: say("late")
async def main(): pass
try:
    app.run(main, loop_factory=LOOP)
finally:
    say(signal.getsignal(signal.SIGALRM) is late)
"""
    ended = program(text, loop=loop).end()
    assert (1, ["late", "blocks", "True"]) == (ended.status, ended.lines)
    assert "blocks timed out after" in ended.err


def test_a_program_that_takes_sigurg_while_it_runs(program, loop):
    """stop() in a thread is not heard as a SIGURG, and the program's handler is still there after the run."""
    text = """
app = App(grace=2)
def urgent(*_): say("urgent")
async def main():
    signal.signal(signal.SIGURG, urgent)
    threading.Thread(target=app.stop).start()
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
say(signal.getsignal(signal.SIGURG) is urgent)
"""
    ended = program(text, loop=loop).end()
    assert (0, ["True"], "") == (ended.status, ended.lines, ended.err)


def test_a_program_that_handled_sigurg_before(program, loop):
    """stop() in a thread unblocks a blocked main all the same, and both handlers are afterwards as they were."""
    text = """
def urgent(*_): say("urgent")
signal.signal(signal.SIGURG, urgent)
app = App(grace=2)
@app.on_shutdown
def close(): say("closed")
async def main():
    threading.Timer(0.1, app.stop).start()
    time.sleep(60)
app.run(main, loop_factory=LOOP)
say(signal.getsignal(signal.SIGURG) is urgent, signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL)
"""
    ended = program(text, loop=loop).end()
    assert (0, ["closed", "True True"]) == (ended.status, ended.lines)
    assert "in main" in ended.err
    assert ended.took < 2 + 1


def test_a_program_that_handles_sigurg_itself_is_stopped_by_a_signal(program, loop):
    """on_signal(SIGURG) goes on working."""
    text = """
app = App(grace=2)
@app.on_signal(signal.SIGURG)
def urgent():
    say("urgent")
    threading.Thread(target=app.stop).start()
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
app.run(loop_factory=LOOP)
"""
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGURG).end()
    assert (0, ["ready", "urgent"], "") == (ended.status, ended.lines, ended.err)
