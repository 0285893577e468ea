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

    Attributes:
        function: The function.
        owner: What started it, if that is something acquired: then it is in use until that is released.
        source: The executor's future.
        waited: Done when it has ended.
    """

    def __init__(
        self, function: Callable[..., Any], owner: Owner | None, source: Future[Any], waited: asyncio.Future[None]
    ) -> None:
        self.function = function
        self.owner = owner
        self.source = source
        self.waited = waited

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
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_failed: Callable[[str, BaseException], None]) -> None:
        self._loop = loop
        self._on_failed = on_failed
        self._jobs: set[Job] = set()

    def submit(
        self,
        run_in_executor: Callable[..., asyncio.Future[Any]],
        executor: Executor,
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Call the loop's `run_in_executor`, and know the job from now on."""
        catch = _Catch(executor)
        future = run_in_executor(catch, func, *args)
        if catch.future is not None:
            job = Job(_inner(func), current_owner(), catch.future, self._loop.create_future())
            self._jobs.add(job)
            catch.future.add_done_callback(functools.partial(self._ended, job, future))
        return future

    async def wait_ended(self, waiting: Waiting, until: Callable[[], float]) -> list[Job]:
        """Cancel the jobs that have not begun, and wait for those under way; returns those that did not end."""
        for job in [*self._jobs]:
            if job.owner is None or not job.owner.in_use:
                job.source.cancel()
        left = self.running()
        if left:
            await waiting.wait_done([job.waited for job in left], until)
        return [job for job in left if not job.waited.done()]

    def running(self) -> list[Job]:
        """Those that have not ended, and belong to nothing in use."""
        return [job for job in self._jobs if job.owner is None or not job.owner.in_use]

    def _ended(self, job: Job, future: asyncio.Future[Any], source: Future[Any]) -> None:
        """In the thread that ran it."""
        error = None if source.cancelled() else source.exception()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._forget, job, future, error)

    def _forget(self, job: Job, future: asyncio.Future[Any], error: BaseException | None) -> None:
        self._jobs.discard(job)
        resolve(job.waited, None)
        if error is not None and future.cancelled():
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
