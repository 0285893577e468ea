"""
The work of an app, and its cancellation: main first, then the rest; and jobs in threads, which are waited for.

Child processes are part of the rest: main's `finally` may need them.

On a loop of ours every task is work that nothing acquired has started (see `_loop/ownership`); on somebody else's loop the
supervised tasks are. The closing of an async generator is no work: it belongs to whatever iterated it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from graceful._core.deadline import Deadline
from graceful._hooks.blocking import BlockingLimit
from graceful._hooks.stuck import StuckReporter
from graceful._loop.abandoned import abandoned
from graceful._loop.cancellation import Cancellation
from graceful._loop.children import Children, ChildTask
from graceful._loop.generators import closes_generator
from graceful._loop.hidden import listed_tasks
from graceful._loop.jobs import ExecutorJobs
from graceful._loop.ownership import Ownership
from graceful._loop.tasks import SupervisedTasks
from graceful._loop.waiting import Waiting

__all__ = ["Work"]

Tasks = set[asyncio.Task[Any]]


class Work:
    """
    Args:
        loop: Where it runs.
        deadline: Half of what is left of it is the share of a cancellation.
        waiting: The waits of the run.
        tasks: The supervised tasks.
        children: The child processes.
        ownership: Knows the tasks that belong to something in use.
        cancellation: Cancels tasks and waits for them.
        jobs: The jobs in executors.
        blocking: Is told that cancelled code runs now.
        stuck: Where those are reported that do not end.
        owns_loop: Whether every task of the loop is work, or only the supervised ones.

    Attributes:
        ends_at: Says when the time of the cancellation is over, once it has begun.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: Deadline,
        waiting: Waiting,
        tasks: SupervisedTasks,
        children: Children,
        ownership: Ownership,
        cancellation: Cancellation,
        jobs: ExecutorJobs,
        blocking: BlockingLimit,
        stuck: StuckReporter,
        *,
        owns_loop: bool,
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._waiting = waiting
        self._tasks = tasks
        self._children = children
        self._ownership = ownership
        self._cancellation = cancellation
        self._jobs = jobs
        self._blocking = blocking
        self._stuck = stuck
        self._owns_loop = owns_loop
        self.ends_at = deadline.fix(math.inf)

    async def cancel(self, not_before: float) -> None:
        """
        Cancel it, main first, and wait for jobs in threads; what does not react is reported and abandoned.

        Args:
            not_before: When the time for work to end by itself is over: a critical block has it, too.
        """
        share = self.ends_at = self._cancellation.share(not_before)
        await self._cancel(self._find, share, first=self._tasks.main)

        def until() -> float:
            return -math.inf if self._deadline.hurried else share()

        for task in await self._wait_closed(until):
            self._give_up(task, "is still closing an async generator, and is not waited for any longer")
        for job in await self._jobs.wait_ended(self._waiting, until):
            self._stuck.gave_up(job.label, job.stack(), "is still running, and is not waited for any longer")

    async def cancel_rest(self) -> None:
        """Cancel whatever is left when all cleanup is over, also what a startup has started."""
        share = self._cancellation.share
        await self._cancel(lambda: {task for task in self._listed() if not closes_generator(task)}, share())
        for task in await self._wait_closed(share()):
            self._cut_short(task)
        await self._cancel(self._listed, share())

    async def _wait_closed(self, until: Callable[[], float]) -> list[asyncio.Task[Any]]:
        """Wait for async generators that are being closed, also for those that one of them leaves; returns the rest."""
        await asyncio.sleep(0)  # asyncio creates the task in a callback
        while closing := [task for task in self._listed() if closes_generator(task)]:
            if not await self._waiting.wait_done(closing, until):
                return [task for task in closing if not task.done()]
        return []

    async def _cancel(self, find: Any, until: Callable[[], float], **options: Any) -> None:
        self._blocking.tasks_were_cancelled()
        left = await self._cancellation.cancel(find, self._cut_short, until, **options)
        if killed := [task for task in left if isinstance(task, ChildTask)]:
            await self._kill(killed)
        for task in left.difference(killed):
            self._give_up(task, "did not react to its cancellation, and is abandoned")
            self._cancellation.abandon(task)

    async def _kill(self, children: list[ChildTask]) -> None:
        for child in children:
            self._stuck.gave_up(self._tasks.label(child), (), f"did not end by {child.stop}, and is killed")
            child.kill()
        if not await self._cancellation.let_unwind(children):
            for child in children:
                self._cancellation.abandon(child)

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """Every task that the app waits for or would cancel, main first. For a message, perhaps in another thread."""
        return sorted(self._listed(), key=lambda task: (task is not self._tasks.main, task.get_name()))

    def waited_for(self) -> Tasks:
        """What a cancellation waits for, also the children that a critical block holds."""
        return self._find() | self._children.held()

    def _listed(self) -> Tasks:
        if not self._owns_loop:
            work = {task for task in self._tasks.running() if not task.done()}
        else:
            work = listed_tasks(self._loop)
        work |= self._children.running()
        work.difference_update(abandoned)
        return work

    def _find(self) -> Tasks:
        """What is to be cancelled."""
        work = self._listed()
        work.difference_update(self._children.held(), self._ownership.in_use(work - self._tasks.running()))
        if self._owns_loop:
            work.difference_update([task for task in work if closes_generator(task)])
        return work

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        self._give_up(task, "did not end in time, and is cut short")

    def _give_up(self, task: asyncio.Task[Any], why: str) -> None:
        self._stuck.task_gave_up(task, self._tasks.label(task), why)
