"""How long the code that runs now may block the loop, before it is unblocked in place."""

from __future__ import annotations

import asyncio
import math

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._hooks.active import ActiveHooks
from graceful._loop.hidden import HiddenTask
from graceful._loop.tasks import SupervisedTasks

__all__ = ["BlockingLimit"]


class BlockingLimit:
    """
    A hook may block until its slice is over, and all other code for half of the grace, or for `drain_share` if that is more.

    Args:
        deadline: The deadline of the run.
        share: The part of the grace that is for work to end by itself.
        active: The hooks that run now.
        tasks: The supervised tasks.
        owns_loop: Whether all code in the loop may be unblocked, or only hooks, supervised tasks and what the package calls.
    """

    def __init__(
        self, deadline: Deadline, share: float, active: ActiveHooks, tasks: SupervisedTasks, *, owns_loop: bool
    ) -> None:
        self._deadline = deadline
        self._share = share
        self._active = active
        self._tasks = tasks
        self._owns_loop = owns_loop
        self._cancelled_at = deadline.fix(-math.inf)

    def tasks_were_cancelled(self) -> None:
        """The share for code outside hooks begins anew: what blocks now does so in its `finally`."""
        self._cancelled_at = self._deadline.fix(clock.now())

    def until(self) -> float:
        """When the running code must stop blocking the loop; infinity: never. In a signal handler, in its context."""
        run, stopping = self._active.current(), self._deadline.stopping
        starting = run is not None and run.stage == "startup"
        if run is not None and not (starting and stopping):
            return run.until()
        if not stopping or not (self._owns_loop or starting or self._runs_ours()):
            return math.inf
        half = self._deadline.half_of_rest(max(self._deadline.changed_at, self._cancelled_at()))
        return half if self._deadline.hurried else max(half, self._deadline.part_of_grace(self._share))

    def _runs_ours(self) -> bool:
        """A supervised task, or one of the package's own, which calls observers and logging handlers."""
        if asyncio._get_running_loop() is None:
            return False
        task = asyncio.current_task()
        return task in self._tasks or isinstance(task, HiddenTask)
