"""Running the `on_shutdown` hooks, the second halves of resources, and what releases acquisitions, in their order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.errors import StateError
from graceful._core.types import Outcome, Verdict
from graceful._hooks.active import ActiveHooks
from graceful._hooks.hook import Hook, Stage
from graceful._hooks.hook_run import HookRun
from graceful._hooks.hook_set import HookSet
from graceful._hooks.order import make_plan
from graceful._hooks.scheduler import Acquired, Additions, Late, Scheduler
from graceful._hooks.supervisor import Supervisor
from graceful._loop.jobs import ExecutorJobs
from graceful._loop.ownership import Owner, Ownership, owning
from graceful._loop.waiting import Waiting
from graceful._observe.journal import Journal
from graceful._run.dispatcher import Dispatcher
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures
from graceful._run.startup import Startup

__all__ = ["ShutdownHooks"]

T = TypeVar("T")


class ShutdownHooks:
    """
    Args:
        hooks: All hooks.
        deadline: When everything must be over.
        waiting: The waits of the run.
        journal: Where outcomes are kept for the report.
        dispatcher: Knows the cause, which a hook may take.
        failures: Where the errors of hooks are kept, which `run()` raises.
        intake: Where it arrives when the package's own code fails.
        active: The hooks that run now.
        supervisor: Sees each hook to its end.
        startup: Says what there is to clean up.
        ownership: Knows the tasks that are left of what is released.
        jobs: Knows the jobs that are left of it.
    """

    def __init__(
        self,
        hooks: HookSet,
        deadline: Deadline,
        waiting: Waiting,
        journal: Journal,
        dispatcher: Dispatcher,
        failures: Failures,
        intake: FailureIntake,
        active: ActiveHooks,
        supervisor: Supervisor,
        startup: Startup,
        ownership: Ownership,
        jobs: ExecutorJobs,
    ) -> None:
        self._hooks = hooks
        self._deadline = deadline
        self._journal = journal
        self._dispatcher = dispatcher
        self._failures = failures
        self._active = active
        self._supervisor = supervisor
        self._startup = startup
        self._ownership = ownership
        self._jobs = jobs
        self._added_drains, self._added, self._added_flushes = Additions(), Additions(), Additions()
        self._drained = False
        self._drain_limit: Callable[[], float] | None = None
        self._released = False
        self._scheduler = Scheduler(
            waiting,
            begin=self._begin,
            supervise=lambda run: intake.guarded(self._supervise(run)),
            on_ended=active.end,
            on_error=intake.failed_inside,
        )

    # --- what is acquired while the app runs -----------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the cleanup is over, or its time is, so that what is acquired now would never be released."""
        return self._released or clock.now() >= self._deadline.at

    async def enter_async_context(self, cm: contextlib.AbstractAsyncContextManager[T]) -> T:
        """
        Enter it now and exit it in the cleanup. What it starts belongs to it, and is cancelled when it is exited.

        Raises:
            StateError: The cleanup is over; if it ended while this was entered, it is exited again.
        """
        self._check_not_over("enter_async_context()")
        owner = self._ownership.new_owner()
        try:
            with owning(owner):
                value = await cm.__aenter__()
        except BaseException:
            self._ownership.release(owner)  # what is left of it is work
            raise
        leave = functools.partial(cm.__aexit__, None, None, None)
        try:
            self._check_not_over("enter_async_context()")
        except StateError:
            await leave()
            raise
        self._release_later(leave, owner)
        return value

    def push(self, callback: Callable[[], object]) -> None:
        """
        Call it in the cleanup.

        Raises:
            StateError: The cleanup is over.
        """
        self._check_not_over("push_async_callback()")
        self._release_later(callback)

    def _check_not_over(self, call: str) -> None:
        if self.over:
            raise StateError(f"{call} came too late: the cleanup is over, and nothing would release it")

    def _release_later(self, release: Callable[[], object], owner: Owner | None = None) -> None:
        """Call it in the cleanup; not before the hook has ended that this is called in."""
        self._added.add(Acquired(Hook(release, Stage.CLEANUP), self._active.current(), owner))

    def add_late(self, hook: Hook, needs: tuple[Hook, ...] | None) -> None:
        """
        An `on_shutdown` hook was registered while the app runs, perhaps in another thread. It always runs.

        Without `after=` it is like something acquired now. What is for the drain and comes after it runs in the cleanup.

        Args:
            hook: The hook.
            needs: What it waits for; `None`: it has no `after=`.
        """
        added = self._added
        if hook.stage is Stage.FLUSH:
            added = self._added_flushes
        elif hook.stage is Stage.DRAIN and not self._drained:
            added = self._added_drains
        added.add(Acquired(hook, self._active.current()) if needs is None else Late(hook, needs))
        # In another thread, while the cleanup ends: if the hook is still there, it will not be run.
        if self._released and (self._added.take_back(hook) or self._added_flushes.take_back(hook)):
            raise StateError(f"on_shutdown() came too late for {hook}: the cleanup is over")

    # --- the steps -------------------------------------------------------------------------------------------------

    async def drain(self, limit: Callable[[], float]) -> None:
        """Run the `stage="drain"` hooks; `limit` says when they must be over."""
        self._drain_limit = limit
        await self._scheduler.run(self._hooks.drains, self._added_drains)
        self._drained = True

    async def clean_up(self) -> None:
        """Release what was acquired, and run the cleanup hooks and the second halves of resources."""
        self._drained = True
        # Another thread may have come late; those of an announcement may still run.
        self._added_drains.move_to(self._added)
        await self._scheduler.run(self._hooks.cleanups, self._added)

    async def release_rest(self) -> None:
        """Release what was acquired while the last tasks ended. After this nothing can be acquired."""
        while not self._released or self._added:
            await self._scheduler.run(make_plan([]), self._added)
            self._released = True  # what another thread adds from now on, it takes back if it still can

    def has_flushes(self) -> bool:
        """Whether there are `stage="flush"` hooks."""
        return bool(self._hooks.flush_count or self._added_flushes)

    async def flush(self) -> None:
        """Run the `stage="flush"` hooks, when nothing else is left."""
        await self._scheduler.run(self._hooks.flushes, self._added_flushes)

    def _stage(self, hook: Hook) -> str:
        if hook.stage is Stage.FLUSH:
            return "flush"
        return "drain" if hook.stage is Stage.DRAIN and not self._drained else "cleanup"

    def _begin(self, hook: Hook, behind: int, owner: Owner | None) -> HookRun | None:
        """The run of a hook that is to clean up; `None`: there is nothing to clean up."""
        resource = self._startup.resource(hook)
        if hook.stage is Stage.RESOURCE and resource is None:
            return None  # never entered: its outcome at the start says so
        if not self._startup.is_owed(hook):
            self._journal.add_outcome(Outcome(hook.name, Verdict.SKIPPED, hook.where, hook.stage, clock.now()))
            return None
        stage = self._stage(hook)
        if stage == "cleanup":
            behind += self._hooks.flush_count  # they are behind all others
        owner = owner if resource is None else resource.owner
        run = HookRun(
            hook,
            stage,
            self._deadline,
            behind,
            offered=(self._dispatcher.cause,),
            limit=self._drain_limit if stage == "drain" else None,
            resume=None if resource is None else resource.leave,
            release=None if owner is None else functools.partial(self._release, owner),
        )
        self._active.begin(run)
        return run

    def _release(self, owner: Owner) -> Iterable[asyncio.Future[Any]]:
        return [*self._ownership.release(owner), *self._jobs.ends_of(owner)]

    async def _supervise(self, run: HookRun) -> None:
        await self._supervisor.supervise(run)
        if run.was_cut_by_hurry():
            return  # it was ordered, is reported, and is no error
        if run.error is not None and not self._failures.has_seen(run.error):
            self._failures.add_error(run.error)
