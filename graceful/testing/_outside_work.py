"""
Which threads and child processes work: while one does, virtual time passes as it does outside.

A thread may live as long as the program and wait for something to do, as that of aiosqlite does; another one may sleep for a
second and then report. The difference is what it waits for: a lock without a time limit, which is what a queue waits for, is
released by other code. Linux tells which system call a thread is in. Elsewhere a daemon does not count.

What worked before the simulation is not its business, but a pool that was idle then may get its jobs from the program.

Of child processes, those count that the loop has started. Others may live as long as this process, as the helpers of
`multiprocessing` do, and nothing tells one that is waited for from one that is not.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from concurrent.futures import thread as pool
from typing import Any

from graceful._core import clock
from graceful._core.frames import THREAD_PREFIX
from graceful._loop.executor import EXECUTOR_THREAD

__all__ = ["LOOK", "OutsideWork"]

#: Seconds of real time between two looks at whether a thread or a child process still works; and for which a thread counts
#: as working after its job, because its result is still on the way.
LOOK = 0.02

#: How many looks in a row must find that a thread waits for something, before it counts as one that does not end.
_LOOKS = 3


class OutsideWork:
    """
    Threads and child processes that work now.

    Attributes:
        thread: The identifier of the simulation's own thread.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._older = _older_threads()
        self._jobs: set[object] = set()
        self._ended_at = -math.inf
        self._children: list[Any] = []
        _going_on.add(self)
        if len(_going_on) > 1:
            _together.update(_going_on)

    def end(self) -> None:
        """The simulation is over."""
        _going_on.discard(self)

    def job(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which is work as long as it runs."""
        job = object()
        self._jobs.add(job)

        def run(*args: Any) -> Any:
            try:
                return func(*args)
            finally:
                self._remove(job)

        return run

    def counted(self, executor: Any) -> Any:
        """The executor, whose jobs are work from now on. They are passed on as they are: for a process they are pickled."""
        return _Counted(executor, self._add)

    def _add(self, job: Future[Any]) -> None:
        self._jobs.add(job)
        job.add_done_callback(self._remove)

    def _remove(self, job: object) -> None:
        self._ended_at = clock.real()
        self._jobs.discard(job)

    @contextlib.contextmanager
    def starting_child(self) -> Generator[None]:
        """A child process is being started; or, if that is broken off, is killed and waited for."""
        job = object()
        self._jobs.add(job)
        try:
            yield
        finally:
            self._remove(job)

    def child(self, connected: tuple[Any, Any]) -> tuple[Any, Any]:
        """A child process, by its transport and protocol, which are returned."""
        self._children.append(connected[0])
        return connected

    def children_left(self) -> list[int]:
        """The child processes that still run; those that have ended are not reaped."""
        pids = [child.get_pid() for child in self._children if child.get_returncode() is None]
        return [pid for pid in pids if not _has_ended(pid)]

    def threads_left(self) -> list[str]:
        """
        The threads that have come and not ended, by name. One that was told to end gets the moment that it needs for that.

        Nobody can tell whose they are while another simulation runs: then there are none.
        """
        waits_until, looks = clock.real() + 10 * LOOK, 0
        while self not in _together:
            new = [thread for thread in threading.enumerate() if thread not in self._older]
            left = [thread for thread in new if not thread.name.startswith(THREAD_PREFIX)]
            # One that waits for a lock does not end by itself; it may do so for a moment, though.
            looks = looks + 1 if all(_waits_for_lock(thread.native_id) for thread in left) else 0
            if not left or looks == _LOOKS or clock.real() > waits_until:
                return [thread.name for thread in left]
            time.sleep(LOOK / 20)
        return []

    def going_on(self) -> bool:
        """Whether anything works, or has just ended."""
        if self._children:
            self._children = [child for child in self._children if child.get_returncode() is None]
        if self._jobs or self._children or clock.real() - self._ended_at < LOOK:
            return True
        for thread, worked in self._older.items():
            if worked and not _pool_works(thread):
                self._older[thread] = False  # its next job is a new one
        return any(self._works(thread) for thread in threading.enumerate() if self._older.get(thread, False) is False)

    def _works(self, thread: threading.Thread) -> bool:
        in_pool = _pool_works(thread)
        if in_pool is not None:
            if in_pool and _pending(thread):
                self._ended_at = clock.real()  # a job is no longer pending while its result is still on the way
            return in_pool
        idle = _waits_for_lock(thread.native_id)
        return thread.name == EXECUTOR_THREAD or not (thread.daemon if idle is None else idle)


#: The simulations that run now, and those beside which another one has run.
_going_on: weakref.WeakSet[OutsideWork] = weakref.WeakSet()
_together: weakref.WeakSet[OutsideWork] = weakref.WeakSet()


class _Counted:
    """Passes on what is submitted to an executor, and tells which job came of it."""

    def __init__(self, executor: Any, on_submit: Callable[[Future[Any]], None]) -> None:
        self._executor = executor
        self._on_submit = on_submit

    def submit(self, func: Callable[..., Any], *args: Any) -> Future[Any]:
        """As that of the executor."""
        job: Future[Any] = self._executor.submit(func, *args)
        self._on_submit(job)
        return job


def _older_threads() -> dict[threading.Thread, bool | None]:
    """
    The threads that there are now; with whether a pool's works on a job of before, on which its worker may be on its way back;
    `None`: it belongs to no pool.
    """
    looks_until = clock.real() + LOOK
    while True:
        works = {thread: _pool_works(thread) for thread in threading.enumerate()}
        if True not in works.values() or clock.real() > looks_until:
            return works
        time.sleep(LOOK / 20)


def _pool_works(thread: threading.Thread) -> bool | None:
    """Whether a thread of a pool, or the processes that it manages, have something to do; `None`: it belongs to no pool."""
    if (pending := _pending(thread)) is not None:
        return bool(pending)
    if thread in getattr(pool, "_threads_queues", ()):
        return _waits_for_lock(thread.native_id) is False  # where the system does not tell, it does not count
    return None


def _pending(thread: threading.Thread) -> Mapping[Any, Any] | None:
    """The jobs that a process pool has not done, of the thread that manages its processes; `None`: it is another thread."""
    return getattr(thread, "pending_work_items", None)


#: The number of the system call futex(2).
_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())

#: The operation and the value with which glibc waits for a mutex: FUTEX_WAIT_PRIVATE, "locked, and somebody waits". The
#: interpreter's lock has one inside, so a thread that is about to run may be seen there for a moment.
_MUTEX = ["0x80", "0x2"]


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
    # else it runs, sleeps, or waits for the interpreter's lock
    return len(call) > 4 and call[0] == _FUTEX and int(call[4], 16) == 0 and call[2:4] != _MUTEX


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
