"""The service manager's end of the notify socket, see sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def listening(kind: str) -> Iterator[Manager]:
    """A manager at an address of this kind, `path` or `abstract`; a path of its own, since 108 bytes are the limit."""
    with tempfile.TemporaryDirectory(prefix="graceful-", dir="/tmp") as folder:
        manager = Manager(f"{folder}/notify" if kind == "path" else f"@{os.path.basename(folder)}")
        with contextlib.closing(manager):
            yield manager


class Manager:
    """Receives what a program sends to NOTIFY_SOCKET, one datagram after the other."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.environment = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.settimeout(20)
        self.heard: list[str] = []

    def receive(self) -> str:
        """The next datagram."""
        self.heard.append(self._socket.recv(65536).decode())
        return self.heard[-1]

    def wait_for(self, assignment: str) -> list[str]:
        """Read up to the datagram with this assignment (`READY=1`, or how it begins, as `STATUS=`); returns its lines."""
        while True:
            lines = self.receive().splitlines()
            if any(line.startswith(assignment) for line in lines):
                return lines

    def rest(self) -> list[str]:
        """What else has arrived, without waiting."""
        self._socket.settimeout(0)
        rest = []
        try:
            while True:
                rest.append(self.receive())
        except BlockingIOError:
            self._socket.settimeout(20)
            return rest

    def close(self) -> None:
        self._socket.close()
