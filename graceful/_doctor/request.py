"""What the doctor is asked to examine."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from graceful._doctor.readiness import Ready

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """
    A program, and how it is to be treated.

    Attributes:
        command: The program and its arguments.
        signal: What asks it to stop.
        grace: The seconds that its supervisor gives it to end.
        ready: How it is known to be ready.
        ready_timeout: The seconds it may take to be ready.
        load: A shell command that runs beside it; `None`: none does.
    """

    command: tuple[str, ...]
    signal: signal.Signals
    grace: float
    ready: Ready
    ready_timeout: float
    load: str | None = None
