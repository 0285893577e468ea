"""One stream that a program writes to, a pipe or a pseudo-terminal, read by a thread."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import threading

from graceful._core.clock import now

__all__ = ["Output", "plain"]

#: Colours and other codes for a terminal (ECMA-48: control sequences, command strings, the rest), and control characters.
_CODES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)

#: The bytes that a pipe holds; see pipe(7).
_FULL = 65536


def plain(text: str) -> str:
    """The text without codes for a terminal, which nothing looks for and which a report must not send to another one."""
    return _CODES.sub("", text)


class Output:
    """
    Collects what is written to one end.

    Args:
        terminal: Whether it is a pseudo-terminal instead of a pipe.
    """

    def __init__(self, *, terminal: bool = False) -> None:
        self._read_end, self.write_end = pty.openpty() if terminal else os.pipe()
        self._got = bytearray()
        self._wrote_at = now()
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="doctor's reader", daemon=True)

    def begin(self) -> None:
        """Begin to read. To be called once the program has its own copy of `write_end`, which is closed here."""
        os.close(self.write_end)
        self.write_end = -1
        self._thread.start()

    def text(self) -> str:
        """What was written so far, without colours and other codes for a terminal."""
        return plain(bytes(self._got).decode(errors="replace").replace("\r\n", "\n"))

    def wrote_at(self) -> float:
        """When something was written last; before that, when this object was made. On the app's clock."""
        return self._wrote_at

    def wait(self, timeout: float) -> None:
        """Wait until every copy of the other end is closed, which a child of the program may keep from happening."""
        self._thread.join(timeout)

    def press(self, keys: bytes) -> None:
        """Type these on the pseudo-terminal."""
        os.write(self._read_end, keys)

    def close_reader(self) -> None:
        """Close the reading end: what writes gets EPIPE from now on."""
        os.close(self._stop_reading())
        os.close(self._read_end)
        self._read_end = -1

    def fill(self) -> None:
        """Stop reading and fill the pipe: what writes blocks from now on."""
        writer = self._stop_reading()
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, b"\n" * size)
        os.close(writer)

    def close(self) -> None:
        """Close the descriptors. Whatever has a copy of the writing end must have ended."""
        if self._thread.ident is not None:
            self._thread.join(1)
        for descriptor in (self._read_end, self.write_end):
            if descriptor >= 0:
                os.close(descriptor)

    def _stop_reading(self) -> int:
        """End the thread, which a line wakes, and read the rest; returns a writing end of our own, which does not block."""
        self._stopped = True
        # A copy of `write_end` would share its flags with the program, which must not become non-blocking.
        writer = os.open(f"/proc/self/fd/{self._read_end}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):  # it is full, and wakes the thread, too
            os.write(writer, b"\n")
        self._thread.join()
        os.set_blocking(self._read_end, False)
        with contextlib.suppress(BlockingIOError):
            self._got += os.read(self._read_end, _FULL)
        return writer

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while not self._stopped and (chunk := os.read(self._read_end, _FULL)):
                self._got += chunk
                self._wrote_at = now()
