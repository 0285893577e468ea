"""Microseconds of CPU for a task that awaits once, from creation to its done callbacks: `create.py FRAMEWORK`."""

import asyncio
import sys
import time

from frameworks import Spawn, complete

BATCH, BATCHES, ROUNDS = 100, 50, 20


async def once() -> None:
    await asyncio.sleep(0)


async def main(spawn: Spawn) -> None:
    """Create tasks in batches, as a server handles several requests at a time."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(BATCHES):
            for _ in range(BATCH):
                spawn(once)
            for _ in range(3):  # the first step of each task, the second, the callbacks
                await asyncio.sleep(0)
        took.append(time.thread_time() - began)
    print(min(took) / (BATCH * BATCHES) * 1e6)  # the least disturbed round, as in timeit


complete(sys.argv[1], main)
