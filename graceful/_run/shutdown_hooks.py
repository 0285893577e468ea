"""Running the `on_shutdown` hooks, the second halves of resources, and what releases acquisitions, in their order."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable
from typing import Any

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.errors import StateError
from graceful._core.types import Outcome, Verdict
from graceful._hooks.active import ActiveHooks
from graceful._hooks.hook import Hook, Stage
from graceful._hooks.hook_run import HookRun
from graceful._hooks.hook_set import HookSet
from graceful._hooks.order import make_plan
from graceful._hooks.scheduler import Acquired, Late, Scheduler
from graceful._hooks.supervisor import Supervisor
from graceful._loop.ownership import Owner, Ownership
from graceful._loop.waiting import Waiting
from graceful._observe.journal import Journal
from graceful._run.dispatcher import Dispatcher
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures
from graceful._run.startup import Startup

__all__ = ["ShutdownHooks"]


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
        self._acquired: deque[Acquired] = deque()
        self._late: list[Late] = []
        self._acquired_drains: deque[Acquired] = deque()
        self._late_drains: list[Late] = []
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

    def release_later(self, hook: Hook, owner: Owner | None = None) -> None:
        """
        Run the hook in the cleanup; not before the hook has ended that this is called in.

        Args:
            hook: Releases something.
            owner: What was started for it belongs to this, and is cancelled when the hook has run; `None`: to nothing.
        """
        self._acquired.append(Acquired(hook, self._active.current(), owner))

    def add_late(self, hook: Hook, needs: tuple[Hook, ...] | None) -> None:
        """
        An `on_shutdown` hook was registered while the app runs, perhaps in another thread. It always runs.

        Without `after=` it is like something acquired now. What is for the drain and comes after it runs in the cleanup.

        Args:
            hook: The hook.
            needs: What it waits for; `None`: it has no `after=`.
        """
        drains = hook.stage is Stage.DRAIN and not self._drained
        if needs is None:
            (self._acquired_drains if drains else self._acquired).append(Acquired(hook, self._active.current()))
        else:
            (self._late_drains if drains else self._late).append(Late(hook, needs))
        if self._released:
            self._take_back(hook)

    def _take_back(self, hook: Hook) -> None:
        """In another thread, while the cleanup ends: if the hook is still there, it will not be run."""
        waiting: Any
        for waiting in (self._acquired, self._late):
            for each in [*waiting]:
                if each.hook is hook:
                    with contextlib.suppress(ValueError):  # it is being run after all
                        waiting.remove(each)
                        raise StateError(f"on_shutdown() came too late for {hook}: the cleanup is over")

    # --- the steps -------------------------------------------------------------------------------------------------

    async def drain(self, limit: Callable[[], float]) -> None:
        """Run the `stage="drain"` hooks; `limit` says when they must be over."""
        self._drain_limit = limit
        await self._scheduler.run(self._hooks.drains, self._acquired_drains, self._late_drains)
        self._drained = True

    async def clean_up(self) -> None:
        """Release what was acquired, and run the cleanup hooks and the second halves of resources."""
        self._drained = True
        self._acquired.extend(self._acquired_drains)  # another thread may have come late
        self._late.extend(self._late_drains)
        await self._scheduler.run(self._hooks.cleanups, self._acquired, self._late)

    async def release_rest(self) -> None:
        """Release what was acquired while the last tasks ended. After this nothing can be acquired."""
        while not self._released or self._acquired or self._late:
            await self._scheduler.run(make_plan([]), self._acquired, self._late)
            self._released = True  # what another thread adds from now on, it takes back if it still can

    def _begin(self, hook: Hook, behind: int, owner: Owner | None) -> HookRun | None:
        """The run of a hook that is to clean up; `None`: there is nothing to clean up."""
        resource = self._startup.resource(hook)
        if hook.stage is Stage.RESOURCE and resource is None:
            return None  # never entered: its outcome at the start says so
        if not self._startup.is_owed(hook):
            self._journal.add_outcome(Outcome(hook.name, Verdict.SKIPPED, hook.where, hook.stage, clock.now()))
            return None
        drains = hook.stage is Stage.DRAIN and not self._drained
        owner = owner if resource is None else resource.owner
        run = HookRun(
            hook,
            "drain" if drains else "cleanup",
            self._deadline,
            behind,
            offered=(self._dispatcher.cause,),
            limit=self._drain_limit if drains else None,
            resume=None if resource is None else resource.leave,
            release=None if owner is None else functools.partial(self._ownership.release, owner),
        )
        self._active.begin(run)
        return run

    async def _supervise(self, run: HookRun) -> None:
        await self._supervisor.supervise(run)
        if run.was_cut_by_hurry():
            return  # it was ordered, is reported, and is no error
        if run.error is not None and not self._failures.knows(run.error):
            self._failures.add_error(run.error)
