"""
Forked children: a child must not run its parent's hooks.

Its signal handlers are reset to the default action, as `exec` would do, and whatever else a run has taken is undone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

__all__ = ["forks", "undo_in_child"]

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
