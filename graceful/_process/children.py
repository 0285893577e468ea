"""
The child processes of `App.create_subprocess_exec`: each leads a process group of its own, and is signalled with it.

The group and not the child alone: a shell dies by SIGTERM and leaves what it runs behind. A terminal's Ctrl-C and systemd
(`KillMode=control-group`) do the same. After a signal that asks it to end, a group is sent SIGCONT, because a stopped process
does not see any other signal: one that reads from the terminal in the background is stopped (SIGTTIN).

A group may outlive its leader. Its number belongs to it as long as it has a member (the kernel gives no process that pid), but
once it is empty another process may get it. So before a group without a leader is signalled, the pid is looked for: if there
is such a process, the number was given away.

Every group is known here until it is empty, so that the forced ends (status 70, a third Ctrl-C) can kill it. Rejected:
PR_SET_PDEATHSIG, by which the kernel would kill a child even where this process dies by SIGKILL: it needs a `preexec_fn`, which
is not safe with threads, fires when the *thread* ends that has forked, and does not reach grandchildren.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from graceful._process.exit import workers
from graceful._process.fork import forks

__all__ = ["ProcessGroup", "end_with_process", "live_children", "name_of_request", "reap_strays"]

_groups: set[ProcessGroup] = set()


class ProcessGroup:
    """
    A child and what it has started.

    Args:
        name: What to call it in a message.
        pid: The child's, and the number of its group.
        send: Sends the child alone a signal: where there are no process groups.

    Attributes:
        name: The same.
        pid: The same.
    """

    def __init__(self, name: str, pid: int, send: Callable[[int], None]) -> None:
        self.name = name
        self.pid = pid
        self._send = send
        self._forks = forks()
        self._leader_ended = False
        _groups.add(self)

    @property
    def is_ours(self) -> bool:
        """Whether this process has started it, and not one that this one was forked from."""
        return self._forks == forks()

    def leader_ended(self) -> None:
        """The child has ended, and its status was collected."""
        self._leader_ended = True

    def alive(self) -> bool:
        """Whether it has a member; one that has become our own child is reaped if it has ended."""
        if not self._leader_ended:
            return True
        if self._reaped_is_empty():
            _groups.discard(self)
            return False
        return True

    if sys.platform == "win32":

        def ask(self, number: int) -> None:  # noqa: ARG002 - there is one event that a group can be sent
            """Ask it to end, by Ctrl-Break; without a console, where there is none, it is killed."""
            if not self._leader_ended:
                try:
                    self._send(signal.CTRL_BREAK_EVENT)
                except OSError:
                    self.terminate()

        def terminate(self) -> None:
            """Kill the child; what it has started lives on."""
            if not self._leader_ended:
                with contextlib.suppress(OSError):
                    self._send(signal.SIGTERM)  # TerminateProcess

        def _reaped_is_empty(self) -> bool:
            return True

    else:

        def ask(self, number: int) -> None:
            """Ask it to end, by this signal."""
            self._signal(number)
            self._signal(signal.SIGCONT)

        def terminate(self) -> None:
            """Kill it."""
            self._signal(signal.SIGKILL)

        def _reaped_is_empty(self) -> bool:
            with contextlib.suppress(ChildProcessError):
                while os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG) is not None:
                    pass
            if _exists(self.pid, os.kill):
                return True  # of another process, by now
            return not _exists(self.pid, os.killpg) or not _has_live_member(self.pid)

        def _signal(self, number: int) -> None:
            if self._leader_ended and _exists(self.pid, os.kill):
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def _exists(number: int, kill: Callable[[int, int], None]) -> bool:
    try:
        kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _has_live_member(group: int) -> bool:
    """Whether one of them has not ended: where PID 1 reaps nothing, as in many containers, a zombie stays for ever."""
    if not os.path.isdir("/proc/self"):
        return True
    found = (_stat(name) for name in os.listdir("/proc") if name.isdigit())
    return any(fields is not None and fields[2] == str(group) and fields[0] not in "ZX" for fields in found)


def name_of_request(number: int) -> str:
    """What a child is asked to end by, for a message."""
    return "Ctrl-Break" if sys.platform == "win32" else signal.Signals(number).name


def end_with_process() -> list[Any]:
    """What a forced end must not leave behind: worker processes of `multiprocessing`, and the groups that are left."""
    return [*workers(), *(group for group in [*_groups] if group.is_ours and group.alive())]


def live_children() -> set[int]:
    """The pids of this process's children that have not ended; empty where the system does not tell (only Linux does)."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            os.waitid(
                os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT
            )  # quick to raise ChildProcessError: there is none
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as listed:
                found.update(int(pid) for pid in listed.read().split())
    return {pid for pid in found if (fields := _stat(pid)) is not None and fields[0] != "Z"}


def reap_strays() -> None:
    """
    As PID 1: reap those that were orphaned, became our children, and have ended. Nobody else will.

    Never one that the program itself waits for, which would lose its exit status. The kernel does not tell a child that was
    adopted from one that was forked, but the process group does: a child that is forked is in the group of its parent, or leads
    one of its own. So what is in a third one was adopted. An orphan in the app's own group, or one that leads a group and
    has no parent any more, cannot be told from a child that somebody will wait for, and is left alone.

    Rejected: `waitpid(-1)` (steals the status of children that asyncio, subprocess and multiprocessing wait for), a handler of
    SIGCHLD (libuv has it, and asyncio had), `waitid(P_ALL, WNOWAIT)` alone (shows the first that has ended and never those
    behind it, if that one is somebody's), and a process of ours in between, as `docker --init` has (the app would have another
    pid than the one that it was started with). With WNOWAIT it is asked first, because that is one system call.
    """
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
    except ChildProcessError:
        return
    own, group = str(os.getpid()), str(os.getpgrp())
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        fields = _stat(name) if name.isdigit() else None
        if fields is None or fields[:2] != ["Z", own] or fields[2] in (group, name):
            continue
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, int(name), os.WEXITED | os.WNOHANG)


def _stat(pid: object) -> list[str] | None:
    """Of proc_pid_stat(5) from the third field on: the state, the parent, the process group; `None`: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return None
