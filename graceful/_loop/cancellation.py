"""Cancelling tasks: all of them, also those that they start meanwhile, within a share of the grace."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable, Collection
from typing import Any

from graceful._core import clock
from graceful._core.budget import UNWIND, cancel_until
from graceful._core.deadline import Deadline
from graceful._loop.abandoned import abandon
from graceful._loop.critical import CriticalBlocks
from graceful._loop.tasks import SupervisedTasks
from graceful._loop.unretrieved import UnretrievedExceptions
from graceful._loop.waiting import Waiting

__all__ = ["Cancellation"]

Tasks = set[asyncio.Task[Any]]

#: The number of tasks from which on it is worth while to keep the collector off while they are cancelled.
_MANY = 1000


class Cancellation:
    """
    Args:
        deadline: Half of what is left of it is the share of a cancellation.
        waiting: The waits of the run.
        supervised: The supervised tasks.
        blocks: Tasks in them are cancelled when they leave, or when the share is over.
        unretrieved: Watches failed tasks; `None`: nothing does.
    """

    def __init__(
        self,
        deadline: Deadline,
        waiting: Waiting,
        supervised: SupervisedTasks,
        blocks: CriticalBlocks,
        unretrieved: UnretrievedExceptions | None,
    ) -> None:
        self._deadline = deadline
        self._waiting = waiting
        self._supervised = supervised
        self._blocks = blocks
        self._unretrieved = unretrieved

    async def cancel(
        self,
        find: Callable[[], Tasks],
        on_overdue: Callable[[asyncio.Task[Any]], None],
        until: Callable[[], float],
        *,
        first: asyncio.Task[Any] | None = None,
    ) -> Tasks:
        """
        Cancel the tasks that `find` returns, and those that they start while they end; wait for them.

        Args:
            find: Returns the tasks to cancel that have not ended; called again until there are none.
            on_overdue: Called with each task in a critical block that did not end in that share, before it is cancelled.
            until: Says when the share is over, as `share` does.
            first: Is cancelled alone, and gets half of the share, because its `finally` may need the others; `None`: all
                are cancelled together.

        Returns:
            Those that did not end.
        """
        asked = await self._cancel_first(first, find, until)
        in_time = True
        while in_time and (found := find()):
            self._ask_to_end(found - asked if asked else found)  # of a million, each copy takes a while
            in_time = await self._waiting.wait_done(found, until) and clock.now() < until()
            if self._unretrieved is not None:
                self._unretrieved.look_at(found)
            # Those that have ended are let go now, and need not be looked through again.
            asked = found = {task for task in found if not task.done()}
        await self._give_up_blocks(on_overdue)
        left = {task for task in asked if not task.done()}
        if not in_time:  # perhaps there is one that starts another whenever it ends
            await asyncio.sleep(0)  # one that has not begun yet would be gone silently, and without its `finally`
            begun = find() - left
            for task in begun:
                task.cancel()
            await self.let_unwind(begun)
            left = {task for task in left | begun if not task.done()} or find()
        return left

    async def _cancel_first(
        self, first: asyncio.Task[Any] | None, find: Callable[[], Tasks], until: Callable[[], float]
    ) -> Tasks:
        """Returns what has been asked to end."""
        if first is None or first.done():
            return set()
        began, share = clock.now(), until()
        if not self._blocks.postpone({first}, among=find()):
            first.cancel()
        half = self._deadline.fix(began + (share - began) / 2)
        await self._waiting.wait_done([first], lambda: -math.inf if self._deadline.hurried else half())
        return {first}

    def abandon(self, task: asyncio.Future[Any]) -> None:
        """Leave a task behind; if it still fails during the shutdown, that is reported."""
        abandon(task)
        if self._unretrieved is not None and task not in self._supervised:
            self._unretrieved.watch_again(task)

    def share(self, not_before: float = -math.inf) -> Callable[[], float]:
        """
        Returns what says when the share is over: half of what is left now, anew when the deadline moves.

        Args:
            not_before: It ends at this time at the earliest, unless somebody hurries.
        """
        limit, since, earliest = math.nan, math.nan, self._deadline.fix(not_before)

        def until() -> float:
            nonlocal limit, since
            if since != self._deadline.changed_at:
                since = self._deadline.changed_at
                at_least = -math.inf if self._deadline.hurried else earliest()
                limit = cancel_until(clock.now(), self._deadline.at, at_least)
            return limit

        return until

    def _ask_to_end(self, tasks: Tasks) -> None:
        # Only asyncio's own code runs here. For many tasks it creates objects that the collector would look through again and
        # again: with the collector off, cancelling a million tasks takes 3.4 s instead of 5.4 s.
        collecting = len(tasks) > _MANY and gc.isenabled()
        if collecting:
            gc.disable()
        try:
            spared = self._blocks.postpone(tasks)
            asked = tasks - spared if spared else tasks
            if self._unretrieved is not None:
                self._unretrieved.unwatch(asked)
            for task in asked:
                task.cancel()
        finally:
            if collecting:
                if not gc.get_freeze_count():  # what the program has frozen would come back
                    gc.freeze()
                    gc.unfreeze()  # into the oldest generation, so that they are not looked through right away
                gc.enable()

    async def _give_up_blocks(self, on_overdue: Callable[[asyncio.Task[Any]], None]) -> None:
        if late := self._blocks.give_up():
            for task in late:
                on_overdue(task)
                task.cancel()
            await self.let_unwind(late)

    async def let_unwind(self, tasks: Collection[asyncio.Task[Any]]) -> bool:
        """Wait a moment for those that were told to end when their share was over; returns whether all have ended."""
        over = self._deadline.fix(clock.now() + min(UNWIND, self._deadline.remaining() / 10))
        return await self._waiting.wait_done(tasks, over)
