"""Time in which the whole process is suspended is not counted against the grace."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.programs import LOOPS

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP"),
]

GRACE = 2

TEXT = f"""
app = App(grace={GRACE})
@app.on_shutdown
async def last():
    await asyncio.sleep(0.4)
    say("last")
@app.on_shutdown
async def first():
    say("cleaning")
    await asyncio.sleep(0.8)
    say("first")
"""


def suspend(started, seconds: float) -> None:
    """Stop the process, and let it go on after so many seconds, which is what is tested."""
    started.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, started.process.pid, os.WSTOPPED | os.WNOWAIT)
    time.sleep(seconds)
    started.process.send_signal(signal.SIGCONT)


def test_a_process_that_was_suspended_beyond_its_grace(program, loop):
    """A process that is stopped for longer than the grace while a hook runs finishes its cleanup as if it had not been."""
    text = TEXT + "async def main(): pass\napp.run(main, loop_factory=LOOP)"
    started = program(text, loop=loop).wait_for("cleaning")
    suspend(started, GRACE + 1)
    ended = started.end()
    assert (0, ["cleaning", "first", "last"], "") == (ended.status, ended.lines, without_progress(ended.err))


def test_a_process_that_was_suspended_after_its_run(program, loop):
    """The same after run(): an atexit callback is not cut short because the process was stopped meanwhile."""
    text = TEXT.replace("sleep(0.", "sleep(0.0") + (
        "import atexit\n"
        "def exiting():\n    say('exiting')\n    time.sleep(0.5)\n    time.sleep(0.5)\n    say('exited')\n"
        "atexit.register(exiting)\n"
        "async def main():\n    say('ready')\n    await asyncio.sleep(60)\n"
        "app.run(main, loop_factory=LOOP)"
    )
    started = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).wait_for("exiting")
    suspend(started, GRACE + 1)
    ended = started.end()
    assert (-signal.SIGTERM, "exited", "") == (ended.status, ended.lines[-1], without_progress(ended.err))


def test_a_hook_that_hangs_all_the_same(program, loop):
    """A hook that hangs is still given up, when the rest of the grace has passed after the process went on."""
    text = TEXT.replace("sleep(0.8)", "sleep(60)") + "async def main(): pass\napp.run(main, loop_factory=LOOP)"
    started = program(text, loop=loop).wait_for("cleaning")
    suspend(started, GRACE + 1)
    began = time.monotonic()
    ended = started.end()
    assert (1, ["cleaning", "last"]) == (ended.status, ended.lines)
    assert "first timed out" in ended.err
    assert time.monotonic() - began < GRACE + 1


#: What is under way when the process is suspended, and takes a second more than it has done by then.
UNDER_WAY = {
    "main's finally": """
async def main():
    say("ready")
    try:
        await asyncio.sleep(60)
    finally:
        await work()
""",
    "a task that drains": """
async def drains():
    await app.wait_stopping()
    await work()
async def main():
    app.create_task(drains(), drain=True)
    say("ready")
    await asyncio.sleep(60)
""",
    "a hook with a timeout": """
app.on_shutdown(work, timeout=1.5)
async def main():
    say("ready")
    await asyncio.sleep(60)
""",
}


@pytest.mark.parametrize("case", UNDER_WAY)
def test_what_is_under_way_has_its_time(program, loop, case):
    """Whatever the process is doing when it is suspended for longer than the grace, that has the rest of its time."""
    text = f"""
app = App(grace=4)
async def work():
    say("working")
    for _ in range(10):
        await asyncio.sleep(0.1)
    say("done")
{UNDER_WAY[case]}
app.run(main, loop_factory=LOOP)
"""
    started = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).wait_for("working")
    suspend(started, 5)
    ended = started.end()
    assert ["ready", "working", "done"] == ended.lines
    assert "timed out" not in ended.err


def without_progress(err: str) -> str:
    """What was written to stderr besides the progress of a shutdown that takes long."""
    return "".join(line for line in err.splitlines(True) if "shutting down" not in line and "shut down" not in line)
