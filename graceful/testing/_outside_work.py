"""
Which threads and child processes work: while one does, virtual time passes as it does outside.

A thread may live as long as the program and wait for something to do, as that of aiosqlite does; another one may sleep for a
second and then report. The difference is what it waits for: a lock without a time limit, which is what a queue waits for, is
released by other code. Linux tells which system call a thread is in. Elsewhere a daemon does not count.
"""

from __future__ import annotations

import math
import os
import platform
import threading
from collections.abc import Callable
from concurrent.futures import thread as pool
from typing import Any

from graceful._core import clock
from graceful._loop.executor import EXECUTOR_THREAD

__all__ = ["LOOK", "OutsideWork"]

#: Seconds of real time between two looks at whether a thread or a child process still works; and for which a thread counts
#: as working after its job, because its result is still on the way.
LOOK = 0.02


class OutsideWork:
    """
    Threads and child processes that work now.

    Attributes:
        thread: The identifier of the simulation's own thread.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._before = {*threading.enumerate()}
        self._count_before = threading.active_count()
        self._jobs: set[object] = set()
        self._ended_at = -math.inf
        self._children: list[Any] = []

    def job(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which is work as long as it runs."""
        job = object()
        self._jobs.add(job)

        def run(*args: Any) -> Any:
            try:
                return func(*args)
            finally:
                self._ended_at = clock.real()
                self._jobs.discard(job)

        return run

    def child(self, connected: tuple[Any, Any]) -> tuple[Any, Any]:
        """A child process, by its transport and protocol, which are returned."""
        self._children.append(connected[0])
        return connected

    def children_left(self) -> list[int]:
        """The child processes that still run; those that have ended are not reaped."""
        pids = [child.get_pid() for child in self._children if child.get_returncode() is None]
        return [pid for pid in pids if not _has_ended(pid)]

    def going_on(self) -> bool:
        """Whether anything works, or has just ended."""
        if self._children:
            self._children = [child for child in self._children if child.get_returncode() is None]
        if self._jobs or self._children or clock.real() - self._ended_at < LOOK:
            return True
        return threading.active_count() != self._count_before and any(map(self._works, threading.enumerate()))

    def _works(self, thread: threading.Thread) -> bool:
        """Workers of executors do not count, since their jobs are known, but the thread does that waits for these."""
        if thread in self._before or thread in getattr(pool, "_threads_queues", ()):
            return False
        idle = _waits_for_lock(thread.native_id)
        return thread.name == EXECUTOR_THREAD or not (thread.daemon if idle is None else idle)


#: The number of the system call futex(2).
_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())


def _waits_for_lock(native_id: int | None) -> bool | None:
    """
    Whether a thread waits for a lock, or an item of a queue, without a time limit, so that something must wake it first.

    Returns:
        `None` where the system does not tell; see proc_pid_syscall(5).
    """
    if _FUTEX is None:
        return None
    try:
        with open(f"/proc/self/task/{native_id}/syscall", encoding="ascii") as file:
            call = file.read().split()
    except OSError:
        return None
    return len(call) > 4 and call[0] == _FUTEX and int(call[4], 16) == 0  # else it runs, sleeps, or waits for the GIL


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
