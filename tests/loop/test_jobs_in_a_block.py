"""Jobs in threads in a block of `async with app:`: those of what ends with the app have ended before the cleanup."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest
from support.programs import LOOPS

BLOCK = """
app = App("orders", grace=6)

@app.resource
def database():
    yield
    say("closed")

def job():
    say("up")
    time.sleep(0.3)
    say("job done")

@app.background
async def work():
    if sys.argv[1] == "background":
        await asyncio.to_thread(job)

async def wait():
    await asyncio.gather(asyncio.to_thread(job), asyncio.sleep(60))

async def main():
    async with app:
        if sys.argv[1] == "task":
            app.create_task(asyncio.to_thread(job))
        if sys.argv[1] == "child":
            app.create_task(wait())
        if sys.argv[1] == "body":
            await asyncio.to_thread(job)
        if sys.argv[1] == "executor":
            await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), job)
        await asyncio.sleep(60)

from concurrent.futures import ThreadPoolExecutor
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("started_by", ["background", "task", "child", "body", "executor"])
def test_the_jobs_of_a_block(program, loop, started_by):
    """In `async with app:`, jobs of supervised tasks and of the body have ended before what they use is closed."""
    ended = program(BLOCK, loop=loop, args=[started_by]).wait_for("up").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["up", "job done", "closed"], "") == (ended.status, ended.lines, ended.err)


def test_a_job_of_a_block_that_has_not_begun(app):
    """It is cancelled with the work; one that fails later is reported."""
    seen = []

    async def fill():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(asyncio.to_thread(hold) for _ in range(40)))

    def hold():
        seen.append(None)
        time.sleep(0.2)

    async def main():
        async with app:
            app.create_task(fill())
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert len(seen) < 40
    assert app.report.took < 1


def test_a_block_leaves_other_threads_and_other_code_alone(app):
    """`run_in_executor` works as before in another thread, and where the loop does not run."""

    def elsewhere(loop):
        return loop.run_in_executor(None, int, "7")

    async def main():
        async with app:
            future = await asyncio.to_thread(elsewhere, asyncio.get_running_loop())
            while not future.done():
                await asyncio.sleep(0.01)
            return future.result()

    assert 7 == asyncio.run(main())


def test_a_job_that_an_executor_refuses(app):
    """A hook of a block that catches the error goes on at once."""
    seen = []

    @app.on_shutdown
    async def close():
        asyncio.get_running_loop()._default_executor.shutdown()
        with contextlib.suppress(RuntimeError):
            await asyncio.to_thread(time.sleep, 0)
        seen.append("closed")

    async def main():
        async with app:
            await asyncio.to_thread(time.sleep, 0)

    asyncio.run(main())
    assert ["closed"] == seen
    assert app.report.took < 1
