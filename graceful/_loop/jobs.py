"""
Jobs in executors (`asyncio.to_thread`, `run_in_executor`): waited for before what they use is closed.

Cancelling a task that waits for a job only ends the wait: the thread goes on, and writes to a database that is closed by
then, and nobody hears of its error. So jobs are known here: those that have not begun are cancelled with the work, those
under way are waited for, and one that fails when nobody awaits it any more is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import Context
from types import CodeType, FrameType
from typing import Any

from graceful._core.frames import frame_lines
from graceful._core.places import place
from graceful._loop.ownership import Owner, current_owner
from graceful._loop.waiting import Waiting, resolve

__all__ = ["ExecutorJobs", "Job"]


class Job:
    """
    A function that an executor runs.

    Args:
        function: The function.
        waited: Done when it has ended.
        outlives: Whether the code that has started it goes on after the app.

    Attributes:
        function: The same.
        owner: What started it, if that is something acquired: then it is in use until that is released.
        waited: The same.
    """

    def __init__(self, function: Callable[..., Any], waited: asyncio.Future[None], *, outlives: bool) -> None:
        self.function = function
        self.owner = current_owner()
        self.waited = waited
        self._outlives = outlives
        self._future: asyncio.Future[Any] | None = None
        self._cancel: Callable[[], object] = lambda: False

    def started(self, future: asyncio.Future[Any], cancel: Callable[[], object]) -> None:
        """
        It may run from now on.

        Args:
            future: What the program awaits.
            cancel: Cancels it, if it has not begun.
        """
        self._future, self._cancel = future, cancel

    def cancel(self) -> None:
        """Cancel it, if it has not begun."""
        self._cancel()

    @property
    def is_awaited(self) -> bool:
        """Whether something awaits it, or could."""
        return self._future is None or not self._future.cancelled()

    @property
    def is_work(self) -> bool:
        """Whether it must end before the cleanup: it belongs to nothing in use, and to nothing that goes on."""
        in_use = self.owner is not None and self.owner.in_use
        return not in_use and not (self._outlives and self.is_awaited)

    @property
    def label(self) -> str:
        """What to call it in a message."""
        name = str(getattr(self.function, "__qualname__", self.function)).rpartition("<locals>.")[2]
        return f"job {name} ({place(self._code)})"

    @property
    def _code(self) -> CodeType | None:
        return getattr(self.function, "__code__", None)

    def stack(self) -> tuple[str, ...]:
        """Where its thread is, outermost first; empty where that cannot be told, as in another process."""
        code = self._code
        if code is None:
            return ()
        for frame in sys._current_frames().values():
            each: FrameType | None = frame
            while each is not None and each.f_code is not code:
                each = each.f_back
            if each is not None:
                lines = frame_lines(frame)
                start = next((i for i, line in enumerate(lines) if line.endswith(f" in {code.co_qualname}")), 0)
                return lines[start:]
        return ()


class ExecutorJobs:
    """
    Args:
        loop: The loop whose jobs these are.
        on_failed: Called in the loop with a job's label and its error, if nobody awaited it any more.
        on_started: Called in the code that starts a job, with what makes a future that is done when the job has ended.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_failed: Callable[[str, BaseException], None],
        on_started: Callable[[Callable[[], asyncio.Future[None]]], None],
    ) -> None:
        self._loop = loop
        self._on_failed = on_failed
        self._on_started = on_started
        self._jobs: set[Job] = set()

    def submit(
        self,
        run_in_executor: Callable[..., asyncio.Future[Any]],
        executor: Executor,
        func: Callable[..., Any],
        *args: Any,
        outlives: bool = False,
    ) -> asyncio.Future[Any]:
        """
        Call the loop's `run_in_executor`, and know the job from now on.

        `outlives`: the code that starts it goes on after the app, so it is waited for only if its future is cancelled.
        """
        catch = _Catch(executor)
        future = run_in_executor(catch, func, *args)
        if (source := catch.future) is not None:
            job = self._add(func, outlives=outlives)
            job.started(future, source.cancel)
            source.add_done_callback(lambda _: self._ended(job, None if source.cancelled() else source.exception()))
        return future

    def submit_to_default(
        self,
        run_in_executor: Callable[..., asyncio.Future[Any]],
        func: Callable[..., Any],
        *args: Any,
        outlives: bool = False,
    ) -> asyncio.Future[Any]:
        """The same for the default executor of a loop that is somebody else's, and perhaps does not show it."""
        job, lock = self._add(func, outlives=outlives), threading.Lock()
        begun = forgotten = False

        def run(*args: Any) -> Any:
            nonlocal begun
            with lock:
                begun = True
                if forgotten:  # its future was cancelled at this very moment
                    return None
            try:
                result = func(*args)
            except BaseException as error:
                self._ended(job, error)
                raise
            self._ended(job, None)
            return result

        def done(_: object) -> None:
            nonlocal forgotten
            with lock:
                forgotten = not begun
            if forgotten:
                self._forget(job, None)

        try:
            future = run_in_executor(None, run, *args)
        except BaseException:  # the executor is shut down, perhaps
            self._forget(job, None)
            raise
        job.started(future, lambda: begun or future.cancel())
        future.add_done_callback(done)
        return future

    def _add(self, func: Callable[..., Any], *, outlives: bool) -> Job:
        job = Job(_inner(func), self._loop.create_future(), outlives=outlives)
        self._jobs.add(job)
        self._on_started(functools.partial(self._end_of, job))
        return job

    def _end_of(self, job: Job) -> asyncio.Future[None]:
        """A future that is done when the job has ended; a waiter may cancel it."""
        ended: asyncio.Future[None] = self._loop.create_future()
        job.waited.add_done_callback(lambda _: resolve(ended, None))
        return ended

    def ends_of(self, owner: Owner) -> set[asyncio.Future[None]]:
        """For each job that this has started a future, done when the job has ended; one that has not begun is cancelled."""
        jobs = [job for job in self._jobs if job.owner is owner]
        for job in jobs:
            job.cancel()
        return {self._end_of(job) for job in jobs}

    async def wait_ended(self, waiting: Waiting, until: Callable[[], float]) -> list[Job]:
        """Cancel the jobs that have not begun, and wait for those under way; returns those that did not end."""
        left = self.running()
        for job in left:
            job.cancel()
        if left:
            await waiting.wait_done([job.waited for job in left], until)
        return [job for job in left if not job.waited.done()]

    def running(self) -> list[Job]:
        """Those that have not ended, and must end before the cleanup. Safe in another thread."""
        return [job for job in [*self._jobs] if job.is_work]

    def _ended(self, job: Job, error: BaseException | None) -> None:
        """In the thread that ran it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._forget, job, error)

    def _forget(self, job: Job, error: BaseException | None) -> None:
        self._jobs.discard(job)
        resolve(job.waited, None)
        if error is not None and not job.is_awaited:
            self._on_failed(job.label, error)


class _Catch(Executor):
    """Stands in for an executor for one call, to get hold of the future that the loop keeps to itself."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.future: Future[Any] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.future = self._executor.submit(fn, *args, **kwargs)
        return self.future


def _inner(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: `to_thread` passes `partial(context.run, func, ...)`."""
    while isinstance(func, functools.partial):
        of_context = isinstance(getattr(func.func, "__self__", None), Context) and func.args
        func = func.args[0] if of_context else func.func
    return func
