"""How one process ended, what it left behind, and how a shell, systemd and Kubernetes read its exit status."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

__all__ = ["Ending", "in_kubernetes", "in_shell", "in_systemd", "told"]

#: Death by one of these is clean for systemd (systemd.service(5), SuccessExitStatus=).
CLEAN = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}

#: UUIDs, and words with a digit in them.
_VARYING = re.compile(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b|\w*\d\w*")


@dataclass(frozen=True)
class Ending:
    """
    One process, from the signal to its end.

    Attributes:
        status: As `subprocess` counts it, negative for death by that signal; `None`: it was still running when its time
            was over, and was killed.
        took: Seconds from the signal to the end, or to the kill.
        caught: Whether it had a handler for the signal; `None`: not known.
        stdout, stderr: All that arrived.
        left: The names of the processes that were left behind.
        ports: The TCP ports at which these still accept connections.
        memory: The files in /dev/shm that were in use before the signal, and are still there.
        files: The names of what is left in its TMPDIR.
    """

    status: int | None
    took: float
    caught: bool | None = None
    stdout: str = ""
    stderr: str = ""
    left: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    memory: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def lines(self) -> set[str]:
        """
        The distinct lines on stdout, with 0 for each UUID and each word that has a digit in it.

        Times, process ids and addresses in memory differ from run to run.
        """
        return {_VARYING.sub("0", line).strip() for line in self.stdout.splitlines()} - {""}

    def told(self) -> str:
        """The time and the status."""
        if self.status is None:
            return f"still running after {self.took:.1f} s"
        return f"{self.took:.2f} s, {told(self.status)}"


def told(status: int) -> str:
    """A status in words."""
    return f"died by {_name(-status)}" if status < 0 else f"exit({status})"


def in_shell(status: int) -> int:
    """What a shell has in `$?`."""
    return 128 - status if status < 0 else status


def in_systemd(status: int) -> bool:
    """Whether systemd takes it for a clean end, which it does not restart with `Restart=on-failure`."""
    return status == 0 or -status in CLEAN


def in_kubernetes(status: int) -> str:
    """The reason that Kubernetes shows for the end of the container."""
    return "Completed" if status == 0 else f"Error {in_shell(status)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
