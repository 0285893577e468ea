"""The `on_signal` hooks: run for their signal instead of stopping, one run of each at a time."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence

from graceful._core.marks import calls_user_code
from graceful._hooks.hook import Hook, is_awaitable
from graceful._loop.tasks import SupervisedTasks
from graceful._run.failure_intake import FailureIntake

__all__ = ["SignalHooks"]


class SignalHooks:
    """
    Args:
        hooks: The `on_signal` hooks, in the order of registration.
        intake: Where it arrives that a hook could not be started.
    """

    def __init__(self, hooks: Sequence[Hook], intake: FailureIntake) -> None:
        self._hooks = [*hooks]
        self._intake = intake
        self._noted: deque[signal.Signals] = deque()
        self._pending: dict[Hook, dict[signal.Signals, None]] = {}

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

    def start(self, tasks: SupervisedTasks) -> None:
        """Start the hooks for the signals that have arrived; one that still runs will run once more for each."""
        while self._noted:
            number = self._noted.popleft()
            for hook in self._hooks:
                if number in hook.signals:
                    self._start(hook, number, tasks)

    def _start(self, hook: Hook, number: signal.Signals, tasks: SupervisedTasks) -> None:
        if hook in self._pending:
            self._pending[hook][number] = None
            return
        self._pending[hook] = {number: None}
        try:
            tasks.create(self._run(hook), f"registered as an on_signal hook at {hook.where}", hook.name)
        # SystemExit of an eager task's first step leaves create_task; a task factory may raise anything.
        except BaseException as error:
            self._intake.fail(error, f"{hook} could not be started")

    @calls_user_code
    async def _run(self, hook: Hook) -> None:
        try:
            while pending := self._pending[hook]:
                number = next(iter(pending))
                del pending[number]
                result = hook(number)
                if is_awaitable(result):
                    await result
        finally:
            del self._pending[hook]
