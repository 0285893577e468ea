"""
Patience: failed tasks that nobody has looked at yet.

asyncio reports a failed task when it is garbage collected, which is never while somebody holds it. So each task is
looked at when it is done, and if it failed, once more after a time. `Task._log_traceback` says whether anybody has
retrieved the exception by then; it is what asyncio's own report goes by. While it waits, a task is held by nothing but
a weak reference: watching must not keep it alive.

That one fact is not enough. `gather(return_exceptions=True)`, `asyncio.wait` and `as_completed` look at what failed
early only when the last is done, or its turn has come, and no attribute of the task says that they will. So before the
alarm is given, those that are under way are looked for, among all objects the garbage collector knows. That takes some
milliseconds in a program of some size, and is done only when there is something to give alarm about.

Most tasks die young, and a done callback costs half of what such a task does: a handle, and its way through the loop. So
a new task is first only remembered, and those that are young together are looked at together; the one that still runs
by then gets its callback. That takes a third of the time, and at most ten wakeups a second in a program that is not idle.

Rejected: a subclass of Task that takes note of who waits (a program's own task factory makes the tasks), and the same
for Future, so that a bare future with an exception would be noticed while somebody holds it: it makes every await of
one slower, 5 % of an echo server's time. Such a future is reported when it is let go, as asyncio does.
"""

from __future__ import annotations

import asyncio
import gc
import types
import weakref
from asyncio import tasks
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from typing import Any

from graceful._overlay import cover

__all__ = ["Patience"]

Future = asyncio.Future[Any]
_Reference = weakref.ref[Future]

#: Those that fail within so many seconds of each other are looked at together.
_TOGETHER = 0.01

#: Seconds for which a task is young, or a tenth of the patience where that is less.
_YOUTH = 0.1

#: How many are young at most; half of them stop being so when there are more.
_CROWD = 1000

#: Seconds at least after which one is looked at once more of which nothing says when somebody will.
_AGAIN = 0.1

#: Turns of the loop that are given to those who were woken meanwhile: the time may have passed in one long stall.
_PASSES = 10


