"""
Waking a loop for signals where it has no `add_signal_handler`: on Windows.

There a signal arrives in a thread of the system, and interrupts nothing that the main thread waits in. CPython then writes to the
wakeup fd, and runs the Python handler when the main thread runs Python code again. The proactor loop sets a wakeup fd when it
is created in the main thread, and wakes by it (Lib/asyncio/proactor_events.py). The selector loop has none; but it has
`add_reader`, so it gets one here.

Only for a loop that somebody else runs. In `run()`, the watchdog's thread reads a wakeup fd on every platform.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

__all__ = ["LoopWakeup"]


class LoopWakeup:
    """
    A wakeup fd for a loop that has none. In the main thread.

    Args:
        loop: The loop, which runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        try:
            loop.add_reader(self._reading, self._drain)
        except NotImplementedError:  # the proactor loop
            self._close()
            return
        before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        if before != -1:  # somebody has set one, which wakes the loop
            signal.set_wakeup_fd(before)
            self.close()

    def close(self) -> None:
        """Give it back."""
        if self._writing.fileno() == -1:
            return
        self._loop.remove_reader(self._reading)
        current = signal.set_wakeup_fd(-1)
        if current != self._writing.fileno():  # the program's own, by now
            signal.set_wakeup_fd(current)
        self._close()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            self._reading.recv(4096)

    def _close(self) -> None:
        self._reading.close()
        self._writing.close()
