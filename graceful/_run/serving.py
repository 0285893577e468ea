"""Serving: background tasks and main, until the program is told to stop."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

from graceful._core import clock
from graceful._hooks.hook import Hook
from graceful._loop.tasks import SupervisedTasks
from graceful._observe.log import log
from graceful._run.dispatcher import Dispatcher
from graceful._run.exception_hooks import ExceptionHooks
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures
from graceful._run.signal_hooks import SignalHooks

__all__ = ["Serving"]


class Serving:
    """
    Args:
        backgrounds: The `background` hooks.
        tasks: Starts them.
        dispatcher: Says whether the program is told to stop, and is told that main has ended.
        failures: Those that are known.
        intake: Where failures arrive.
        exception_hooks: Are asked about each.
        signal_hooks: Are started for each signal.

    Attributes:
        result: What main returned.
        finished: Whether main ended by itself.
    """

    def __init__(
        self,
        backgrounds: list[Hook],
        tasks: SupervisedTasks,
        dispatcher: Dispatcher,
        failures: Failures,
        intake: FailureIntake,
        exception_hooks: ExceptionHooks,
        signal_hooks: SignalHooks,
    ) -> None:
        self.result: Any = None
        self.finished = False
        self._backgrounds = backgrounds
        self._tasks = tasks
        self._dispatcher = dispatcher
        self._failures = failures
        self._intake = intake
        self._exception_hooks = exception_hooks
        self._signal_hooks = signal_hooks
        self._news = asyncio.Event()
        self._ended: list[Hook] = []

    async def run(self, start_main: Callable[[], None]) -> None:
        """
        Start what there is to do, and handle failures and signals until the shutdown begins.

        Args:
            start_main: Starts main; not called if the program was told to stop before.
        """
        if not self._dispatcher.stopping:
            self._start(start_main)
        self._news.set()  # there may be some from before the loop
        while not self._dispatcher.stopping:
            await self._news.wait()
            self._news.clear()
            await self._exception_hooks.handle_all()
            self._tell_ended()
            self._signal_hooks.start(self._tasks)

    def wake(self) -> None:
        """Something was posted."""
        self._news.set()

    def _start(self, start_main: Callable[[], None]) -> None:
        try:
            for hook in self._backgrounds:
                made = f"registered as a background hook at {hook.where}"
                task = self._tasks.create(hook.function(), made, hook.name, drain=hook.drain)
                if hook.essential:
                    self._tasks.make_essential(task)
                task.add_done_callback(functools.partial(self._background_ended, hook))
            start_main()
        # SystemExit of an eager task's first step leaves create_task; a task factory may raise anything.
        except BaseException as error:
            self._intake.fail(error, "a task could not be started")

    def _background_ended(self, hook: Hook, task: asyncio.Task[Any]) -> None:
        """An essential one ends the program; whether it goes on after another one is known once a failure was dealt with."""
        if self._dispatcher.stopping:
            return
        if hook.essential:
            if task.cancelling() if task.cancelled() else task.exception() is None:  # else it has failed
                self._dispatcher.main_ended(clock.now(), hook.name)
        else:
            self._ended.append(hook)
            self._news.set()

    def _tell_ended(self) -> None:
        """Say of background tasks that the program goes on without them; a warning, if nothing is left to do its work."""
        ended, self._ended = self._ended, []
        for hook in () if self._dispatcher.stopping else ended:
            level = logging.INFO if self._tasks.running() or self._tasks.main is not None else logging.WARNING
            log(level, f"background task {hook} has ended, and the program goes on", hook=hook.name)

    def main_ended(self, task: asyncio.Task[Any]) -> None:
        """Main's task is done, and with it the program."""
        error = None if task.cancelled() else task.exception()
        self._intake.end_if_forked(SystemExit(0) if error is None else error)
        if task.cancelled():
            if not self._dispatcher.stopping:
                self._intake.fail(_cancelled_error(task), "main was cancelled", {"task": task}, task)
        elif error is None:
            self.result = task.result()
            self.finished = True
            self._dispatcher.main_ended(clock.now())
        elif self._failures.is_undecided(error):
            pass  # of a task that main has awaited: when hooks have been asked, main has ended
        elif self._failures.has_seen(error):  # the same, and a hook has dealt with it
            self._dispatcher.main_ended(clock.now())
        else:
            self._failures.main_fails(error)
            self._intake.fail(error, "main failed", {"task": task}, task)


def _cancelled_error(task: asyncio.Task[Any]) -> asyncio.CancelledError:
    """The very exception that left a cancelled task, with its arguments and its traceback."""
    try:
        task.result()
    except asyncio.CancelledError as error:
        return error
    raise AssertionError("the task was not cancelled")
