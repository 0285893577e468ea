"""
Hidden tasks: the package's own, which are not in `asyncio.all_tasks()`.

Code that gathers all tasks would wait for the one that waits for it. Code that cancels all tasks, as `asyncio.run` does at
the second Ctrl-C, would cut short the cleanup that it waits for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from typing_extensions import TypeVar

from graceful._core.asyncio_private import unregister

__all__ = ["HiddenTask", "hide_from_all_tasks", "listed_tasks", "start_eagerly"]

T = TypeVar("T", default=Any)


class HiddenTask(asyncio.Task[T]):
    """A task of the package itself, or one that a hook runs in. `hide_from_all_tasks` takes it off the list."""


def hide_from_all_tasks(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """
    Take a task off the list, right after it was created.

    Not in an `__init__` of the class, which would double what a task costs. A task that has ended already was never listed.
    """
    if not task.done():
        unregister(task)
    return task


def listed_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """
    The program's own tasks: `asyncio.all_tasks()`, also where asyncio does not let ours be taken off the list.

    Args:
        loop: The loop; `None`: the running one.
    """
    found = asyncio.all_tasks(loop)
    if any(isinstance(task, HiddenTask) for task in found):
        found = {task for task in found if not isinstance(task, HiddenTask)}
    return found


if sys.version_info >= (3, 12):

    def start_eagerly(
        kind: type[asyncio.Task[T]], coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str
    ) -> asyncio.Task[T]:
        """A task that takes its first step now, where Python can: one with nothing to wait for needs no further iteration."""
        return kind(coro, loop=loop, name=name, eager_start=True)

else:

    def start_eagerly(
        kind: type[asyncio.Task[T]], coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str
    ) -> asyncio.Task[T]:
        """A task; before 3.12 it takes its first step in the next iteration of the loop."""
        return kind(coro, loop=loop, name=name)
