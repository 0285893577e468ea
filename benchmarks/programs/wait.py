"""Wait for SIGTERM, with a number of tasks that each wait for a future: `wait.py FRAMEWORK TASKS`."""

import asyncio
import sys

from frameworks import Spawn, serve

held: list[asyncio.Future[None]] = []


async def sleep() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    held.append(future)
    await future


def prepare(spawn: Spawn) -> None:
    for _ in range(int(sys.argv[2])):
        spawn(sleep)


serve(sys.argv[1], prepare)
