"""Tasks that outlive what they use, or their own cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from testing.programs.bug import SIGNALS, collector, nothing_broken, nothing_lost
from testing.programs.world import Connection, World

from graceful import App
from graceful.testing import Fault, Result

BUGS, bug = collector()


def nothing_given_up(result: Result) -> str:
    """Every task ended when it was asked to."""
    given_up = [each.hook for each in result.outcomes if each.verdict == "timed out"]
    return f"did not end when it was cancelled: {', '.join(given_up)}" if given_up else ""


@bug(nothing_given_up, says="did not end when it was cancelled: task 'worker'")
def worker_that_swallows_its_cancellation(mended: bool):
    """`except BaseException` in the loop of a worker takes the cancellation for one more job that failed."""
    app, world = App("orders", grace=3), World()

    async def work() -> None:
        for number in (1, 2, 3):
            try:
                await asyncio.sleep(2)
            except Exception if mended else BaseException:
                world.broken.append(f"job {number} failed")

    async def main() -> None:
        await asyncio.wait([app.create_task(work(), name="worker")])

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written: [2]", faults=[*SIGNALS, Fault.MAIN_CANCELLED])
def gather_that_abandons_siblings(mended: bool):
    """`gather` is over as soon as the first of its children is cancelled; the other is cut off in its cleanup."""
    app, world = App("orders", grace=3), World()

    async def upload(number: int) -> None:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if number == 2:
                world.acked.append(number)
                await world.write(number)
            raise

    async def main() -> None:
        if mended:
            async with asyncio.TaskGroup() as group:
                for number in (1, 2):
                    group.create_task(upload(number))
        else:
            await asyncio.gather(upload(1), upload(2))

    return app, main, world


@bug(nothing_broken, says="rollback: the pool is closed")
def pool_closed_under_a_handler(mended: bool):
    """A hook of the drain stage closes the pool, while the handlers still work."""
    app, world = App("orders", grace=3), World()
    pools: list[Connection] = []

    @app.on_startup
    async def open_pool() -> None:
        pools.append(Connection(world, "pool"))

    async def close_pool() -> None:
        await pools[0].close()

    app.on_shutdown(close_pool) if mended else app.on_shutdown(close_pool, stage="drain")

    async def main() -> None:
        try:
            await pools[0].send("query")
        except BaseException:
            await pools[0].send("rollback")
            raise

    return app, main, world


@bug(nothing_broken, says="last position: the file is closed")
def background_task_not_joined(mended: bool):
    """The task is cancelled but not awaited: its `finally` writes to a file that is closed."""
    app, world = App("orders", grace=3), World()

    async def pump(file: Connection) -> None:
        position = 0
        try:
            while position < 3:
                await file.send("line")
                position += 1
        finally:
            if position < 3:
                await file.send("last position")

    async def main() -> None:
        file = Connection(world, "file")
        pumping = asyncio.create_task(pump(file))
        try:
            await asyncio.wait([pumping])
        finally:
            pumping.cancel()
            if mended:
                with contextlib.suppress(asyncio.CancelledError):
                    await pumping
            file.close_now()

    return app, main, world
