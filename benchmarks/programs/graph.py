"""Microseconds of CPU to register, order and run a hook, in a graph with three edges per hook: `graph.py HOOKS`."""

import random
import sys
import time
from collections.abc import Awaitable, Callable

from frameworks import app_for


def made() -> Callable[[], Awaitable[None]]:
    async def hook() -> None:  # a new function each time: hooks are identified by their functions
        pass

    return hook


async def nothing() -> None:
    pass


app, _ = app_for("graceful")
choice = random.Random(1)
hooks = [made() for _ in range(int(sys.argv[1]))]
edges = [[hooks[choice.randrange(number)] for _ in range(3)] if number else [] for number in range(len(hooks))]
began = time.thread_time()
for hook, needed in zip(hooks, edges, strict=True):
    app.on_shutdown(after=needed)(hook)
app.run(nothing)
print((time.thread_time() - began) / len(hooks) * 1e6)
