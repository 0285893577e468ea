"""Microseconds of CPU to register and run one of 10,000 hooks: `hooks.py stack|pushed|registered`."""

import asyncio
import contextlib
import sys
import time

from frameworks import app_for

HOOKS = 10_000


async def hook() -> None:
    pass


async def with_stack(count: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            stack.push_async_callback(hook)


def run(how: str, count: int) -> None:
    if how == "stack":
        asyncio.run(with_stack(count))
        return
    app, _ = app_for("graceful")

    async def push() -> None:
        for _ in range(count):
            app.push_async_callback(hook)

    if how == "registered":
        for _ in range(count):
            app.on_shutdown(hook)
    app.run(hook if how == "registered" else push)


run(sys.argv[1], 1)  # one-time imports and start-up belong to the row `start`
began = time.thread_time()
run(sys.argv[1], HOOKS)
print((time.thread_time() - began) / HOOKS * 1e6)
