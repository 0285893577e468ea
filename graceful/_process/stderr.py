"""Writing to stderr past every buffer and lock, for messages that must arrive while something is stuck."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading

__all__ = ["stderr_is_journal", "write_stderr"]

#: The level of syslog(3) for what is said as the process is ended by force.
CRITICAL = 2

#: Seconds to wait for a reader of stderr that does not read.
_PATIENCE = 0.3


def stderr_is_journal() -> bool:
    """Whether descriptor 2 leads to the journal of systemd: see `JOURNAL_STREAM` in systemd.exec(5)."""
    with contextlib.suppress(OSError):
        stderr = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"
    return False


def write_stderr(text: str, priority: int = CRITICAL) -> None:
    """
    Write to descriptor 2. What holds a buffer's lock may be what is stuck, and so may whatever reads the pipe.

    What cannot be written within 0.3 s is dropped. Nothing is raised.

    Args:
        text: Lines.
        priority: What the journal shows them as, if they go there: a level of syslog(3); see sd-daemon(3).
    """
    if sys.__stderr__ is None:
        return  # started without one: descriptor 2 may be anything by now
    if stderr_is_journal():
        text = "".join(f"<{priority}>{line}" for line in text.splitlines(keepends=True))
    left = text.encode(errors="backslashreplace")
    if sys.platform == "win32":
        _write_in_thread(left)
        return
    with contextlib.suppress(OSError, ValueError):
        # A pipe that can be written takes PIPE_BUF bytes at least, which is 512 or more (POSIX, limits.h).
        while left and select.select([], [2], [], _PATIENCE)[1]:
            left = left[os.write(2, left[:512]) :]


def _write_in_thread(text: bytes) -> None:
    """Where `select` takes nothing but sockets."""

    def write() -> None:
        with contextlib.suppress(OSError, ValueError):
            os.write(2, text)

    thread = threading.Thread(target=write, daemon=True)
    with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
        thread.start()
        thread.join(_PATIENCE)
