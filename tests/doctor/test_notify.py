"""The notify socket."""

from __future__ import annotations

import socket
from pathlib import Path

from graceful._doctor.notify import NotifySocket


def test_what_is_said(tmp_path: Path) -> None:
    """Each assignment of each datagram."""
    with NotifySocket.bound_in(str(tmp_path)) as notify:
        assert [] == notify.said()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as program:
            program.sendto(b"READY=1\nSTATUS=serving", notify.environment["NOTIFY_SOCKET"])
            program.sendto(b"STOPPING=1", notify.environment["NOTIFY_SOCKET"])

        assert notify.wait_for("STOPPING=1", 10)
        assert not notify.wait_for("WATCHDOG=1", 0)
        assert ["READY=1", "STATUS=serving", "STOPPING=1"] == notify.said()
