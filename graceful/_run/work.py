"""The work of an app, and its cancellation: on a loop of ours every task, on somebody else's the supervised tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from graceful._hooks.blocking import BlockingLimit
from graceful._hooks.stuck import StuckReporter
from graceful._loop.abandoned import abandoned
from graceful._loop.cancellation import Cancellation
from graceful._loop.hidden import listed_tasks
from graceful._loop.tasks import SupervisedTasks

__all__ = ["Work"]


class Work:
    """
    Args:
        tasks: The supervised tasks.
        cancellation: Cancels tasks and waits for them.
        blocking: Is told that cancelled code runs now.
        stuck: Where those are reported that do not end.
        owns_loop: Whether every task of the loop is work, or only the supervised ones.
    """

    def __init__(
        self,
        tasks: SupervisedTasks,
        cancellation: Cancellation,
        blocking: BlockingLimit,
        stuck: StuckReporter,
        *,
        owns_loop: bool,
    ) -> None:
        self._tasks = tasks
        self._cancellation = cancellation
        self._blocking = blocking
        self._stuck = stuck
        self._owns_loop = owns_loop

    async def cancel(self) -> None:
        """Cancel it; what does not react is reported and abandoned."""
        self._blocking.tasks_were_cancelled()
        for task in await self._cancellation.cancel(self._find, self._cut_short):
            self._give_up(task, "did not react to its cancellation, and is abandoned")
            self._cancellation.abandon(task)

    def _find(self) -> set[asyncio.Task[Any]]:
        if not self._owns_loop:
            return {task for task in self._tasks.running() if not task.done() and task not in abandoned}
        work = listed_tasks()
        work.difference_update(abandoned)
        return work

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        self._give_up(task, "did not end in time, and is cut short")

    def _give_up(self, task: asyncio.Task[Any], why: str) -> None:
        self._stuck.task_gave_up(task, self._tasks.label(task), why)
