"""
Forked children: a child never runs its parent's hooks.

Its signal handlers are reset to the default action, as `exec` would do, and whatever else a run has taken is undone. A child
that leaves its parent's code is ended at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from graceful._process.exit import exit_now, status_of_exit

__all__ = ["end_if_forked", "forks", "undo_in_child"]

_to_undo: set[Callable[[], None]] = set()
_forks = 0


def forks() -> int:
    """
    How often this process, or one that it descends from, was forked. If the number changes, this is another process.

    Counted, because `os.getpid` is a system call; a C library that forks without telling Python is not seen.
    """
    return _forks


def undo_in_child(undo: Callable[[], None], *, over: bool = False) -> None:
    """Call `undo` in every child that is forked from now on; `over`: no longer. Safe in a signal handler."""
    (_to_undo.discard if over else _to_undo.add)(undo)


def end_if_forked(before: int, error: BaseException | None) -> None:
    """
    End a forked child that left its parent's code, at once, as `multiprocessing` ends its own.

    The parent's hooks are not the child's to run. Nor may it close the loop, which shares its epoll descriptor with the
    parent's: to unregister the child's self-pipe there would leave the parent deaf.

    Args:
        before: What `forks()` was in the parent; if it still is, this is no child, and nothing is done.
        error: The exception that left the code; `None`: none did.
    """
    if forks() == before:
        return
    error = SystemExit(0) if error is None else error
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        exit_now(1)
    if error.code is not None and not isinstance(error.code, int):
        with contextlib.suppress(Exception):  # as Python does
            sys.stderr.write(f"{error.code}\n")
    exit_now(status_of_exit(error))


def _begin_child() -> None:
    """
    Count the fork, and reset what was taken. It may run in a thread: after a fork, that is the child's main thread.

    On 3.11 the child would also share the parent's wakeup fd, and a signal to it would run the handler in the parent.
    """
    global _forks  # noqa: PLW0603 - one number for the process
    _forks += 1
    if not _to_undo:
        return
    signal.set_wakeup_fd(-1)
    for undo in _to_undo:
        undo()
    _to_undo.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
