"""The service manager's end of the notify socket, see sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator

from graceful._doctor.family import wait_until

__all__ = ["WATCHDOG", "NotifySocket"]

#: The watchdog interval that the program is given, in seconds.
WATCHDOG = 1.0


class NotifySocket:
    """Receives what a program sends."""

    def __init__(self, bound: socket.socket, path: str) -> None:
        self._socket = bound
        self._said: list[str] = []
        self.environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}

    @classmethod
    @contextlib.contextmanager
    def bound_in(cls, folder: str) -> Generator[NotifySocket]:
        """A socket in this folder, for the duration of a block."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.setblocking(False)
            path = os.path.join(folder, "notify")
            bound.bind(path)
            yield cls(bound, path)

    def said(self) -> list[str]:
        """Each assignment that was received so far, such as `READY=1`."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._said += self._socket.recv(65536).decode(errors="replace").splitlines()
        return self._said

    def wait_for(self, assignment: str, timeout: float) -> bool:
        """Wait for it; returns whether it has come in time."""
        return wait_until(lambda: assignment in self.said(), timeout)
