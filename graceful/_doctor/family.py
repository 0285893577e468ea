"""
A program and everything it has started, also the children that have lost their parent.

How to find a child whose parent has ended? It is no longer below the program, because it has a new parent. Its process
group and its session do not help, because it can leave both, as daemons do. A variable in its environment does not help
either, because nginx overwrites that memory with its title. So the doctor becomes a "child subreaper" (prctl(2)), which
is the new parent of all such children. What is below the doctor, and was not there before the program, is the program's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator

from graceful._core.clock import now
from graceful._doctor.processes import Process, all_processes

__all__ = ["Family", "adopting", "wait_until"]

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
#: Seconds between two looks at /proc.
LOOK = 0.01
#: Seconds to wait for the end of what was sent SIGKILL: a process that waits for a broken disk does not end.
KILLED = 5.0


@contextlib.contextmanager
def adopting() -> Generator[None]:
    """
    Be the parent of every descendant that has lost its own, for the duration of a block; at its end none is left.

    An interrupt may come at any point, also between the start of a process and the note that it has to be ended.

    Raises:
        OSError: The kernel refuses.
    """
    before = ctypes.c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.addressof(before))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    family = Family()
    try:
        yield
    finally:
        family.kill()
        _prctl(PR_SET_CHILD_SUBREAPER, before.value)


def _prctl(option: int, argument: int) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until `condition()` is true, at most so many seconds; returns whether it is."""
    deadline = now() + timeout
    while not condition():
        if now() >= deadline:
            return False
        time.sleep(LOOK)
    return True


class Family:
    """What was started since this object was made. To be used inside `adopting()` only."""

    def __init__(self) -> None:
        self._others = {process.pid for process in all_processes() if process.parent == os.getpid()}

    def leave_out(self, pid: int) -> None:
        """Do not count this child and what it starts: they are the doctor's own."""
        self._others.add(pid)

    def members(self) -> list[Process]:
        """All processes of it that have not ended, parents before their children."""
        return [process for process in self._descendants() if process.state not in "ZX"]

    def kill(self, program: subprocess.Popen[bytes] | None = None) -> None:
        """
        Kill all of it, including the program, and wait until it is gone.

        What runs as another user may not be killed, and is left.
        """
        spared: set[int] = set()

        def kill(send: Callable[[int, int], None], pid: int) -> None:
            try:
                send(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                spared.add(pid)

        def gone() -> bool:
            if program is not None and program.poll() is None:
                # Without /proc nothing is known of its children, but most are in its group.
                kill(os.killpg, program.pid)
            for member in self.members():
                kill(os.kill, member.pid)
            has_ended = program is None or program.poll() is not None or program.pid in spared
            return has_ended and {member.pid for member in self.members()} <= spared

        wait_until(gone, KILLED)
        self._reap()

    def _reap(self) -> None:
        """Wait for the children that the kernel gave to the doctor and that have ended. `Popen` waits for the program itself."""
        for child in self._descendants():
            if child.state == "Z" and child.parent == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)

    def _descendants(self) -> list[Process]:
        processes = all_processes()
        parents, found = {os.getpid()}, list[Process]()
        while born := [each for each in processes if each.parent in parents and each.pid not in self._others]:
            found += born
            parents = {each.pid for each in born}
        return found
