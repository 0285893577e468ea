"""
The bottom lines of the terminal: kept for a live view, while everything else scrolls above them.

A program that shuts down goes on printing: its own prints, logging handlers that hold the stderr of long ago, progress
bars, C code, child processes. So nothing that replaces `sys.stdout` and `sys.stderr` sees all of it (`rich.live` does
that). Instead the terminal is told to scroll only above the lines (DECSTBM, as the progress bar of apt does): whatever
anyone writes stays above. A frame is one write: save the cursor, paint, restore it. The kernel does not mix two writes to
one terminal.

Rows are made with IND, which moves down and scrolls at the bottom, and unlike a newline keeps the column: the program may
be in the middle of a line. The region is set again with each frame, so whatever clears or resets the terminal costs a
tenth of a second.

Nothing here waits: the terminal is opened once more, without blocking, because a flag on descriptor 2 would be one on
every process that shares it. If Ctrl-S has stopped it, frames are dropped.

A lock on the terminal (flock(2)) keeps two apps from painting over each other, also those of two processes, such as the
workers of a server.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import threading
from collections.abc import Generator, Sequence

from graceful._process.audit import listen_too, unlisten_too
from graceful._process.exit import at_forced_end, not_at_forced_end

if sys.platform != "win32":
    import fcntl

__all__ = ["BottomLines"]

#: What a terminal must have, in rows and columns: below this nothing is left for the program.
_FEWEST_ROWS, _FEWEST_COLUMNS = 10, 40

#: Seconds to wait for a terminal that does not take the last frame, which gives the rows back.
_PATIENCE = 0.2

_SAVE, _RESTORE, _WHOLE = "\x1b7", "\x1b8", "\x1b[r"
_ERASE_LINE, _ERASE_BELOW, _PLAIN = "\x1b[K", "\x1b[J", "\x1b[0m"


class BottomLines:
    """The terminal of stderr. Safe in a signal handler and from any thread."""

    def __init__(self) -> None:
        self._fd = -1
        self._pid = os.getpid()
        self._rows = 0
        self._size = os.terminal_size((0, 0))
        self._unsent = b""
        self._lock = threading.RLock()  # the watchdog may give the rows back while the main thread paints

    @property
    def shown(self) -> bool:
        """Whether there are lines on the terminal now."""
        return self._rows > 0

    def room(self) -> tuple[int, int]:
        """
        How many columns and rows there are for the lines: at most half of the terminal's rows.

        0 where the terminal is too small or gone, another app has it, or the process runs in the background: then
        lines that were shown are taken away.
        """
        with self._locked() as locked:
            if not locked or os.getpid() != self._pid or not (self._fd >= 0 or self._open()):
                return 0, 0
            size = self._usable_size()
            if size is None:
                self.end()
                return 0, 0
            return (
                size.columns - 1,
                size.lines // 2,
            )  # in the last column it would depend on the terminal what comes next

    def paint(self, lines: Sequence[str]) -> None:
        """
        Show these lines, which fit into the room. There is never less room than before: rows that are free stay empty.

        Args:
            lines: Each without a line break; it may have colours.
        """
        with self._locked() as locked:
            if locked and self._fd >= 0 and (size := self._usable_size()) is not None and self._can_write(0):
                rows = max(len(lines), self._rows if size == self._size else 0)
                frame = [self._make_room(rows, size), _SAVE, f"\x1b[1;{size.lines - rows}r", _PLAIN]
                for number in range(rows):
                    line = lines[number] if number < len(lines) else ""
                    frame += [f"\x1b[{size.lines - rows + number + 1};1H", line, _PLAIN, _ERASE_LINE]
                self._rows, self._size = rows, size
                self._write("".join([*frame, _RESTORE]))

    def end(self) -> None:
        """Take the lines away, and let the whole terminal scroll again. Calling it again does nothing."""
        with self._locked():
            if self._fd < 0 or os.getpid() != self._pid:
                return
            if self._rows and self._can_write(_PATIENCE):
                same = self._size == self._read_size()
                rest = self._erase() + _WHOLE + _RESTORE if same else _WHOLE + _RESTORE + _ERASE_BELOW
                self._write(_SAVE + _PLAIN + rest)
            self._close()

    # --- what a frame is made of -----------------------------------------------------------------------------------

    def _make_room(self, rows: int, size: os.terminal_size) -> str:
        """Have the cursor, wherever it is, stand above the rows. What was shown before is erased, or it would scroll up."""
        if rows == self._rows and size == self._size:
            return ""
        before = ""
        if self._rows and size == self._size:
            before = _SAVE + _PLAIN + self._erase() + _WHOLE + _RESTORE
        elif self._rows:  # nobody knows where the old lines are, but for below the cursor
            before = _SAVE + _WHOLE + _RESTORE + _PLAIN + _ERASE_BELOW
        return before + "\x1bD" * rows + f"\x1b[{rows}A"

    def _erase(self) -> str:
        first = self._size.lines - self._rows + 1
        return "".join(f"\x1b[{row};1H{_ERASE_LINE}" for row in range(first, self._size.lines + 1))

    # --- the terminal ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Generator[bool]:
        locked = self._lock.acquire(timeout=_PATIENCE)
        try:
            yield locked
        finally:
            if locked:
                self._lock.release()

    def _open(self) -> bool:
        try:
            fd = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:  # terminals cannot be locked here
            pass
        self._fd = fd
        at_forced_end(self.end)
        atexit.register(self.end)
        listen_too("os.exec", self._end_before_exec)
        return True

    def _close(self) -> None:
        fd, self._fd, self._rows, self._unsent = self._fd, -1, 0, b""
        not_at_forced_end(self.end)
        atexit.unregister(self.end)
        unlisten_too("os.exec", self._end_before_exec)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child may hold the same lock
        with contextlib.suppress(OSError):
            os.close(fd)

    def _end_before_exec(self, *_: object) -> None:
        self.end()

    def _usable_size(self) -> os.terminal_size | None:
        """Its size; `None`: it is too small, or not ours."""
        size = self._read_size()
        if size.lines < _FEWEST_ROWS or size.columns < _FEWEST_COLUMNS or not self._in_foreground():
            return None
        return size

    def _read_size(self) -> os.terminal_size:
        try:
            return os.get_terminal_size(self._fd)
        except OSError:  # it is gone
            return os.terminal_size((0, 0))

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # not the terminal that controls this process: nobody else can be in the foreground
            return True

    def _can_write(self, patience: float) -> bool:
        """Whether the terminal takes a frame, and nothing is left of the one before."""
        if self._unsent:
            self._write("")
        with contextlib.suppress(OSError, ValueError):
            return not self._unsent and bool(select.select([], [self._fd], [], patience)[1])
        return False

    def _write(self, text: str) -> None:
        left = self._unsent + text.encode(errors="replace")
        with contextlib.suppress(OSError):
            left = left[os.write(self._fd, left) :]
        self._unsent = left
