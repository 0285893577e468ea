"""
A signal at every moment of a program's life.

`GRACEFUL_SWEEP=300 pytest tests/process/test_sweep.py` runs the large sweep; by default it is a small one.
"""

from __future__ import annotations

import os
import signal
import statistics
import time

import pytest
from support.programs import LOOPS

RUNS = int(os.environ.get("GRACEFUL_SWEEP", "25"))
GUEST_RUNS = int(os.environ.get("GRACEFUL_SWEEP", "12"))


#: Its life begins where the handlers have just been installed: with the loop's making.
LIFE = """
app = App()

@app.resource
async def connection():
    await asyncio.sleep(0.005)
    say("started")
    yield
    await asyncio.sleep(0.005)
    say("cleaned")

async def main():
    await asyncio.sleep(0.01)
    say("worked")

def factory():
    say("begun")
    return (LOOP or asyncio.new_event_loop)()

import atexit
atexit.register(say, "exit")
app.run(main, loop_factory=factory)
"""


#: The same in a block, in a loop that `asyncio.run` owns.
GUEST = (
    LIFE.partition("async def main")[0]
    + """
async def main():
    say("begun")
    async with app:
        await asyncio.sleep(0.01)
        say("worked")

import atexit
atexit.register(say, "exit")
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(main())
"""
)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_every_moment(program, loop, number):
    """A signal at any moment gives the right status, one cleanup if anything was started, and no stray traceback."""
    sweep(
        program,
        LIFE,
        loop,
        number,
        RUNS,
        lambda ended: ended.err.rstrip(": \n").endswith("KeyboardInterrupt") and is_over(ended),
    )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_every_moment_of_a_block(program, loop, number):
    """The same as a guest; the traceback of a KeyboardInterrupt is `asyncio.run`'s own."""
    sweep(
        program, GUEST, loop, number, GUEST_RUNS, lambda ended: ended.err.rstrip(": \n").endswith("KeyboardInterrupt")
    )


def is_over(ended):
    """The run is over, and SIGINT its owner's again: what Python says of one that comes then is not ours."""
    return {"worked", "cleaned"} <= {*ended.lines}


def sweep(program, source, loop, number, runs, may_print):
    lives = []
    for _ in range(5):
        started = program(source, loop=loop).wait_for("begun")
        began = time.monotonic()
        assert 0 == started.end().status
        lives.append(time.monotonic() - began)
    life = statistics.median(lives)
    violations = []
    hit = 0
    for run in range(runs):
        started = program(source, loop=loop).wait_for("begun")
        began = time.monotonic()
        moment = life * 1.1 * run / runs
        while time.monotonic() - began < moment:  # exact to microseconds, which sleep is not
            pass
        ended = started.send(number).end()
        hit += ended.status == -number
        done = "worked" in ended.lines
        faults = {
            "status": ended.status not in ((0, -number) if done else (-number,)),
            "cleanup": ended.lines.count("cleaned") != ended.lines.count("started"),
            "stderr": ended.err != "" and not may_print(ended),
        }
        if any(faults.values()):
            violations.append((round(moment * 1000, 2), [name for name, bad in faults.items() if bad], ended))
    assert [] == violations
    assert hit > runs / 4  # or the sweep was all past its end
