"""Start with three hooks and end at once: `start.py FRAMEWORK`. For asyncio, an empty coroutine without hooks."""

import contextlib
import sys

from frameworks import app_for, complete


async def nothing(*_: object) -> None:
    pass


async def three_callbacks(_: object) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            stack.push_async_callback(nothing)


if sys.argv[1] == "graceful":
    app, _ = app_for("graceful")
    app.on_startup(nothing)
    app.on_shutdown(nothing)
    app.on_shutdown(nothing)
    app.run(nothing)
else:
    complete(sys.argv[1], nothing if sys.argv[1] == "asyncio" else three_callbacks)
