"""Tasks: those an app answers for (which to wait for, which not to cancel now, how to stop all), and its own."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from graceful._budget import MOMENT, half_of_rest
from graceful._critical import Blocks
from graceful._pace import Pace
from graceful._patience import Patience

__all__ = ["Tasks", "Unlisted", "eager", "off_the_list"]

T = TypeVar("T")


class Unlisted(asyncio.Task[T]):
    """
    A task of ours: the heart's, or one that a hook runs in.

    Not in `asyncio.all_tasks()`. Whoever gathers all tasks would wait for the one that waits for him; and who cancels
    all, as `asyncio.run` does at the second Ctrl-C, would cut the cleanup short that he waits for. It is taken off by
    `off_the_list`, and not in an `__init__`, which would double what a task costs.
    """


def off_the_list(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Take it off the list, right after it was made; one that ended at once was never on it."""
    if not task.done():
        asyncio.tasks._unregister_task(task)
    return task


if sys.version_info >= (3, 12):

    def eager(
        kind: type[asyncio.Task[T]], coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str
    ) -> asyncio.Task[T]:
        """A task that takes its first step at once, where Python can: one with nothing to wait for costs no turn of the loop."""
        return kind(coro, loop=loop, name=name, eager_start=True)

else:

    def eager(
        kind: type[asyncio.Task[T]], coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str
    ) -> asyncio.Task[T]:
        return kind(coro, loop=loop, name=name)


class Tasks:
    """
    Attributes:
        draining: The supervised tasks that are waited for before anything is cancelled.
        blocks: The critical blocks.
        loop: Where they run, once that is known.
        patience: What watches the loop's other tasks; `None`: nothing does.
        supervised: All supervised tasks that have not ended, each with where it came from.
        main: The task that main runs in; `None`: there is none, or it has not begun.
        failed: Called with a supervised task that has failed, how it was made, and its exception.
    """

    def __init__(self) -> None:
        self.supervised: dict[asyncio.Task[Any], str] = {}
        self.draining: set[asyncio.Task[Any]] = set()
        self.main: asyncio.Future[Any] | None = None
        self.failed: Callable[[asyncio.Task[Any], str, BaseException], None]
        self.loop: asyncio.AbstractEventLoop
        self.patience: Patience | None = None
        # Once: a bound method and a copy of the context for each task would be 64 bytes for each.
        self._on_done = self._done
        self._context = Context()
        self.blocks = Blocks()

    def create(
        self,
        coro: Coroutine[Any, Any, T],
        made: str,
        name: str | None = None,
        context: Context | None = None,
        drain: bool = False,
    ) -> asyncio.Task[T]:
        """Start a supervised task: `failed` is called with it, how it was `made` and its exception as soon as it has failed."""
        if self.patience is not None:
            self.patience.spared = coro
        # A task factory of somebody's own may take nothing but the coroutine.
        loop = self.loop
        task: asyncio.Task[T] = loop.create_task(coro) if context is None else loop.create_task(coro, context=context)
        if name is not None:
            task.set_name(name)
        self.supervised[task] = made
        task.add_done_callback(self._on_done, context=self._context)
        if drain:
            self.draining.add(task)
            task.add_done_callback(self.draining.discard, context=self._context)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        made = self.supervised.pop(task, None)
        if made is not None and not task.cancelled() and (error := task.exception()) is not None:
            self.failed(task, made, error)

    def release(self, task: asyncio.Task[Any]) -> None:
        """It is no longer ours to wait for, or to stop."""
        del self.supervised[task]

    def label(self, task: asyncio.Task[Any]) -> str:
        """What to call it: its name, and the critical block it is in."""
        return f"task {task.get_name()!r}{self.blocks.label(task)}"

    async def cancel(
        self,
        find: Callable[[], set[asyncio.Task[Any]]],
        pace: Pace,
        overdue: Callable[[asyncio.Task[Any]], None],
    ) -> set[asyncio.Task[Any]]:
        """
        Cancel what `find` finds, and what that starts while it ends; wait for it, but leave a share of the budget.

        Args:
            overdue: Called with each task in a critical block that did not end in that share, before it is cancelled.

        Returns:
            Those that would not end.
        """
        limit, since = math.nan, math.nan

        def until() -> float:
            nonlocal limit, since
            if since != pace.since:  # the deadline was brought forward: a new share
                since, limit = pace.since, half_of_rest(pace.clock(), pace.deadline)
            return limit

        asked: set[asyncio.Task[Any]] = set()
        in_time = True
        while in_time and (found := find()):
            self._ask_to_end(found - asked if asked else found)  # of a million, each copy takes a while
            in_time = await pace.settle(found, until) and pace.clock() < until()
            if self.patience is not None:
                self.patience.look_at(found)
            # Those that have ended are let go now, and need not be looked through again.
            asked = found = {task for task in found if not task.done()}
        if late := self.blocks.give_up():
            for task in late:
                overdue(task)
                task.cancel()
            await _moment_for(late, pace)
        left = {task for task in asked if not task.done()}
        if not in_time:  # perhaps there is one that starts another whenever it ends
            await asyncio.sleep(0)  # one that has not begun yet would be gone without a word, and without its `finally`
            begun = find() - left
            for task in begun:
                task.cancel()
            await _moment_for(begun, pace)
            left = {task for task in left | begun if not task.done()} or find()
        return left

    def _ask_to_end(self, tasks: set[asyncio.Task[Any]]) -> None:
        # Nothing but asyncio's own code runs here, and makes a million objects that the collector would look at again
        # and again: without it, this takes a third of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            spared = self.blocks.postpone(tasks)
            asked = tasks - spared if spared else tasks
            if self.patience is not None:
                self.patience.unwatch(asked)
            for task in asked:
                task.cancel()
        finally:
            if collecting:
                if not gc.get_freeze_count():  # what the program has frozen would come back
                    gc.freeze()
                    gc.unfreeze()  # into the oldest generation, so that they are not looked through as soon as it goes on
                gc.enable()


async def _moment_for(tasks: set[asyncio.Task[Any]], pace: Pace) -> None:
    """To unwind, for those that were cancelled when their share was over."""
    over = pace.clock() + min(MOMENT, max(0.0, pace.deadline - pace.clock()) / 10)
    await pace.settle(tasks, lambda: over)
