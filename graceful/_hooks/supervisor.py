"""Supervising a hook's run from its start to its end, and reporting how it ended."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from graceful._core.deadline import Deadline
from graceful._core.types import Verdict, add_note, describe
from graceful._hooks.active import ActiveHooks
from graceful._hooks.hook_run import HookRun
from graceful._loop.cancellation import Cancellation
from graceful._loop.waiting import Waiting
from graceful._observe.log import log

__all__ = ["Supervisor"]


class Supervisor:
    """
    Args:
        deadline: The deadline of the run.
        waiting: The waits of the run.
        active: The hooks that run now.
        cancellation: Abandons what does not end.
        on_limited: Called with `True` when a hook with a time limit begins while the program runs, and with `False` when
            it has ended: during that time blocked code must be unblocked, too.
    """

    def __init__(
        self,
        deadline: Deadline,
        waiting: Waiting,
        active: ActiveHooks,
        cancellation: Cancellation,
        on_limited: Callable[[bool], None],
    ) -> None:
        self._deadline = deadline
        self._waiting = waiting
        self._active = active
        self._cancellation = cancellation
        self._on_limited = on_limited

    async def supervise(self, run: HookRun, *, done: asyncio.Future[Any] | None = None) -> None:
        """
        See a hook's run to its end, and start it unless it was started.

        Args:
            run: The run.
            done: What ends the hook's own part, where that is not the end of its task.
        """
        limited = not self._deadline.stopping and run.until() < math.inf
        if limited:
            self._on_limited(True)
        self._active.begin(run)
        if run.task is None:
            run.start(self._waiting)
        task = run.task
        await run.wait_ended(self._waiting, done)
        self._active.end(run)
        if limited:
            self._on_limited(False)
        if run.abandoned:
            for late in (task, *run.tasks):
                if late is not None:
                    self._cancellation.abandon(late)
        _report(run)


def _report(run: HookRun) -> None:
    what = f"{run.stage} hook {run.hook}"
    if run.error is not None:
        add_note(run.error, f"in {what}")
    if run.timeout is not None:
        log(logging.WARNING, f"{run.stage} hook {run.timeout}", hook=run.hook.name, stack=run.stack)
    elif run.abandoned:
        log(logging.WARNING, f"{what} did not react to its cancellation, and is abandoned", stack=run.stack)
    elif run.verdict is Verdict.CANCELLED and not run.cut:
        rest = "" if run.completed else ": not all of it ran"
        log(logging.WARNING, f"{what} was cancelled from inside{rest}")
    # Else it is raised; this one is not, if another hook deals with the failure.
    if run.stage == "on_exception" and run.error is not None and run.error is not run.timeout:
        log(logging.WARNING, f"{what} failed: {describe(run.error)}", hook=run.hook.name)
