"""Bytes for a task that waits for a future, including coroutine and future: `memory.py FRAMEWORK`."""

import asyncio
import sys
import tracemalloc

from frameworks import Spawn, complete

TASKS = 100_000

held: list[asyncio.Future[None]] = [None] * TASKS  # type: ignore[list-item]


async def main(spawn: Spawn) -> None:
    numbers = iter(range(TASKS))

    async def sleep() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held[next(numbers)] = future
        await future

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(TASKS):
        spawn(sleep)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    print((tracemalloc.get_traced_memory()[0] - before) / TASKS)
    tracemalloc.stop()
    for future in held:  # so that all tasks end quickly and in the same way
        future.set_result(None)


complete(sys.argv[1], main)