class Patience:
    """
    Watches what is created in a loop, from `attach` to `detach`, and reports to its exception handler.

    Args:
        seconds: How long a failed task may wait for somebody to retrieve its exception.

    Attributes:
        spared: A coroutine whose task is not to be watched, because it is supervised: set while that is created.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._failed: deque[tuple[float, _Reference]] = deque()
        self._due: list[_Reference] = []
        self._timer: asyncio.TimerHandle | None = None
        self._uncover: list[Callable[[], None]] = []
        self._young: deque[_Reference] = deque()
        self._room = 0
        self._youth: asyncio.TimerHandle | None = None
        self.spared: object = None
        # Once: a bound method and a copy of the context for each task would be 64 bytes for each.
        self._on_done = self.ended
        self._context = Context()

    def attach(self) -> None:
        """Watch every task that is created from now on, and every job that is given to an executor."""
        self._uncover.append(cover(self._loop, "create_task", self._watching))
        self._uncover.append(cover(self._loop, "run_in_executor", self._watching_jobs))

    def detach(self, *, over: bool) -> None:
        """End it. `over`: the loop ends, too, and who has not come by now will not come any more."""
        for uncover in self._uncover:
            uncover()
        self._grow_up(len(self._young))
        for timer in (self._timer, self._youth):
            if timer is not None:
                timer.cancel()
        for reference in [*self._due, *(reference for _, reference in self._failed)]:
            if over and (task := reference()) is not None:
                self._report(task)
        self._due.clear()
        self._failed.clear()

    def _watching(self, create_task: Callable[..., Future]) -> Callable[..., Future]:
        young = self._young
        reference: Callable[[Future], _Reference] = weakref.ref

        def create_watched(coro: Any, **options: Any) -> Future:
            task = create_task(coro, **options) if options else create_task(coro)  # a fifth of what this costs
            if coro is self.spared:
                self.spared = None
            else:
                try:
                    young.append(reference(task))
                except TypeError:  # made by a factory, of a class with __slots__
                    task.add_done_callback(self._on_done, context=self._context)
                if len(young) > self._room:
                    self._make_room()
            return task

        return create_watched

    def _later(self, delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """In a context of ours: that of whoever created a task is not ours to keep alive."""
        return self._loop.call_later(delay, callback, *args, context=self._context)

    def _make_room(self) -> None:
        """The first young one: it has its time from now on. Or one too many."""
        if self._youth is None:
            self._room = _CROWD
            self._youth = self._later(min(_YOUTH, self._seconds / 10), self._end_youth)
        else:
            self._grow_up(_CROWD // 2)

    def _end_youth(self) -> None:
        self._youth, self._room = None, 0
        self._grow_up(len(self._young))

    def _grow_up(self, count: int) -> None:
        for _ in range(count):
            task = self._young.popleft()()
            if task is None:
                continue
            if task.done():
                self.ended(task)
            else:
                task.add_done_callback(self._on_done, context=self._context)

    def _watching_jobs(self, run_in_executor: Callable[..., Future]) -> Callable[..., Future]:
        def run_watched(*args: Any, **named: Any) -> Future:
            job = run_in_executor(*args, **named)
            job.add_done_callback(self._on_done, context=self._context)
            return job

        return run_watched

    def unwatch(self, tasks: Iterable[Future]) -> None:
        """For who calls `look_at` himself, once they have ended: a callback costs more than the cancellation of a task."""
        for task in tasks:
            task.remove_done_callback(self._on_done)

    def look_at(self, tasks: Iterable[Future]) -> None:
        """At those which were let go; who has not ended has not failed."""
        for task in tasks:
            self.ended(task)

    def watch_again(self, task: Future) -> None:
        """It was let go, and has not ended."""
        task.add_done_callback(self._on_done, context=self._context)

    def ended(self, task: Future) -> None:
        """The task is done; if it failed, it is looked at again after a time."""
        # `_is_unretrieved`, without the call: this runs for each task there is.
        if getattr(task, "_log_traceback", False):
            self._failed.append((self._loop.time() + self._seconds, weakref.ref(task)))
            if self._timer is None:
                self._timer = self._later(self._seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        now = self._loop.time() + _TOGETHER
        while self._failed and self._failed[0][0] <= now:
            self._due.append(self._failed.popleft()[1])
        if self._failed:
            self._timer = self._later(self._failed[0][0] - self._loop.time(), self._look_again)
        self._give_way(_PASSES)

    def _give_way(self, passes: int) -> None:
        if passes:
            self._loop.call_soon(self._give_way, passes - 1, context=self._context)
        else:
            self._judge()

    def _judge(self) -> None:
        due = [task for reference in self._due if (task := reference()) is not None and _is_unretrieved(task)]
        self._due.clear()
        waiting = _waiting_for(due) if due else {}
        for task in due:
            if task in waiting:
                self._wait_for(waiting[task], weakref.ref(task))
            else:
                self._report(task)

    def _report(self, task: Future) -> None:
        if _is_unretrieved(task):  # still: what was told of another may have led here
            message = f"nobody retrieved its exception within {self._seconds:g} s"
            # Retrieved by that, so that nobody reports it again.
            self._loop.call_exception_handler({"message": message, "exception": task.exception(), "future": task})

    def _wait_for(self, until: Future | None, reference: _Reference) -> None:
        def once_more(_: object) -> None:
            if (task := reference()) is not None:
                self.ended(task)

        if until is None:
            self._later(max(0.0, _AGAIN - self._seconds), once_more, None)
        else:
            until.add_done_callback(once_more, context=self._context)


def _is_unretrieved(task: Future) -> bool:
    return bool(getattr(task, "_log_traceback", False))


def _waiting_for(failed: Iterable[Future]) -> dict[Future, Future | None]:
    """Those that somebody is going to look at, each with what is done when he has; `None`: nothing says when."""
    wanted = {*failed}
    return {task: until for tasks, until in _under_way() for task in wanted.intersection(tasks)}


def _under_way() -> Iterator[tuple[Iterable[Future], Future | None]]:
    """Each `gather`, `asyncio.wait` and queue (`as_completed` has one inside), with the futures in it."""
    objects: list[Any] = gc.get_objects()
    for kind, each in zip(map(type, objects), objects, strict=True):  # not `__class__`: a proxy may answer anything
        if kind is _GATHER:
            if not each.done():
                yield each._children, each
        elif kind is types.CoroutineType:
            if each.cr_code is _WAIT and each.cr_frame is not None:
                yield _waited_for(each)
        elif kind is asyncio.Queue:
            # Not `isinstance`, for the same reason.
            yield (future for future in each._queue if issubclass(type(future), asyncio.Future)), None
    if gc.get_freeze_count():
        yield from _under_way_in_tasks()


def _under_way_in_tasks() -> Iterator[tuple[Iterable[Future], Future | None]]:
    """Those that a task awaits right now: what was frozen (`gc.freeze`), the collector does not show."""
    for task in asyncio.all_tasks():
        yield from map(_waited_for, _awaited(task._coro))  # type: ignore[attr-defined]
        for gather in _gathers(task._fut_waiter):  # type: ignore[attr-defined]
            yield gather._children, gather


def _gathers(future: Any) -> Iterator[Any]:
    """It, if it is a `gather` that is under way, and those in it."""
    if hasattr(future, "_children") and not future.done():
        yield future
        for child in future._children:
            yield from _gathers(child)


def _awaited(coro: Any) -> Iterator[Any]:
    """A coroutine, and what it awaits, each `asyncio.wait` among them."""
    while coro is not None:
        if getattr(coro, "cr_code", None) is _WAIT:
            yield coro
        coro = getattr(coro, "cr_await", None)


def _waited_for(wait: Any) -> tuple[Iterable[Future], Future | None]:
    """The futures that this call of `asyncio.wait` waits for, and what wakes it."""
    names = wait.cr_frame.f_locals
    return names["fs"], names.get("waiter")


# The names are private, and the tests have each of them fail on a Python where it is gone.
_GATHER: type[Future] = tasks._GatheringFuture  # type: ignore[attr-defined]
_WAIT: types.CodeType = tasks._wait.__code__  # type: ignore[attr-defined]
