"""
The pace: how long things may take, for everybody who waits in the loop.

Whoever waits does so with a limit that he can be asked for again, because a second request brings the deadline forward
while he waits. Each limit is also passed on as what to expect of the heart: if it passes and nothing moves, the loop is
blocked (see `_alarm`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

__all__ = ["Pace", "resolve"]

T = TypeVar("T")


class Pace:
    """
    One deadline for everybody, which may be brought forward while they wait.

    Attributes:
        deadline: When everything must be over, on `clock`; infinity while the program runs.
        since: When the deadline was last changed.
        hurried: Whether it was brought forward.
    """

    def __init__(self, clock: Callable[[], float], expect: Callable[[float], None]) -> None:
        self.clock = clock
        self.deadline = math.inf
        self.since = -math.inf
        self.hurried = False
        self._expect = expect
        self._limits: dict[asyncio.Future[None], float] = {}

    def bring_forward(self, at: float, deadline: float, *, hurried: bool) -> None:
        """
        Fix the deadline, or bring it forward. Facts only, so safe in a signal handler.

        Whoever waits asks for his limit again at the next `reconsider`.
        """
        self.since, self.deadline, self.hurried = at, min(deadline, self.deadline), hurried

    def reconsider(self) -> None:
        """Wake all who wait, so that they ask for their limit again."""
        for waiter in self._limits:
            resolve(waiter, None)

    async def settle(self, futures: Collection[asyncio.Future[Any]], until: Callable[[], float]) -> bool:
        """
        Wait until all are done, or until `until()` has passed; it is asked again whenever the deadline changes.

        However late it is, each gets one pass of the loop. Never raises what a future holds.

        Returns:
            Whether all are done.
        """
        loop = asyncio.get_running_loop()
        pending = [future for future in futures if not future.done()]
        left = len(pending)
        waiter = loop.create_future()

        def ended(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                resolve(waiter, None)

        for future in pending:
            future.add_done_callback(ended)
        try:
            while left:
                limit = until()
                if limit <= self.clock():
                    await asyncio.sleep(0)
                    break
                waiter = loop.create_future()
                await self._wait(waiter, limit)
        finally:
            for future in pending:
                future.remove_done_callback(ended)
        return all(future.done() for future in pending)

    async def _wait(self, waiter: asyncio.Future[None], limit: float) -> None:
        loop = asyncio.get_running_loop()
        timer = None if limit == math.inf else loop.call_later(limit - self.clock(), resolve, waiter, None)
        self._limits[waiter] = limit
        self._expect(min(self._limits.values()))
        try:
            await waiter
        finally:
            del self._limits[waiter]
            self._expect(min(self._limits.values(), default=math.inf))
            if timer is not None:
                timer.cancel()


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set the result, unless somebody was quicker."""
    if not future.done():
        future.set_result(value)
