"""
Which failed tasks something will still look at: those in a `gather`, an `asyncio.wait` or an `as_completed`.

They look at a task that failed early only when the last one is done, or its turn has come, and no attribute of the task
says that they will. So those that are running are searched for, in two steps:

1. From the tasks of the loop: what each awaits, and what is called when it is done. This finds each of the three in which
   a task still runs, and each `gather` and `asyncio.wait` that a task awaits: nearly all that there are.
2. Among all objects that the garbage collector knows. This finds the others, such as the `gather` of two executor jobs
   that nothing awaits yet, or the queue of an `as_completed` whose tasks are all done. Only if they are in none of these is
   a failure reported, so in most programs this step is taken once, for the failure that ends them.

Both take time in proportion to the program, on the loop. So each step is taken again only when it has cost less than 1 %
of the time since: tasks that fail meanwhile wait, and are looked for together. To look anew for each would be the worst in
the worst moment: while one backend of three is down, each request fails in a `gather`. Measured (3.13, a heap of a million
objects, 20 such requests a second for 5.5 s; p99 of the loop's stalls, the longest one, and CPU seconds):

| | p99 | longest | CPU |
|---|---|---|---|
| asyncio | 3 ms | 5 ms | 0.11 s |
| a look through all objects for each | 188 ms | 194 ms | 7.49 s |
| the two steps | 3 ms | 5 ms | 0.15 s |

One look takes 0.4 ms with 100 tasks, 28 ms with 10,000; one through a million objects 80 ms, and there is no way to have it
without that stall.

Rejected: to note each `gather` when it is made (it would have to be wrapped, and a program may have imported it before),
and to take the second step in slices or in a thread (the list of all objects alone is a part of its time, holds the GIL,
and keeps everything alive as long as it exists).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable, Iterator
from typing import Any, cast

from graceful._core.asyncio_private import (
    GATHER,
    can_see_waiters,
    children_of,
    coroutine_of,
    futures_in_wait,
    gathers_around,
    is_running_gather,
    is_running_wait,
    queued_futures,
    queues_around,
    waits_on,
)
from graceful._core.instances import instances_of
from graceful._core.pace import Pace

__all__ = ["AwaitedSearch"]

Future = asyncio.Future[Any]
#: Futures that something will look at, and the one that is done when it has; `None`: nothing says when.
Found = tuple[Iterable[Future], Future | None]
#: Each failed task that something will look at, with the future that is done when it has.
Awaited = dict[Future, Future | None]

#: The share of the time that each of the two steps may take.
_SHARE = 0.01

_KINDS = frozenset({GATHER, types.CoroutineType, asyncio.Queue})


class AwaitedSearch:
    """The search, in a loop that runs; it remembers what it has cost."""

    def __init__(self) -> None:
        self._in_tasks = Pace(_SHARE)
        self._everywhere = Pace(_SHARE)

    def pause(self) -> float:
        """Seconds until the next look; 0: now."""
        return self._in_tasks.pause()

    def look(self, failed: Iterable[Future]) -> tuple[Awaited, set[Future], float]:
        """
        Look for failed tasks.

        Where this Python does not show what is running, all of them count as awaited: it is better to report less.

        Returns:
            Those that something will look at; those of which that is not known yet, because it is too early for another
            look through all objects; and the seconds until there can be one.
        """
        missing = {*failed}
        if not can_see_waiters():
            return dict.fromkeys(missing), set(), 0.0
        with self._in_tasks.measured():
            awaited = _take(missing, _running_in_tasks())
        if not missing:
            return awaited, missing, 0.0
        if pause := self._everywhere.pause():
            return awaited, missing, pause
        with self._everywhere.measured():
            awaited |= _take(missing, _running())
        return awaited, set(), 0.0


def _take(missing: set[Future], running: Iterator[Found]) -> Awaited:
    """Those that are found in what is running; they are taken out of `missing`, and the search ends when it is empty."""
    awaited: Awaited = {}
    for tasks, until in running:
        if found := missing.intersection(tasks):
            missing -= found
            awaited |= dict.fromkeys(found, until)
            if not missing:
                break
    return awaited


def _running() -> Iterator[Found]:
    """Each `gather`, `asyncio.wait` and queue (`as_completed` has one inside), with the futures in it."""
    for each in instances_of(_KINDS):
        kind: object = cast(object, type(each))
        if kind is GATHER:
            if not each.done():
                yield children_of(each), each
        elif kind is types.CoroutineType:
            if is_running_wait(each):
                yield futures_in_wait(each)
        else:
            yield queued_futures(each), None


def _running_in_tasks() -> Iterator[Found]:
    """Those that a task awaits right now, or in which it runs; also what the collector does not show (`gc.freeze`)."""
    seen: set[int] = set()  # a `gather` is found once for each of its tasks
    for task in asyncio.all_tasks():
        yield from map(futures_in_wait, _waits_in(coroutine_of(task)))
        for gather in (*_gathers(waits_on(task)), *gathers_around(task)):
            if id(gather) not in seen:
                seen.add(id(gather))
                yield children_of(gather), gather
        yield from ((queued_futures(queue), None) for queue in queues_around(task))


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
