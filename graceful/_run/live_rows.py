"""What a shutdown waits for in each of its stages, one by one, for the live view."""

from __future__ import annotations

import asyncio
import functools
import heapq
import math
from collections.abc import Iterable
from typing import Any

from graceful._core.deadline import Deadline
from graceful._core.frames import await_chain
from graceful._hooks.active import ActiveHooks
from graceful._hooks.hook_run import HookRun
from graceful._loop.jobs import ExecutorJobs
from graceful._loop.tasks import SupervisedTasks
from graceful._observe.live_state import Running, Step
from graceful._run.drain import Drain
from graceful._run.work import Work

__all__ = ["LiveRows"]


class LiveRows:
    """
    Asked in the loop.

    Args:
        deadline: When everything must be over.
        active: The hooks that run now.
        tasks: The supervised tasks.
        jobs: The jobs in executors.
        drain: Knows what is to end by itself.
        work: Knows what is cancelled.
    """

    def __init__(
        self,
        deadline: Deadline,
        active: ActiveHooks,
        tasks: SupervisedTasks,
        jobs: ExecutorJobs,
        drain: Drain,
        work: Work,
    ) -> None:
        self._deadline = deadline
        self._active = active
        self._tasks = tasks
        self._jobs = jobs
        self._drain = drain
        self._work = work

    def rows(self, step: Step, most: int) -> tuple[list[Running], int]:
        """The hooks, each with its tasks, and what else the stage waits for; `most` at most, and how many more there are."""
        hooks = sorted(self._active.running(), key=lambda run: run.began_at)
        rows = [row for run in hooks for row in _hook_rows(run)]
        owned = {task for run in hooks for task in (run.task, *run.tasks)}
        tasks, until = self._tasks_of(step)
        tasks -= owned
        since = step.began_at or 0.0
        first = heapq.nsmallest(most, tasks, key=lambda task: (task is not self._tasks.main, task.get_name()))
        rows += [self._task_row(task, since, until) for task in first]
        more = len(tasks) - len(first)
        if step.name in ("cancel", "finish"):
            rows += [Running(job.label, since, until, job.stack) for job in self._jobs.running()]
        if step.name == "drain" and (row := self._serving(step)) is not None:
            rows.insert(0, row)
        return rows[:most], more + len(rows[most:])

    def _tasks_of(self, step: Step) -> tuple[set[asyncio.Task[Any]], float]:
        """The tasks and children that a stage waits for, and until when."""
        match step.name:
            case "announced":
                return self._drain.waited_for(), math.inf
            case "drain":
                return self._drain.waited_for(), self._limit(self._drain.ends_at())
            case "cancel":
                return self._work.waited_for(), self._limit(self._work.ends_at())
            case "finish":
                return {*self._work.unfinished()}, self._deadline.at
            case _:
                return set(), self._deadline.at

    def _limit(self, until: float) -> float:
        return self._deadline.at if self._deadline.hurried else min(until, self._deadline.at)

    def _task_row(self, task: asyncio.Task[Any], since: float, until: float) -> Running:
        return Running(self._tasks.label(task), since, until, functools.partial(await_chain, task))

    def _serving(self, step: Step) -> Running | None:
        """The delay in which the app goes on serving."""
        if step.began_at is None or not self._drain.is_serving:
            return None
        return Running("serving (drain_delay)", step.began_at, self._drain.serves_until(), tuple)


def _hook_rows(run: HookRun) -> Iterable[Running]:
    began, until = run.began_at, run.until()
    yield Running(run.hook.name, began, until, functools.partial(_stack, run.task, run.hook.where))
    for child in [*run.tasks]:
        if isinstance(child, asyncio.Task) and not child.done():
            yield Running(child.get_name(), began, until, functools.partial(await_chain, child), inner=True)


def _stack(task: asyncio.Task[Any] | None, where: str) -> tuple[str, ...]:
    return await_chain(task) or (where,)
