"""
The shutdown: announce, ask the on_exception hooks, drain, cancel, clean up, flush.

Each step must leave time for those behind it, so each has a share of what is left of the grace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from graceful._core.deadline import Deadline
from graceful._core.settings import Settings
from graceful._core.types import Cause, EventKind, Failure, Kind
from graceful._hooks.adoption import adopting
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._observe.log import log
from graceful._observe.observers import Observers
from graceful._run.drain import Drain
from graceful._run.exception_hooks import ExceptionHooks
from graceful._run.failure_intake import FailureIntake
from graceful._run.progress import Progress
from graceful._run.shutdown_hooks import ShutdownHooks
from graceful._run.work import Work

__all__ = ["Shutdown"]


class Shutdown:
    """
    Args:
        settings: What the app was made with.
        deadline: When everything must be over.
        observers: Are told of each step.
        intake: Takes each step whatever goes wrong in the one before.
        exception_hooks: Are asked about what has failed.
        drain: The step before anything is cancelled.
        work: What is cancelled.
        hooks: What cleans up.
        progress: Says what a long shutdown is waiting for.
        shield_handlers: Has what signal handlers of the program raise go to a function instead of into our own code.
        failure_of: The failure that an exception is, if it is one.
        status_so_far: The exit status, should nothing else happen.
    """

    def __init__(
        self,
        settings: Settings,
        deadline: Deadline,
        observers: Observers,
        intake: FailureIntake,
        exception_hooks: ExceptionHooks,
        drain: Drain,
        work: Work,
        hooks: ShutdownHooks,
        progress: Progress,
        shield_handlers: Callable[[Callable[[BaseException], None]], None],
        failure_of: Callable[[BaseException | None], Failure | None],
        status_so_far: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._observers = observers
        self._intake = intake
        self._exception_hooks = exception_hooks
        self._drain = drain
        self._work = work
        self._hooks = hooks
        self._progress = progress
        self._shield_handlers = shield_handlers
        self._failure_of = failure_of
        self._status_so_far = status_so_far

    async def run(self, cause: Cause, *, by_ctrl_c: bool) -> None:
        """Take all steps. `by_ctrl_c`: a Ctrl-C began it, so somebody is there who may press it again."""
        self._shield_handlers(self._intake.raised_by_handler)
        self._announce(cause, by_ctrl_c=by_ctrl_c)
        failure = self._failure_of(cause.exception)
        self._observers.tell(EventKind.STOPPING, at=cause.at, cause=cause, until=self._deadline.at, failure=failure)
        progress = hide_from_all_tasks(HiddenTask(self._progress.tell(cause), name="graceful progress"))
        try:
            await self._take_steps(cause)
        finally:
            progress.cancel()
            self._progress.tell_end()

    async def _take_steps(self, cause: Cause) -> None:
        await self._take("on_exception", cause, self._exception_hooks.handle_all())
        with adopting():
            await self._take("drain", cause, self._drain.run(cause))
            await self._take("cancel", cause, self._cancel_work())
            await self._take("cleanup", cause, self._hooks.clean_up())
            await self._take("finish", cause, self._last())
            if self._hooks.has_flushes():
                await self._take("flush", cause, self._hooks.flush(), exit_status=self._status_so_far())

    async def _take(self, stage: str, cause: Cause, step: Coroutine[Any, Any, None], **fields: Any) -> None:
        self._observers.tell(EventKind.STAGE_BEGAN, stage=stage, cause=cause, until=self._deadline.at, **fields)
        await self._intake.guarded(step)

    async def _cancel_work(self) -> None:
        await self._work.cancel(self._drain.ends_at())

    def _announce(self, cause: Cause, *, by_ctrl_c: bool) -> None:
        name, grace = self._settings.name, self._settings.grace
        again = "; press Ctrl-C again to hurry" if by_ctrl_c else ""
        message = f"{name} is shutting down ({cause}), up to {grace:g} s for cleanup{again}"
        on_terminal = cause.kind is not Kind.COMPLETED  # else it simply ends, and nobody waits to hear of it
        log(logging.INFO, message, on_terminal=on_terminal, app=name, cause=cause, grace=grace)

    async def _last(self) -> None:
        """Tasks that were started during the cleanup, and what they acquired while they ended."""
        await self._work.cancel_rest()
        await self._hooks.release_rest()
