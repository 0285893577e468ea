"""
Failures: exceptions that nobody handled, from wherever they come; and what the `on_exception` hooks say about each.

What none of them deals with stops the program, and is raised in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from graceful._alarm import Unblocked, sift
from graceful._budget import half_of_rest
from graceful._errors import Interrupted
from graceful._exit import end_if_forked
from graceful._hook import Hook
from graceful._inbox import Inbox
from graceful._journal import Journal
from graceful._machine import Sighting
from graceful._model import Cause, Failure, Kind, Settings, note
from graceful._pace import Pace
from graceful._signals import forks
from graceful._stacks import origin, strip_our_frames
from graceful._tasks import Tasks
from graceful._turn import Turn, adopting
from graceful._turns import Turns

__all__ = ["Failures"]


class Failures:
    """
    Args:
        hooks: The `on_exception` hooks, in the order of registration.
        tasks: The supervised ones, whose failures come here.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        settings: Settings,
        pace: Pace,
        journal: Journal,
        inbox: Inbox,
        *,
        tasks: Tasks,
        turns: Turns,
    ) -> None:
        self._hooks = hooks
        self._settings = settings
        self._pace = pace
        self._journal = journal
        self._inbox = inbox
        self._tasks = tasks
        self._turns = turns
        self._since = math.inf
        self._forks = forks()
        tasks.failed = self.of_task

    # --- heard -----------------------------------------------------------------------------------------------------

    def fail(
        self,
        error: BaseException,
        message: str,
        context: dict[str, Any] | None = None,
        task: Any = None,
        *,
        came: str = "",
    ) -> None:
        """
        An exception that nobody handled. The same one is told once, however many ways lead here.

        Args:
            came: Where from, as a note for who reads its traceback.
        """
        self.end_if_forked(error)
        strip_our_frames(error)  # the last to hold a task, perhaps, which asyncio then reports at this very moment
        cause = self._inbox.cause
        if self._journal.knows(error) or (cause is not None and cause.exception is error):
            return
        ours, theirs = sift(error)
        for each in ours:
            self._turns.unblocked(each, message if task is None else self._label(task))
        if theirs is None:
            return
        error, at = theirs, time.monotonic()
        if came:
            note(error, came)
        if isinstance(error, KeyboardInterrupt):
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
            self._inbox.post(Sighting.SIGNAL, Cause(Kind.SIGNAL, at, signal=number, exception=error))
        else:
            context = {"message": message, "exception": error, **(context or {})}
            self._inbox.post(
                Sighting.FAILURE, Cause(Kind.EXCEPTION, at, exception=error), Failure(error, message, context, task, at)
            )

    def of_task(self, task: asyncio.Task[Any], made: str, error: BaseException) -> None:
        """A supervised task has failed, and so has the program."""
        self.fail(error, f"task {task.get_name()!r} failed", {"task": task}, task, came=f"in {origin(task, made)}")

    def keep(self, context: dict[str, Any]) -> None:
        """For the report only: what the loop told is no failure of the program, but of one connection of many, say."""
        error = context.get("exception")
        if error is not None:
            failure = Failure(error, str(context.get("message", "")), context, at=time.monotonic())
            self._journal.failures.append(failure)

    def _label(self, task: asyncio.Task[Any]) -> str:
        return "main" if task is self._tasks.main else self._tasks.label(task)

    def end_if_forked(self, error: BaseException) -> None:
        """A forked child that comes here fell out of its parent's work: the parent's hooks are not for it to run."""
        end_if_forked(self._forks, error)

    # --- handled ---------------------------------------------------------------------------------------------------

    async def handle_all(self) -> None:
        """Ask the `on_exception` hooks about each that they have not been asked about."""
        while self._journal.unhandled:
            await self.regardless(self._handle(self._journal.unhandled.popleft()))

    async def _handle(self, failure: Failure) -> None:
        at = self._since = min(self._since, time.monotonic())
        starting = self._inbox.cause is not None and self._inbox.cause.exception is failure.exception
        dealt_with, raised = await self._ask(failure, at)
        exits = [error for error in raised if not isinstance(error, Exception)]  # sys.exit() in a hook says how to end
        if exits or not dealt_with or starting:  # a start that failed cannot go on, whatever a hook says
            errors = [*exits, failure.exception, *(error for error in raised if isinstance(error, Exception))]
            self._journal.errors += errors
            self._inbox.post(Sighting.UNHANDLED, Cause(Kind.EXCEPTION, at, exception=errors[0]))
            return
        self._since = math.inf
        if failure.task is not None and failure.task is self._tasks.main:
            self._inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, at))

    async def _ask(self, failure: Failure, at: float) -> tuple[bool, list[BaseException]]:
        """Whether one of the hooks dealt with it, and what they raised; all of them within half of a grace from `at` on."""
        dealt_with = False
        raised: list[BaseException] = []
        loop = asyncio.get_running_loop()
        asked = [hook for hook in self._hooks if isinstance(failure.exception, hook.types)]
        for behind, hook in zip(reversed(range(len(asked))), asked, strict=True):
            turn = Turn(hook, self._pace, "on_exception", behind)
            turn.offered = (failure,) if hook.arity == 1 else (loop, {**failure.context})
            turn.limit = lambda: half_of_rest(at, at + self._settings.grace)
            # While the program runs, what a hook starts (the worker that failed, say) is to go on.
            with adopting() if self._inbox.stopping else contextlib.nullcontext():
                await self._turns.watch(turn)
            dealt_with = dealt_with or turn.value is True
            raised += [] if turn.error is None else [turn.error]
        return dealt_with, raised

    # --- in our own steps ------------------------------------------------------------------------------------------

    async def regardless(self, step: Coroutine[Any, Any, None]) -> None:
        """The last resort: whatever goes wrong in a step of our own, the next one is taken, and the error is raised."""
        try:
            await step
        except (Exception, KeyboardInterrupt, Unblocked) as error:  # Ctrl-C, where the signals are somebody else's
            self.went_wrong(error)

    def went_wrong(self, error: BaseException) -> None:
        """In a step of our own: it is raised in the end."""
        if isinstance(error, Unblocked):  # somebody's `__str__`, say, that blocks while it is told
            self._turns.unblocked(error, "what was asked for a text")
        else:
            self._journal.errors.append(error)
            self._inbox.stop()
