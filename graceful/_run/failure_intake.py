"""Where exceptions that nobody handled arrive: of main, tasks, callbacks, startups and of the package's own steps."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from graceful._core import clock
from graceful._core.errors import Interrupted
from graceful._core.frames import strip_internal_frames
from graceful._core.places import origin
from graceful._core.state import Trigger
from graceful._core.types import Cause, Failure, Kind, add_note, describe
from graceful._hooks.stuck import StuckReporter
from graceful._observe.log import log
from graceful._process.fork import end_if_forked, forks
from graceful._process.unblock import Unblocked, split_unblocked
from graceful._run.dispatcher import Dispatcher
from graceful._run.failures import Failures

__all__ = ["FailureIntake"]


class FailureIntake:
    """
    Args:
        dispatcher: What failures are posted to.
        failures: Those that are known.
        stuck: Where code that was unblocked is reported.
        label: Says what to call a task in a message.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        failures: Failures,
        stuck: StuckReporter,
        label: Callable[[asyncio.Task[Any]], str],
    ) -> None:
        self._dispatcher = dispatcher
        self._failures = failures
        self._stuck = stuck
        self._label = label
        self._forks = forks()

    def fail(
        self,
        error: BaseException,
        message: str,
        context: dict[str, Any] | None = None,
        task: Any = None,
        *,
        note: str = "",
    ) -> None:
        """
        An exception that nobody handled. The same one counts once, however many ways it arrives.

        Args:
            error: The exception.
            message: One line that says where it came from.
            context: What the loop's exception handler was called with, or would be.
            task: The task that failed; `None`: there is none.
            note: Where it came from, as a note for readers of its traceback.
        """
        self.end_if_forked(error)
        # This may let go of the last reference to a task, which asyncio then reports at this very moment.
        strip_internal_frames(error)
        cause = self._dispatcher.cause
        if self._failures.knows(error) or (cause is not None and cause.exception is error):
            return
        ours, theirs = split_unblocked(error)
        for each in ours:
            # asyncio's own words: `Exception in callback tick() at app.py:7`
            self._stuck.unblocked(each, message.removeprefix("Exception in ") if task is None else self._label(task))
        if theirs is None:
            return
        if note:
            add_note(theirs, note)
        self._post(theirs, message, context or {}, task)

    def _post(self, error: BaseException, message: str, context: dict[str, Any], task: Any) -> None:
        at = clock.now()
        if isinstance(error, KeyboardInterrupt):
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
            self._dispatcher.post_signal(Cause(Kind.SIGNAL, at, signal=number, exception=error))
        else:
            context = {"message": message, "exception": error, **context}
            failure = Failure(error, message, context, task, at)
            self._dispatcher.post(Trigger.FAILURE, Cause(Kind.EXCEPTION, at, exception=error), failure)

    def task_failed(self, task: asyncio.Task[Any], made: str, error: BaseException) -> None:
        """A supervised task has failed, and so has the program."""
        self.fail(error, f"task {task.get_name()!r} failed", {"task": task}, task, note=f"in {origin(task, made)}")

    def heard_by_loop(self, error: BaseException, context: dict[str, Any]) -> None:
        """The loop's exception handler heard of a failure of the program."""
        task = context.get("future", context.get("task"))
        message = str(context.get("message", "unhandled exception"))
        note = f"in {origin(task)}: {message}" if task is not None else message.replace("Exception in ", "in ", 1)
        self.fail(error, message, context, task, note=note)

    def raised_by_handler(self, error: BaseException) -> None:
        """A signal handler of the program has raised it while the package's own code ran."""
        self.fail(error, "raised by a signal handler")

    def job_failed(self, label: str, error: BaseException) -> None:
        """A job in an executor failed when nothing awaited it any more: it is reported, and changes no status."""
        log(logging.ERROR, f"{label} failed after its task was cancelled: {describe(error)}", error=error)
        self._failures.record_harmless(Failure(error, f"{label} failed", {}, at=clock.now()))

    def heard_harmless(self, context: dict[str, Any]) -> None:
        """The loop's exception handler heard of something that is no failure of the program."""
        error = context.get("exception")
        if error is not None:
            failure = Failure(error, str(context.get("message", "")), context, at=clock.now())
            self._failures.record_harmless(failure)

    def observer_failed(self, name: str, error: BaseException) -> None:
        """An observer has raised, and is not told any more: that is no failure of the program, but `sys.exit()` ends it."""
        ours, theirs = split_unblocked(error)
        for each in ours:
            self._stuck.unblocked(each, f"observer {name}")
        if isinstance(theirs, Exception):
            log(logging.ERROR, f"observer {name} failed, and is not called again: {describe(theirs)}", error=theirs)
            self._failures.record_harmless(Failure(theirs, f"observer {name} failed", {}, at=clock.now()))
        elif theirs is not None:
            self.fail(theirs, f"observer {name} failed")

    def end_if_forked(self, error: BaseException) -> None:
        """End a forked child that comes here: it left its parent's code, and the parent's hooks are not its to run."""
        end_if_forked(self._forks, error)

    async def guarded(self, step: Coroutine[Any, Any, None]) -> None:
        """Take a step of the package's own: whatever goes wrong in it, the next one is taken, and the error is raised."""
        try:
            await step
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # whatever a handler of the program raises: SystemExit, KeyboardInterrupt
            self.failed_inside(error)

    def failed_inside(self, error: BaseException) -> None:
        """Something went wrong in the package's own code, perhaps because a user's signal handler raised there."""
        if isinstance(error, Unblocked):  # a user's `__str__`, for example, that blocks while a message is made
            self._stuck.unblocked(error, "code that was asked for a text")
        else:
            self._failures.add_error(error)
            self._dispatcher.stop()
