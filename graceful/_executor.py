"""
The default executor: made when it is first asked for, and emptied within a limit.

`loop.shutdown_default_executor(timeout)` keeps its timeout on 3.13 and later only, and not on uvloop. So the executor is
ours, and a daemon thread waits for it. Made by the first job and not before, because `concurrent.futures.thread` takes
a millisecond to import, and a program that has no jobs needs neither that nor the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from graceful._overlay import cover
from graceful._pace import Pace, resolve

__all__ = ["DefaultExecutor"]


class DefaultExecutor:
    """What `run_in_executor(None, ...)` uses, unless the program sets one of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ours: Executor | None = None
        self._settled = False
        self._uncover = [cover(loop, "run_in_executor", self._running)]
        if not hasattr(loop, "_default_executor"):  # uvloop does not show whether one was set; asyncio does
            self._uncover.append(cover(loop, "set_default_executor", self._setting))

    def _running(self, run_in_executor: Callable[..., Any]) -> Callable[..., Any]:
        def run(executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
            if executor is None and not self._settled and getattr(self._loop, "_default_executor", None) is None:
                self._make()
            return run_in_executor(executor, func, *args)

        return run

    def _setting(self, set_default_executor: Callable[[Any], None]) -> Callable[[Any], None]:
        def set_theirs(executor: Any) -> None:
            self._settled = True
            set_default_executor(executor)

        return set_theirs

    def _make(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here, for the millisecond

        self._ours = ThreadPoolExecutor(thread_name_prefix="asyncio")
        self._loop.set_default_executor(self._ours)

    async def shut_down(self, pace: Pace) -> bool:
        """
        Wait for the jobs, to the deadline at most. Whoever has a job after this makes an executor of asyncio's own.

        Returns:
            Whether none is left.
        """
        self._settled = True
        emptied: asyncio.Future[None] = self._loop.create_future()
        waiter = self._wait_aside(emptied)
        if not await pace.settle([emptied], lambda: pace.deadline) and self._ours is not None:
            self._ours.shutdown(wait=False, cancel_futures=True)  # those that have not begun
        if emptied.done() and waiter is not None:
            waiter.join()  # it has said so, and ends: nothing of ours is left behind
        for uncover in self._uncover:
            uncover()
        return emptied.done()

    def _wait_aside(self, emptied: asyncio.Future[None]) -> threading.Thread | None:
        executor = self._ours
        if executor is None:
            resolve(emptied, None)
            return None

        def wait() -> None:
            executor.shutdown(wait=True)
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(resolve, emptied, None)

        waiter = threading.Thread(target=wait, name="graceful executor", daemon=True)
        waiter.start()
        return waiter
