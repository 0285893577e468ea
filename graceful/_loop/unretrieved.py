"""
Failed tasks whose exception nobody retrieves: noticed after `patience` seconds, not when they are collected.

asyncio reports a failed task when it is garbage-collected, which is never while something holds it. So each task is
looked at when it is done, and if it failed, once more after `patience` seconds. By then asyncio knows whether anybody has
retrieved the exception; its own report goes by the same flag. While it waits, a task is held by nothing but a weak
reference: watching must not keep it alive. That flag is not enough for a `gather` that still runs: see `awaited`.

Most tasks die young, and a done callback costs half of what such a task does: a handle, and its way through the loop. So
a new task is first only remembered, and those that are young together are looked at together; one that still runs by
then gets its callback. A watched task costs 1.1 times a bare one instead of 1.6 times, at the price of ten wakeups a
second in a program that creates tasks, and none in an idle one.

Rejected: a subclass of Task that notes what waits (a program's own task factory makes the tasks), and the same for Future,
so that a bare future with an exception would be noticed while something holds it: it makes every await of one slower, 5 %
of an echo server's time. Such a future is reported when it is let go, as in asyncio.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

from graceful._core import clock
from graceful._core.asyncio_private import has_unretrieved_exception
from graceful._loop.awaited import AwaitedSearch
from graceful._loop.patch import patch_method

__all__ = ["UnretrievedExceptions"]

Future = asyncio.Future[Any]
_Reference = weakref.ref[Future]

#: Tasks that fail within so many seconds of each other are looked at together.
_TOGETHER = 0.01

#: Seconds for which a task is young, or a tenth of the patience where that is less.
_YOUTH = 0.1

#: How many tasks are young at most; half of them stop being so when there are more.
_CROWD = 1000

#: Seconds at least before a task is looked at once more, where nothing says when it will be retrieved.
_AGAIN = 0.1

#: Iterations of the loop that are given to tasks that were woken meanwhile: the time may have passed in one long stall.
_PASSES = 10


class UnretrievedExceptions:
    """
    Watches every task that is created and every executor job, from its creation to `detach`, and reports to the loop's
    exception handler.

    Args:
        loop: The loop.
        patience: Seconds that a failed task may wait for somebody to retrieve its exception.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._loop = loop
        self._patience = patience
        self._failed: deque[tuple[float, _Reference]] = deque()
        self._early: weakref.WeakSet[Future] = weakref.WeakSet()
        self._shutting_down = False
        self._detached = False
        self._due: list[_Reference] = []
        self._search = AwaitedSearch()
        self._judge_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._young: deque[_Reference] = deque()
        self._room = 0
        self._youth_timer: asyncio.TimerHandle | None = None
        self._skipped: object = None
        # Made once: a bound method and a copy of the context for each task would be 64 bytes for each.
        self._on_done = self._ended
        self._context = Context()
        self._unpatch = [
            patch_method(loop, "create_task", self._wrap_create_task),
            patch_method(loop, "run_in_executor", self._wrap_run_in_executor),
        ]

    def detach(self, *, loop_ends: bool) -> None:
        """Watch no more. `loop_ends`: nobody can retrieve anything later, so what is unretrieved is reported now."""
        for unpatch in self._unpatch:
            unpatch()
        self._grow_up(len(self._young))
        for timer in (self._timer, self._youth_timer, self._judge_timer):
            if timer is not None:
                timer.cancel()
        for reference in [*self._due, *(reference for _, reference in self._failed)]:
            if loop_ends and (task := reference()) is not None:
                self._report(task)
        self._due.clear()
        self._failed.clear()
        self._detached, self._room = True, 0

    def shutdown_begins(self) -> None:
        """From now on what fails has failed during the shutdown; see `failed_before_shutdown`. Again: no effect."""
        if not self._shutting_down:
            self._grow_up(len(self._young))  # those that have failed by now
            self._shutting_down = True

    def failed_before_shutdown(self, task: Future) -> bool:
        """Whether a failed task had failed by the time the shutdown began, as far as that is known."""
        return task in self._early

    def skip(self, coro: object) -> None:
        """The task that is created next, with this coroutine, is supervised and need not be watched."""
        self._skipped = coro

    def unwatch(self, tasks: Iterable[Future]) -> None:
        """For a caller of `look_at`, once they have ended: a callback costs more than the cancellation of a task."""
        for task in tasks:
            task.remove_done_callback(self._on_done)

    def look_at(self, tasks: Iterable[Future]) -> None:
        """Look at tasks that are no longer watched; one that has not ended has not failed."""
        for task in tasks:
            self._ended(task)

    def watch_again(self, task: Future) -> None:
        """Watch a task that is no longer watched, and has not ended."""
        if not self._detached:
            task.add_done_callback(self._on_done, context=self._context)

    # --- created ---------------------------------------------------------------------------------------------------

    def _wrap_create_task(self, create_task: Callable[..., Future]) -> Callable[..., Future]:
        young = self._young
        reference: Callable[[Future], _Reference] = weakref.ref

        def create_watched(coro: Any, **options: Any) -> Future:
            task = create_task(coro, **options) if options else create_task(coro)  # a fifth of what this costs
            if coro is self._skipped:
                self._skipped = None
                return task
            try:
                young.append(reference(task))
            except TypeError:  # made by a factory, of a class with __slots__
                self.watch_again(task)
            if len(young) > self._room:
                self._make_room()
            return task

        return create_watched

    def _wrap_run_in_executor(self, run_in_executor: Callable[..., Future]) -> Callable[..., Future]:
        def run_watched(*args: Any, **named: Any) -> Future:
            job = run_in_executor(*args, **named)
            self.watch_again(job)
            return job

        return run_watched

    def _make_room(self) -> None:
        """The first young task starts the timer; one too many sends the oldest on early."""
        if self._detached:  # somebody has patched over our method, which is therefore still called
            self._young.clear()
        elif self._youth_timer is None:
            self._room = _CROWD
            self._youth_timer = self._later(min(_YOUTH, self._patience / 10), self._end_youth)
        else:
            self._grow_up(_CROWD // 2)

    def _end_youth(self) -> None:
        self._youth_timer, self._room = None, 0
        self._grow_up(len(self._young))

    def _grow_up(self, count: int) -> None:
        for _ in range(count):
            task = self._young.popleft()()
            if task is None:
                continue
            if task.done():
                self._ended(task)
            else:
                self.watch_again(task)

    # --- done ------------------------------------------------------------------------------------------------------

    def _ended(self, task: Future) -> None:
        """The task is done; if it failed, it is looked at again after a time."""
        if not self._detached and has_unretrieved_exception(task):
            if not self._shutting_down:
                self._early.add(task)
            self._failed.append((clock.now() + self._patience, weakref.ref(task)))
            if self._timer is None:
                self._timer = self._later(self._patience, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        now = clock.now() + _TOGETHER
        while self._failed and self._failed[0][0] <= now:
            self._due.append(self._failed.popleft()[1])
        if self._failed:
            self._timer = self._later(self._failed[0][0] - clock.now(), self._look_again)
        self._give_way(_PASSES)

    def _give_way(self, passes: int) -> None:
        if passes:
            self._loop.call_soon(self._give_way, passes - 1, context=self._context)
        else:
            self._judge()

    def _judge(self) -> None:
        if pause := self._search.pause():
            self._judge_later(pause)
            return
        due = [task for reference in self._due if (task := reference()) is not None and has_unretrieved_exception(task)]
        self._due.clear()
        if not due:
            return
        awaited, unknown, pause = self._search.look(due)
        for task in due:
            if task in awaited:
                self._wait_for(awaited[task], weakref.ref(task))
            elif task in unknown:
                self._due.append(weakref.ref(task))
            else:
                self._report(task)
        if unknown:
            self._judge_later(pause)

    def _judge_later(self, pause: float) -> None:
        """Those that are due are looked for when the search may cost something again."""
        if self._judge_timer is None:
            self._judge_timer = self._later(pause, self._judge_now)

    def _judge_now(self) -> None:
        self._judge_timer = None
        self._judge()

    def _report(self, task: Future) -> None:
        if has_unretrieved_exception(task):  # still: reporting another one may have retrieved it
            message = f"nobody retrieved its exception within {self._patience:g} s"
            # `exception()` retrieves it, so that asyncio does not report it again.
            self._loop.call_exception_handler({"message": message, "exception": task.exception(), "future": task})

    def _wait_for(self, until: Future | None, reference: _Reference) -> None:
        def once_more(_: object) -> None:
            if (task := reference()) is not None:
                self._ended(task)

        if until is None:
            self._later(max(0.0, _AGAIN - self._patience), once_more, None)
        else:
            until.add_done_callback(once_more, context=self._context)

    def _later(self, delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """In a context of ours: the context of whatever created a task is not ours to keep alive."""
        return self._loop.call_later(delay, callback, *args, context=self._context)
