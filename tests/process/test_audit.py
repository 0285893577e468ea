"""Audit events: death by the signal without the excepthook of ours, and `exec` without the timer of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.programs import LOOPS

loops = pytest.mark.parametrize("loop", LOOPS)

#: A program that dies by a signal, with a crash reporter that puts `sys.excepthook` back.
REPORTER = """
app = App()
@app.on_shutdown
def close(): say("closed")
async def main():
    say("ready")
    await asyncio.sleep(60)
shown = []
before = sys.excepthook
sys.excepthook = lambda *error: before(*error)
try:
    app.run(main, loop_factory=LOOP)
finally:
    sys.excepthook = before
"""


@loops
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_excepthook_that_is_put_back(program, loop, number):
    """A program that puts `sys.excepthook` back in a `finally` around run() still dies by the signal, quietly."""
    ended = program(REPORTER, loop=loop).wait_for("ready").send(number).end()

    assert (-number, ["ready", "closed"], "") == (ended.status, ended.lines, ended.err)


def test_what_follows_a_caught_interruption_is_displayed(program):
    """After the program has caught Interrupted, an error of its own is displayed as ever, with status 1."""
    source = REPORTER + "except KeyboardInterrupt:\n    pass\nraise ValueError('later')\n"
    source = source.replace("finally:\n    sys.excepthook = before\n", "")
    ended = program(source).wait_for("ready").send(signal.SIGTERM).end()

    assert (1, 1) == (ended.status, ended.err.count("ValueError: later"))


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_what_is_raised_from_an_interruption_is_displayed(program, number):
    """What the program raises in place of Interrupted, while it holds that, is displayed."""
    source = REPORTER.replace(
        "finally:", "except Interrupted as kept:\n    raise ValueError('instead') from kept\nfinally:"
    )
    ended = program(source).wait_for("ready").send(number).end()

    assert (1, True) == (ended.status, "ValueError: instead" in ended.err)


#: A program that replaces itself by another one, which lives longer than the timer of the first would have run.
RESTART = """
if "again" in sys.argv:
    time.sleep(1.5)
    say("the new program lives")
    sys.exit(0)
app = App(grace=1.5)
@app.on_shutdown
async def restart():
    await asyncio.sleep(0)
    {first}
    os.execv(sys.executable, [sys.executable, __file__, "again"])
async def main():
    say("ready")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
FAILS = "try: os.execv('/nothing/of/this/name', ['x'])\n    except OSError: say('not found')"


@loops
@pytest.mark.parametrize("first", ["", FAILS], ids=["at once", "after a failure"])
def test_exec_in_a_cleanup_hook(program, loop, first):
    """A program that restarts itself in its cleanup is not killed by a timer that it does not know."""
    ended = program(RESTART.format(first=first), loop=loop).wait_for("ready").send(signal.SIGTERM).end()

    assert (0, "the new program lives", "") == (ended.status, ended.lines[-1], ended.err)


@loops
def test_exec_in_a_hook_with_a_time_limit(program, loop):
    """The same where a startup hook replaces the program."""
    source = RESTART.format(first="").replace("on_shutdown", "on_startup(timeout=1.5)")
    ended = program(source, loop=loop).end()

    assert (0, "the new program lives", "") == (ended.status, ended.lines[-1], ended.err)


@loops
def test_an_exec_that_fails_leaves_the_timer(program, loop):
    """If the `exec` fails, code that blocks the loop afterwards is unblocked as ever."""
    source = RESTART.format(first=FAILS + "\n    await asyncio.sleep(0.01)\n    time.sleep(60)").replace("1.5", "1")
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()

    assert (1, ["ready", "not found"]) == (ended.status, ended.lines)
    assert "time.sleep(60)" in ended.err or "in restart" in ended.err
    assert ended.took < 1 + 1


@loops
def test_nobody_reads_stderr(tmp_path, loop):
    """A process that blocks in displaying its error, because nobody reads stderr, is gone soon after its grace."""
    script = tmp_path / "unread.py"
    script.write_text(
        """
import asyncio, os, sys
from graceful import App
LOOP = None
if os.environ["TEST_LOOP"] == "uvloop":
    import uvloop
    LOOP = uvloop.new_event_loop
app = App(grace=1)
@app.on_shutdown
async def bye():
    os.write(2, b"x" * 4096)
    raise ValueError("a cleanup that fails")
async def main():
    os.set_blocking(2, False)
    try:
        while os.write(2, b"x" * 512): pass
    except BlockingIOError: pass
    os.set_blocking(2, True)
    os.write(1, b"ready\\n")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
""".replace('    os.write(2, b"x" * 4096)\n', "")
    )
    reads, writes = os.pipe()
    env = {**os.environ, "TEST_LOOP": loop}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=writes, env=env)
    try:
        assert b"ready\n" == process.stdout.readline()
        process.terminate()
        assert 70 == process.wait(timeout=1 + 2.5)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(reads)
        os.close(writes)


def test_one_hook_for_the_process():
    """However many listeners come and go, Python has one audit hook of ours, and what left hears nothing."""
    source = """
import sys
from graceful._process import audit
added, heard = [], []
real = sys.addaudithook
sys.addaudithook = lambda hook: (added.append(hook), real(hook))
for n in range(3):
    listener = lambda *arguments, n=n: heard.append((n, arguments))
    audit.listen("mine", listener)
    sys.audit("mine", 1)
    audit.unlisten("mine", lambda: None)
    audit.unlisten("mine", listener)
    sys.audit("mine", 2)
print(len(added), heard)
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)

    assert "1 [(0, (1,)), (1, (1,)), (2, (1,))]\n" == ended.stdout


def test_a_run_that_no_signal_stopped_adds_no_hook(program):
    """A program whose startup hooks have no time limit pays for no audit hook while it runs."""
    ended = program(
        """
        real = sys.addaudithook
        sys.addaudithook = lambda hook: (say("added while stopping:", app.stopping), real(hook))
        app = App()
        @app.on_startup
        async def hook(): await asyncio.sleep(0.01)
        app.run(hook)
        """
    ).end()

    assert ["added while stopping: True"] == ended.lines
