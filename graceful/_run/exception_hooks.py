"""Asking the `on_exception` hooks about each failure. One that none of them deals with stops the program."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.state import Trigger
from graceful._core.types import Cause, Failure, Kind
from graceful._hooks.adoption import adopting
from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._hooks.supervisor import Supervisor
from graceful._loop.tasks import SupervisedTasks
from graceful._run.dispatcher import Dispatcher
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures

__all__ = ["ExceptionHooks"]


class ExceptionHooks:
    """
    Args:
        hooks: The `on_exception` hooks, in the order of registration.
        deadline: The deadline of the run.
        supervisor: Runs the hooks.
        failures: Where the pending ones are.
        intake: Where what goes wrong here arrives.
        dispatcher: What is told of a failure that nobody dealt with.
        tasks: Says which task is main's.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        deadline: Deadline,
        supervisor: Supervisor,
        failures: Failures,
        intake: FailureIntake,
        dispatcher: Dispatcher,
        tasks: SupervisedTasks,
    ) -> None:
        self._hooks = [*hooks]
        self._deadline = deadline
        self._supervisor = supervisor
        self._failures = failures
        self._intake = intake
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._since = math.inf

    def add_late(self, hook: Hook) -> None:
        """A hook was registered while the app runs: it is asked about the next failure."""
        self._hooks.append(hook)

    async def handle_all(self) -> None:
        """Ask about each pending failure."""
        while (failure := self._failures.next_pending()) is not None:
            await self._intake.guarded(self._handle(failure))

    async def _handle(self, failure: Failure) -> None:
        at = self._since = min(self._since, clock.now())
        cause = self._dispatcher.cause
        starting = cause is not None and cause.exception is failure.exception
        dealt_with, raised = await self._ask(failure, at)
        exits = [error for error in raised if not isinstance(error, Exception)]  # sys.exit() in a hook says how to end
        if exits or not dealt_with or starting:  # a start that failed cannot go on, whatever a hook says
            errors = [*exits, failure.exception, *(error for error in raised if isinstance(error, Exception))]
            self._failures.add_error(*errors)
            self._dispatcher.post(Trigger.UNHANDLED, Cause(Kind.EXCEPTION, at, exception=errors[0]))
            return
        self._since = math.inf
        self._failures.dealt_with(failure.exception)
        if self._has_ended_main(failure):
            self._dispatcher.main_ended(at)
        elif failure.task is not None and self._tasks.is_essential(failure.task):
            self._dispatcher.main_ended(at, failure.task.get_name())

    def _has_ended_main(self, failure: Failure) -> bool:
        """Whether main has failed with it: itself, or because it has awaited the task that did."""
        main = self._tasks.main
        if main is None or failure.task is main:
            return main is not None
        return main.done() and not main.cancelled() and main.exception() is failure.exception

    async def _ask(self, failure: Failure, at: float) -> tuple[bool, list[BaseException]]:
        """Whether a hook dealt with it, and what the hooks raised; all of them within half of a grace from `at` on."""
        dealt_with = False
        raised: list[BaseException] = []
        loop = asyncio.get_running_loop()
        limit = self._deadline.fix(self._deadline.half_of_grace(at))
        asked = [hook for hook in self._hooks if isinstance(failure.exception, hook.types)]
        for behind, hook in zip(reversed(range(len(asked))), asked, strict=True):
            run = HookRun(
                hook,
                "on_exception",
                self._deadline,
                behind,
                offered=(failure,) if hook.arity == 1 else (loop, {**failure.context}),
                limit=limit,
            )
            # While the program runs, what a hook starts (perhaps the worker that failed) is to go on.
            with adopting() if self._dispatcher.stopping else contextlib.nullcontext():
                await self._supervisor.supervise(run)
            dealt_with = dealt_with or run.value is True
            raised += [] if run.error is None else [run.error]
        return dealt_with, raised
