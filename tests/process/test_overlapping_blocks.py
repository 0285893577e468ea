"""Blocks of several apps in one loop that overlap: the signals are given back, and stop what still runs."""

from __future__ import annotations

import signal

import pytest
from support.programs import LOOPS

BLOCKS = """
def owner(*_):
    say("owner")

async def block(app, entered, leave):
    async with app:
        entered.set()
        await leave.wait()

async def enter(count):
    blocks = []
    for i in range(count):
        app, entered, leave = App(str(i), grace=2), asyncio.Event(), asyncio.Event()
        app.on_shutdown(lambda i=i: say("closed", i))
        blocks.append((leave, asyncio.create_task(block(app, entered, leave))))
        await entered.wait()
    return blocks

def run(main):
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("before", ["signal.SIG_DFL", "owner"])
def test_left_in_any_order(program, loop, before):
    """In whatever order three blocks are left, the handler is the one from before the first."""
    source = f"""
    import itertools
    async def main():
        for order in itertools.permutations(range(3)):
            signal.signal(signal.SIGTERM, {before})
            blocks = await enter(3)
            for i in order:
                leave, task = blocks[i]
                leave.set()
                await task
            if signal.getsignal(signal.SIGTERM) != {before}:
                print(order, signal.getsignal(signal.SIGTERM), file=sys.stderr)
    run(main)
    """
    ended = program(BLOCKS + "if True:\n" + source, loop=loop).end()

    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_block_that_took_the_signal_is_over(program, loop):
    """SIGTERM then stops the one that still runs, and ends the process, as without a block."""
    source = """
    async def main():
        (first, first_task), (second, second_task) = await enter(2)
        first.set()
        await first_task
        asyncio.get_running_loop().call_soon(say, "up")
        await second_task
    run(main)
    """
    ended = program(BLOCKS + "if True:\n" + source, loop=loop).wait_for("up").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["closed 0", "up", "closed 1"], "") == (ended.status, ended.lines, ended.err)
