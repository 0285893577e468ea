"""
The pace: how long things may take, for everybody who waits in the loop.

Whoever waits does so with a limit that he can be asked for again, because a second request brings the deadline forward
while he waits. Each limit is also passed on as what to expect of the heart: if it passes and nothing moves, the loop is
blocked (see `_alarm`).
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

__all__ = ["Pace", "resolve"]

T = TypeVar("T")


#: A timer that is due, the future that it resolves, the task that this wakes.
_PASSES = 3


class Pace:
    """
    One deadline for everybody, which may be brought forward while they wait.

    Attributes:
        deadline: When everything must be over, on `clock`; infinity while the program runs.
        since: When the deadline was last changed.
        hurried: Whether it was brought forward.
        expect: Told by when the heart will have moved on; the alarm's, where there is one.
        guard: Told when that begins to matter while the program still runs, and when it no longer does.
    """

    def __init__(self, clock: Callable[[], float], guard: Callable[[bool], None] = lambda _begins: None) -> None:
        self.clock = clock
        self.deadline = math.inf
        self.since = -math.inf
        self.hurried = False
        self.expect: Callable[[float], None] = lambda _limit: None
        self.guard = guard
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []  # a heap: the earliest limit first

    def bring_forward(self, at: float, deadline: float, *, hurried: bool) -> None:
        """
        Fix the deadline, or bring it forward. Facts only, so safe in a signal handler.

        Whoever waits asks for his limit again at the next `reconsider`.
        """
        self.since, self.deadline, self.hurried = at, min(deadline, self.deadline), hurried

    def reconsider(self) -> None:
        """Wake all who wait, so that they ask for their limit again."""
        for *_, waiter in self._waiting:
            resolve(waiter, None)

    async def settle(self, futures: Collection[asyncio.Future[Any]], until: Callable[[], float]) -> bool:
        """
        Wait until all are done, or until `until()` has passed; it is asked again whenever the deadline changes.

        However late it is, who is due in time gets the passes of the loop that he needs. Never raises what a future holds.

        They are looked at one after the other: whoever ends meanwhile costs nothing but the look, where a callback for
        each would double what it costs to cancel a million tasks.

        Returns:
            Whether all are done.
        """
        for future in futures:
            while not future.done():
                limit = until()
                if limit <= self.clock():
                    for _ in range(_PASSES):
                        await asyncio.sleep(0)
                    return all(each.done() for each in futures)
                await self._wait(future, limit)
        return True

    async def _wait(self, future: asyncio.Future[Any], limit: float) -> None:
        """Until it is done, or the limit has passed, or it is to be asked for again."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            resolve(waiter, None)

        future.add_done_callback(wake)
        timer = None if limit == math.inf else loop.call_later(limit - self.clock(), resolve, waiter, None)
        heapq.heappush(self._waiting, (limit, id(waiter), waiter))
        self.expect(self._waiting[0][0])
        try:
            await waiter
        finally:
            future.remove_done_callback(wake)
            waiter.cancel()  # if it is not done: who is cancelled himself waits no more
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            self.expect(self._waiting[0][0] if self._waiting else math.inf)
            if timer is not None:
                timer.cancel()


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set the result, unless somebody was quicker."""
    if not future.done():
        future.set_result(value)
