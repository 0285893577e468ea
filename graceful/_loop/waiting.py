"""
Waiting with a limit: every wait inside the loop goes through here.

Waiters pass a callable, so their limit is re-evaluated when the deadline moves up. The earliest limit is also when the loop
must make progress: if it passes and nothing moves, the loop is blocked (see `_process/unblock`).
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from graceful._core import clock

__all__ = ["Waiting", "resolve"]

T = TypeVar("T")

#: Iterations of the loop that a result needs to get through: a timer that is due, the future that it resolves, the task
#: that this wakes.
_PASSES = 3


class Waiting:
    """
    All waits of one run.

    Args:
        on_wait: Told by when the loop will make progress again; infinity: nothing says when.
        on_late: Called when a limit has passed. It may change the limit, if the process was suspended.
    """

    def __init__(self, on_wait: Callable[[float], None], on_late: Callable[[], None] = lambda: None) -> None:
        self._on_wait = on_wait
        self._on_late = on_late
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []  # a heap: the earliest limit first

    def starts(self, until: float) -> None:
        """Something starts that must not block the loop beyond `until`."""
        self._on_wait(until)

    def reconsider(self) -> None:
        """Wake all waiters, so that each evaluates its limit again."""
        for *_, waiter in self._waiting:
            resolve(waiter, None)

    async def wait_done(self, futures: Collection[asyncio.Future[Any]], until: Callable[[], float]) -> bool:
        """
        Wait until all futures are done, or until the time that `until()` returns.

        However late it is, a future that is due in time gets the iterations of the loop that it needs. Exceptions of the
        futures are not raised.

        They are waited for one after the other: one that ends meanwhile costs no more than a look, where a callback on
        each would double what it costs to cancel a million tasks.

        Returns:
            Whether all are done.
        """
        for future in futures:
            while not future.done():
                limit = until()
                if limit <= clock.now():
                    self._on_late()
                    if until() > clock.now():
                        continue
                    for _ in range(_PASSES):
                        await asyncio.sleep(0)
                    return all(each.done() for each in futures)
                await self._wait(future, limit)
        return True

    async def _wait(self, future: asyncio.Future[Any], limit: float) -> None:
        """Until it is done, the limit has passed, or the limit must be evaluated again."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            resolve(waiter, None)

        future.add_done_callback(wake)
        timer = None if limit == math.inf else loop.call_later(limit - clock.now(), resolve, waiter, None)
        heapq.heappush(self._waiting, (limit, id(waiter), waiter))
        self._on_wait(self._waiting[0][0])
        try:
            await waiter
        finally:
            future.remove_done_callback(wake)
            waiter.cancel()  # no effect if it is done; if this task is cancelled, it no longer waits
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            self._on_wait(self._waiting[0][0] if self._waiting else math.inf)
            if timer is not None:
                timer.cancel()


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set the result, unless the future is done already."""
    if not future.done():
        future.set_result(value)
