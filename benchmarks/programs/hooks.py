"""Microseconds of CPU to register and run a hook, of 10,000: `hooks.py stack|pushed|registered`."""

import asyncio
import contextlib
import functools
import sys
import time

from frameworks import app_for

HOOKS = 10_000


async def hook() -> None:
    pass


async def with_stack() -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(HOOKS):
            stack.push_async_callback(hook)


def run_stack() -> None:
    asyncio.run(with_stack())


def run_app(how: str) -> None:
    app, _ = app_for("graceful")

    async def push() -> None:
        for _ in range(HOOKS):
            app.push_async_callback(hook)

    if how == "registered":
        for _ in range(HOOKS):
            app.on_shutdown(hook)
    app.run(hook if how == "registered" else push)


run = run_stack if sys.argv[1] == "stack" else functools.partial(run_app, sys.argv[1])
hooks, HOOKS = HOOKS, 1
run()  # what is imported and started once is in the row `start`
HOOKS = hooks
began = time.thread_time()
run()
print((time.thread_time() - began) / HOOKS * 1e6)
