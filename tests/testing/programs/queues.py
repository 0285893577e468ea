"""What is taken from a queue, and gets lost on the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from testing.programs.bug import SIGNALS, collector, nothing_broken, nothing_lost
from testing.programs.world import World

from graceful import App
from graceful.testing import Fault

BUGS, bug = collector()


@bug(nothing_lost, says="acknowledged, and never written")
def ack_before_the_write(mended: bool):
    """The broker forgets the message before it is safe."""
    app, world = App("orders", grace=3), World()

    async def main() -> None:
        for number in (1, 2):
            if not mended:
                world.acked.append(number)
            await world.write(number)
            if mended:
                world.acked.append(number)

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written")
def item_lost_in_cancelled_get(mended: bool):
    """The getter has taken the item, and the stop arrives in the same pass of the loop: it is cancelled, item and all."""
    app, world = App("orders", grace=3), World()
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def take() -> int | None:
        if mended:
            return await app.unless_stopping(queue.get(), None)
        getting = asyncio.ensure_future(queue.get())
        stopping = asyncio.ensure_future(app.wait_stopping())
        await asyncio.wait([getting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            getting.cancel()
            return None
        stopping.cancel()
        return getting.result()

    async def consume() -> None:
        while (number := await take()) is not None:
            world.written.append(number)
        while not queue.empty():
            world.written.append(queue.get_nowait())

    async def main() -> None:
        consumer = app.create_task(consume())
        for number in (1, 2, 3):
            await asyncio.sleep(0.01)
            world.acked.append(number)
            queue.put_nowait(number)
        await asyncio.sleep(0.01)
        app.stop()
        await consumer

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written")
def batch_flushed_only_when_full(mended: bool):
    """The rows of the batch that never became full are lost."""
    app, world = App("orders", grace=3), World()
    batch: list[int] = []

    async def flush() -> None:
        rows = batch.copy()
        await world.write(*rows)
        del batch[: len(rows)]

    if mended:
        app.on_shutdown(flush)

    async def main() -> None:
        for number in range(4):
            await asyncio.sleep(0.01)
            batch.append(number)
            world.acked.append(number)
            if len(batch) == 2:
                await flush()

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written")
def task_that_nobody_awaits(mended: bool):
    """The result of `create_task` is dropped: nothing waits for the write, and the shutdown cancels it."""
    app, world = App("orders", grace=3), World()

    async def main() -> None:
        for number in (1, 2):
            world.acked.append(number)
            if mended:
                app.create_task(world.write(number), drain=True)
            else:
                asyncio.create_task(world.write(number))
            await asyncio.sleep(0.02)

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written")
def shield_that_leaks(mended: bool):
    """`shield` keeps the cancellation of its caller off the write, and nobody waits for that any more."""
    app, world = App("orders", grace=3), World()

    async def save(number: int) -> None:
        world.acked.append(number)
        await world.write(number)

    async def main() -> None:
        for number in (1, 2):
            if mended:
                async with app.critical("save"):
                    await save(number)
            else:
                await asyncio.shield(save(number))

    return app, main, world


@dataclass
class Jobs(World):
    """
    Attributes:
        back: The jobs that go back into the queue.
    """

    back: list[int] = field(default_factory=list)


@bug(nothing_broken, says="counted as failed", faults=[*SIGNALS, Fault.SUPERVISED_TASK_FAILS])
def cancelled_job_counts_as_failed(mended: bool):
    """A bare `except` takes the cancellation for a failure of the job, which is not tried again."""
    app, world = App("orders", grace=3), Jobs()

    async def main() -> None:
        try:
            await world.write(1)
        except BaseException as error:
            if mended and isinstance(error, asyncio.CancelledError):
                world.back.append(1)
            else:
                world.broken.append("the job was cancelled, and counted as failed")
            raise

    return app, main, world
