"""After run(): when the deadline still holds, and when the program is left alone."""

from __future__ import annotations

import signal

import pytest
from support.blocking import source
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_a_program_that_caught_interrupted_goes_on(program, loop):
    """A program that caught Interrupted is not ended at the deadline, or later."""
    text = source().replace("grace=2.0", "grace=0.5").replace("app.run(main", "try: app.run(main") + (
        "except Interrupted: pass\ntime.sleep(1.5)\nsay('alive')\nthreading.Thread(target=time.sleep, args=(0.5,)).start()"
    )
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (0, ["ready", "first", "last", "alive"], "") == (ended.status, ended.lines, ended.err)


def test_a_program_whose_main_returned_is_left_alone(program, loop):
    """If main simply returned, threads may take as long as they like: there was no request to end."""
    text = (
        "app = App(grace=0.3)\nasync def main(): threading.Thread(target=job).start()\n"
        "def job():\n    time.sleep(1.5)\n    say('thread done')\napp.run(main, loop_factory=LOOP)"
    )
    ended = program(text, loop=loop).end()
    assert (0, ["thread done"], "") == (ended.status, ended.lines, ended.err)


def test_a_service_that_goes_on_after_a_signal(program, loop):
    """run() returned after SIGTERM and the program goes on past the deadline: it is not ended."""
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


ERRORS = {
    "a hook hangs, a job": ("await asyncio.sleep(60)", "asyncio.get_running_loop().run_in_executor(None, job)"),
    "a hook raises": ("raise ValueError", "threading.Thread(target=job).start()"),
    "a hook exits": ("sys.exit(3)", "threading.Thread(target=job).start()"),
    "main had returned": ("await asyncio.sleep(0.5)", "threading.Thread(target=job).start(); return"),
}


def test_an_error_does_not_lift_the_deadline(program, loop):
    """After a signal and then an error, or after main has returned, a thread that does not end is ended in time."""
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


def test_an_atexit_callback_in_c(program, loop):
    """An atexit callback in C that does not end: status 70 in time, and stderr names what was running."""
    text = "import atexit\natexit.register(time.sleep, 30)\n" + source(grace=1)
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (70, ["ready", "first", "last"]) == (ended.status, ended.lines), ended.err
    assert ended.err.partition("still running:")[2].strip(), ended.err
    assert ended.took < 1 + 1
