"""
Which failed tasks something will still look at: those in a `gather`, an `asyncio.wait` or an `as_completed`.

They look at a task that failed early only when the last one is done, or its turn has come, and no attribute of the task
says that they will. So those that are running are searched for, among all objects that the garbage collector knows. That
takes some milliseconds in a program of some size, and is done only when there is a failure to report.
"""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Iterable, Iterator
from typing import Any

from graceful._core.asyncio_private import (
    GATHER,
    can_see_waiters,
    children_of,
    coroutine_of,
    futures_in_wait,
    is_running_gather,
    is_running_wait,
    queued_futures,
    waits_on,
)

__all__ = ["still_awaited"]

Future = asyncio.Future[Any]
#: Futures that something will look at, and the one that is done when it has; `None`: nothing says when.
Found = tuple[Iterable[Future], Future | None]


def still_awaited(failed: Iterable[Future]) -> dict[Future, Future | None]:
    """
    Those of the failed tasks that something will look at, each with the future that is done when it has.

    Where this Python does not show what is running, that is all of them: it is better to report less.
    """
    wanted = {*failed}
    if not can_see_waiters():
        return dict.fromkeys(wanted)
    return {task: until for tasks, until in _running() for task in wanted.intersection(tasks)}


def _running() -> Iterator[Found]:
    """Each `gather`, `asyncio.wait` and queue (`as_completed` has one inside), with the futures in it."""
    objects: list[Any] = gc.get_objects()
    for kind, each in zip(map(type, objects), objects, strict=True):  # not `__class__`: a proxy may claim any class
        if kind is GATHER:
            if not each.done():
                yield children_of(each), each
        elif kind is types.CoroutineType:
            if is_running_wait(each):
                yield futures_in_wait(each)
        elif kind is asyncio.Queue:
            yield queued_futures(each), None
    if gc.get_freeze_count():
        yield from _running_in_tasks()


def _running_in_tasks() -> Iterator[Found]:
    """Those that a task awaits right now: the collector does not show objects that were frozen (`gc.freeze`)."""
    for task in asyncio.all_tasks():
        yield from map(futures_in_wait, _waits_in(coroutine_of(task)))
        for gather in _gathers(waits_on(task)):
            yield children_of(gather), gather


def _gathers(future: Any) -> Iterator[Any]:
    """The future, if it is a `gather` that is running, and those in it."""
    if is_running_gather(future):
        yield future
        for child in children_of(future):
            yield from _gathers(child)


def _waits_in(coroutine: Any) -> Iterator[Any]:
    """Each running `asyncio.wait` in the chain of what a coroutine awaits."""
    while coroutine is not None:
        if is_running_wait(coroutine):
            yield coroutine
        coroutine = getattr(coroutine, "cr_await", None)
