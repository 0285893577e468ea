"""
The default executor: created when it is first asked for, and emptied within a limit.

`loop.shutdown_default_executor(timeout)` keeps its timeout on 3.13 and later only, and not on uvloop. So the executor is
ours, and a daemon thread waits for it. It is created by the first job and not before, because `concurrent.futures.thread`
takes a millisecond to import, and a program without jobs needs neither that nor the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from graceful._core.asyncio_private import default_executor, shows_default_executor
from graceful._core.deadline import Deadline
from graceful._loop.jobs import ExecutorJobs
from graceful._loop.patch import patch_method
from graceful._loop.waiting import Waiting, resolve

__all__ = ["EXECUTOR_THREAD", "DefaultExecutor"]

#: What the thread is called that waits until the jobs have ended.
EXECUTOR_THREAD = "graceful executor"


class DefaultExecutor:
    """
    What `run_in_executor(None, ...)` uses, unless the program sets one of its own.

    Args:
        loop: The loop it belongs to.
        deadline: How long its jobs are waited for at most.
        waiting: The waits of the run.
        jobs: What is told of each job, also of those in other executors.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadline: Deadline, waiting: Waiting, jobs: ExecutorJobs
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._waiting = waiting
        self._jobs = jobs
        self._theirs: Executor | None = None
        self._ours: Executor | None = None
        self._settled = False
        self._unpatch = [patch_method(loop, "run_in_executor", self._wrap_run)]
        if not shows_default_executor(loop):
            self._unpatch.append(patch_method(loop, "set_default_executor", self._wrap_set))

    def _wrap_run(self, run_in_executor: Callable[..., Any]) -> Callable[..., Any]:
        def run(executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
            if executor is None and not self._settled and default_executor(self._loop) is None:
                self._create()
            target = executor if executor is not None else self._default()
            if target is None:
                return run_in_executor(executor, func, *args)
            return self._jobs.submit(run_in_executor, target, func, *args)

        return run

    def _wrap_set(self, set_default_executor: Callable[[Any], None]) -> Callable[[Any], None]:
        def set_theirs(executor: Any) -> None:
            self._settled, self._theirs = True, executor
            set_default_executor(executor)

        return set_theirs

    def _default(self) -> Executor | None:
        """The loop's default executor: what the program has set, as far as the loop shows it, or ours."""
        return self._theirs or default_executor(self._loop) or self._ours

    def _create(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here, to save a millisecond at the start

        self._ours = ThreadPoolExecutor(thread_name_prefix="asyncio")
        self._loop.set_default_executor(self._ours)

    async def shut_down(self) -> bool:
        """
        Wait for the jobs, up to the deadline. After this no job can be started.

        Returns:
            Whether no job is left.
        """
        self._settled = True
        emptied: asyncio.Future[None] = self._loop.create_future()
        waiter = self._wait_in_thread(emptied)
        if not await self._waiting.wait_done([emptied], lambda: self._deadline.at) and self._ours is not None:
            self._ours.shutdown(wait=False, cancel_futures=True)  # those that have not begun
        if emptied.done() and waiter is not None:
            waiter.join()  # it has said so, and is ending: nothing of ours is left behind
        for unpatch in self._unpatch:
            unpatch()
        return emptied.done()

    def _wait_in_thread(self, emptied: asyncio.Future[None]) -> threading.Thread | None:
        executor = self._ours
        if executor is None:
            resolve(emptied, None)
            return None

        def wait() -> None:
            executor.shutdown(wait=True)
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(resolve, emptied, None)

        try:
            waiter = threading.Thread(target=wait, name=EXECUTOR_THREAD, daemon=True)
        except RuntimeError:  # an isolated subinterpreter has no daemon threads
            waiter = threading.Thread(target=wait, name=EXECUTOR_THREAD)
        waiter.start()
        return waiter
