"""The `on_signal` hooks: run for their signal instead of stopping, one run of each at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import Generator, Sequence

from graceful._core import clock
from graceful._core.marks import calls_user_code
from graceful._core.types import EventKind, Outcome, Verdict
from graceful._hooks.hook import Hook, is_awaitable
from graceful._loop.tasks import SupervisedTasks
from graceful._observe.log import log
from graceful._observe.observers import Observers
from graceful._run.failure_intake import FailureIntake

__all__ = ["SignalHooks"]


class SignalHooks:
    """
    Args:
        hooks: The `on_signal` hooks, in the order of registration.
        intake: Where it arrives that a hook could not be started.
        observers: Are told of each run of a hook.
    """

    def __init__(self, hooks: Sequence[Hook], intake: FailureIntake, observers: Observers) -> None:
        self._hooks = [*hooks]
        self._intake = intake
        self._observers = observers
        self._noted: deque[signal.Signals] = deque()
        self._pending: dict[Hook, dict[signal.Signals, None]] = {}
        self._running: set[Hook] = set()

    @property
    def signals(self) -> set[signal.Signals]:
        """The signals that there are hooks for."""
        return {number for hook in self._hooks for number in hook.signals}

    def add_late(self, hook: Hook) -> None:
        """A hook was registered while the app runs."""
        self._hooks.append(hook)

    def note(self, number: signal.Signals) -> None:
        """The signal has arrived. Safe in a signal handler."""
        self._noted.append(number)

    def tell_unheard(self) -> None:
        """The shutdown has begun, and no hook is started any more: say so of the signals that have come for them since."""
        while self._noted:
            number = self._noted.popleft()
            for hook in self._hooks:
                if number in hook.signals:
                    log(
                        logging.WARNING, f"on_signal hook {hook} does not run for {number.name}: the shutdown has begun"
                    )

    def start(self, tasks: SupervisedTasks) -> None:
        """
        Start the hooks for the signals that have arrived; one that still runs will run once more for each.

        One that has failed runs for what came meanwhile, if the failure was dealt with.
        """
        while self._noted:
            number = self._noted.popleft()
            for hook in self._hooks:
                if number in hook.signals:
                    self._pending.setdefault(hook, {})[number] = None
        for hook, pending in self._pending.items():
            if pending and hook not in self._running:
                self._start(hook, tasks)

    def _start(self, hook: Hook, tasks: SupervisedTasks) -> None:
        self._running.add(hook)
        try:
            tasks.create(self._run(hook), f"registered as an on_signal hook at {hook.where}", hook.name)
        # SystemExit of an eager task's first step leaves create_task; a task factory may raise anything.
        except BaseException as error:
            self._pending[hook].clear()
            self._running.discard(hook)
            self._intake.fail(error, f"{hook} could not be started")

    @calls_user_code
    async def _run(self, hook: Hook) -> None:
        try:
            while pending := self._pending[hook]:
                number = next(iter(pending))
                del pending[number]
                with self._told(hook, number):
                    result = hook(number)
                    if is_awaitable(result):
                        await result
        finally:
            self._running.discard(hook)

    @contextlib.contextmanager
    def _told(self, hook: Hook, number: signal.Signals) -> Generator[None]:
        """Tell the observers when a hook begins and how it ends."""
        began_at, error = clock.now(), None
        self._observers.tell(EventKind.HOOK_BEGAN, stage="signal", hook=hook.name, signal=number)
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            verdict = Verdict.OK if error is None else Verdict.RAISED
            if isinstance(error, asyncio.CancelledError):
                verdict = Verdict.CANCELLED
            took = clock.now() - began_at
            outcome = Outcome(hook.name, verdict, hook.where, "signal", began_at, took, error)
            self._observers.tell(EventKind.HOOK_ENDED, stage="signal", outcome=outcome, signal=number)
            error = None  # or the exception, its traceback and this frame would keep each other alive
