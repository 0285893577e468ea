"""
The shutdown: announce, ask the on_exception hooks, drain, cancel, clean up.

Each step must leave time for those behind it, so each has a share of what is left of the grace.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from typing import Any

from graceful._core import clock
from graceful._core.budget import drain_until
from graceful._core.deadline import Deadline
from graceful._core.frames import await_chain
from graceful._core.settings import Settings
from graceful._core.types import Cause, Kind, Outcome, Verdict
from graceful._hooks.blocking import BlockingLimit
from graceful._hooks.child_tasks import adopting
from graceful._hooks.hook import Hook, Stage
from graceful._hooks.hook_run import HookRun
from graceful._hooks.hook_set import HookSet
from graceful._hooks.order import make_plan
from graceful._hooks.scheduler import Acquired, Scheduler
from graceful._hooks.stuck import StuckReporter
from graceful._hooks.supervisor import Supervisor
from graceful._hooks.active import ActiveHooks
from graceful._loop.abandoned import abandoned
from graceful._loop.cancellation import Cancellation
from graceful._loop.hidden import listed_tasks
from graceful._loop.stop_notice import StopNotice
from graceful._loop.tasks import SupervisedTasks
from graceful._loop.waiting import Waiting
from graceful._observe.journal import Journal
from graceful._observe.log import log
from graceful._run.exception_hooks import ExceptionHooks
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures
from graceful._run.startup import Startup

__all__ = ["Shutdown"]


class Shutdown:
    """
    Args:
        settings: What the app was made with.
        hooks: All hooks.
        deadline: When everything must be over.
        waiting: The waits of the run.
        journal: Where outcomes are kept for the report.
        failures: Where errors are kept that `run()` raises.
        intake: Takes each step whatever goes wrong in the one before.
        exception_hooks: Are asked about what has failed.
        startup: Says what there is to clean up.
        active: The hooks that run now.
        supervisor: Runs hooks.
        stuck: Where what does not end in time is reported.
        tasks: The supervised tasks.
        notice: The tasks that asked to be told.
        cancellation: Cancels the rest.
        blocking: Says how long cancelled code may block the loop.
        owns_loop: Whether every task of the loop is cancelled, or only supervised ones.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: HookSet,
        deadline: Deadline,
        waiting: Waiting,
        journal: Journal,
        failures: Failures,
        intake: FailureIntake,
        exception_hooks: ExceptionHooks,
        startup: Startup,
        active: ActiveHooks,
        supervisor: Supervisor,
        stuck: StuckReporter,
        tasks: SupervisedTasks,
        notice: StopNotice,
        cancellation: Cancellation,
        blocking: BlockingLimit,
        *,
        owns_loop: bool,
    ) -> None:
        self._settings = settings
        self._hooks = hooks
        self._deadline = deadline
        self._waiting = waiting
        self._journal = journal
        self._failures = failures
        self._intake = intake
        self._exception_hooks = exception_hooks
        self._startup = startup
        self._active = active
        self._supervisor = supervisor
        self._stuck = stuck
        self._tasks = tasks
        self._notice = notice
        self._cancellation = cancellation
        self._blocking = blocking
        self._owns_loop = owns_loop
        self._acquired: deque[Acquired] = deque()
        self._drain_end = math.inf
        self._cleaned = False
        self._cause: Cause | None = None
        self._scheduler = Scheduler(
            waiting,
            begin=self._begin,
            supervise=lambda run: intake.guarded(self._supervise(run)),
            on_ended=active.end,
            on_error=intake.failed_inside,
        )

    async def run(self, cause: Cause) -> None:
        """Take all steps."""
        self._cause = cause
        self._announce(cause)
        await self._exception_hooks.handle_all()
        with adopting():
            await self._intake.guarded(self._drain(cause))
            await self._intake.guarded(self._cancel())
            await self._intake.guarded(self._scheduler.run(self._hooks.cleanups, self._acquired))
            await self._intake.guarded(self._last())

    # --- what is acquired while the app runs -----------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the cleanup is over, or its time is, so that what is acquired now would never be released."""
        return self._cleaned or clock.now() >= self._deadline.at

    def release_later(self, hook: Hook) -> None:
        """Run the hook in the cleanup; not before the hook has ended that this is called in."""
        self._acquired.append(Acquired(hook, self._active.current()))

    # --- the steps -------------------------------------------------------------------------------------------------

    def _announce(self, cause: Cause) -> None:
        name, grace = self._settings.name, self._settings.grace
        again = "; press Ctrl-C again to hurry" if cause.signal is not None else ""
        message = f"{name} is shutting down ({cause}), up to {grace:g} s for cleanup{again}"
        on_terminal = cause.kind is not Kind.COMPLETED  # else it simply ends, and nobody waits to hear of it
        log(logging.INFO, message, on_terminal=on_terminal, app=name, cause=cause, grace=grace)

    async def _drain(self, cause: Cause) -> None:
        """Go on serving for the delay, stop accepting, and let those finish that are waited for or asked to be told."""
        delay = self._settings.drain_delay if cause.kind is Kind.SIGNAL else 0.0
        self._drain_end = drain_until(cause.at, delay, self._deadline.at)
        if delay:
            never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self._waiting.wait_done([never], lambda: self._unless_hurried(cause.at + delay))
        await self._scheduler.run(self._hooks.drains, deque())
        in_time, left = True, set[asyncio.Task[Any]]()
        while in_time and (left := self._tasks.draining() | self._notice.told()):
            in_time = await self._waiting.wait_done(left, self._drain_limit)
        if not in_time and not self._deadline.hurried:
            for task in left:
                if not task.done():
                    self._give_up(task, "was waited for, and is cancelled now", "drain")
        for _ in range(2):  # a task that awaited one of these gets its turn, and may end by itself
            await asyncio.sleep(0)

    def _drain_limit(self) -> float:
        return self._unless_hurried(self._drain_end)

    def _unless_hurried(self, limit: float) -> float:
        return -math.inf if self._deadline.hurried else limit

    async def _cancel(self) -> None:
        self._blocking.tasks_were_cancelled()
        for task in await self._cancellation.cancel(self._work, self._cut_short):
            self._give_up(task, "did not react to its cancellation, and is abandoned")
            self._cancellation.abandon(task)

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        self._give_up(task, "did not end in time, and is cut short")

    def _give_up(self, task: asyncio.Task[Any], why: str, stage: str = "cancel") -> None:
        self._stuck.gave_up(self._tasks.label(task), await_chain(task), why, stage)

    async def _last(self) -> None:
        """Tasks that were started during the cleanup, and what they acquired while they ended."""
        await self._cancel()
        await self._scheduler.run(make_plan([]), self._acquired)
        self._cleaned = True

    def _work(self) -> set[asyncio.Task[Any]]:
        """Every task that is to be cancelled: all that are listed, or in a loop that is not ours the supervised ones."""
        if not self._owns_loop:
            return {task for task in self._tasks.running() if not task.done() and task not in abandoned}
        work = listed_tasks()
        work.difference_update(abandoned)
        return work

    # --- the hooks of a step ---------------------------------------------------------------------------------------

    def _begin(self, hook: Hook, behind: int) -> HookRun | None:
        """The run of a hook that is to clean up; `None`: there is nothing to clean up."""
        resource = self._startup.resource(hook)
        if hook.stage is Stage.RESOURCE and resource is None:
            return None  # never entered: its outcome at the start says so
        if not self._startup.is_owed(hook):
            self._journal.outcomes.append(Outcome(hook.name, Verdict.SKIPPED, hook.where, hook.stage, clock.now()))
            return None
        drains = hook.stage is Stage.DRAIN
        run = HookRun(
            hook,
            "drain" if drains else "cleanup",
            self._deadline,
            behind,
            offered=(self._cause,),
            limit=self._drain_limit if drains else None,
            resume=None if resource is None else resource.leave,
        )
        self._active.begin(run)
        return run

    async def _supervise(self, run: HookRun) -> None:
        await self._supervisor.supervise(run)
        if run.error is not None and not self._failures.knows(run.error):
            self._failures.errors.append(run.error)
