"""The hooks that run now, and which of them the running code belongs to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

from graceful._core.deadline import Deadline
from graceful._core.types import EventKind
from graceful._hooks.hook_run import HookRun, current_hook_run
from graceful._observe.journal import Journal
from graceful._observe.observers import Observers

__all__ = ["ActiveHooks"]


class ActiveHooks:
    """
    Args:
        deadline: The deadline of the run.
        journal: Where outcomes are kept for the report.
        observers: Are told of each that begins.
    """

    def __init__(self, deadline: Deadline, journal: Journal, observers: Observers) -> None:
        self._deadline = deadline
        self._journal = journal
        self._observers = observers
        self._running: set[HookRun] = set()

    def begin(self, run: HookRun) -> None:
        """
        It runs; to be called before it starts, because it may block at once. Calling it again does nothing.

        Called in the context that the hook's task will copy, if it gets one: what an observer sets there is set in the hook.
        """
        if run not in self._running:
            self._running.add(run)
            if self._observers.listening:  # or the time would be worked out for nothing
                self._observers.tell(EventKind.HOOK_BEGAN, stage=run.stage, hook=run.hook.name, until=run.until())

    def end(self, run: HookRun) -> None:
        """It is over; its outcome is kept for the report."""
        self._running.discard(run)
        self._journal.add_outcome(run.finish())

    def current(self) -> HookRun | None:
        """The hook run that the running code belongs to, if it is not over."""
        if not self._running:
            return None
        run = current_hook_run()  # a task that a startup hook created has inherited its run, which is long over
        return run if run in self._running else None

    def adopt_job(self, make_end: Callable[[], asyncio.Future[None]]) -> None:
        """A job in an executor was started: if a hook of the shutdown did that, it is a part of its run until it has ended."""
        run = self.current()
        if run is not None and (self._deadline.stopping or run.stage == "drain"):
            run.adopt(make_end())

    def running(self) -> Iterable[HookRun]:
        """Those that are not over. Safe in another thread."""
        return [*self._running]

    def remaining(self) -> float:
        """Seconds left to the running code: in a hook of its own slice, elsewhere of the grace; see `App.remaining`."""
        if not self._deadline.stopping:
            return math.inf
        run = self.current()
        return self._deadline.remaining() if run is None else run.remaining()
