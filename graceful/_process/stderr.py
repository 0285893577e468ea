"""Writing to stderr past every buffer and lock, for messages that must arrive while something is stuck."""

from __future__ import annotations

import contextlib
import os
import select
import sys

__all__ = ["write_stderr"]

#: Seconds to wait for a reader of stderr that does not read.
_PATIENCE = 0.3


def write_stderr(text: str) -> None:
    """
    Write to descriptor 2. What holds a buffer's lock may be what is stuck, and so may whatever reads the pipe.

    What cannot be written within 0.3 s is dropped. Nothing is raised.
    """
    if sys.__stderr__ is None:
        return  # started without one: descriptor 2 may be anything by now
    left = text.encode(errors="backslashreplace")
    with contextlib.suppress(OSError, ValueError):
        # A pipe that can be written takes PIPE_BUF bytes at least, which is 512 or more (POSIX, limits.h).
        while left and select.select([], [2], [], _PATIENCE)[1]:
            left = left[os.write(2, left[:512]) :]
