"""
The clock: the one place where the package reads the time.

It is `time.monotonic`, because the wall clock may be set back while a deadline is running. Every time in the package is
in seconds on this clock: names that end in `_at`, and `deadline`, are points on it; `grace`, `timeout` and `delay` are
durations.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator

__all__ = ["cpu", "microseconds", "now", "real", "replaced"]

_read: Callable[[], float] = time.monotonic


def now() -> float:
    """
    The time on the app's clock, in seconds.

    Safe in a signal handler and from any thread.
    """
    return _read()


def real() -> float:
    """The time on `time.monotonic`'s clock, in seconds, also where `now` is replaced."""
    return time.monotonic()


def microseconds() -> int:
    """The time on CLOCK_MONOTONIC in microseconds, as systemd wants it. Always the real clock."""
    return time.monotonic_ns() // 1000


def cpu() -> float:
    """The seconds of CPU that the process has used so far. A process that is suspended uses none."""
    return time.process_time()


@contextlib.contextmanager
def replaced(read: Callable[[], float]) -> Generator[None]:
    """
    Read the time from somewhere else for the duration of a block, for tests.

    Args:
        read: Returns the time in seconds; must not go backwards.
    """
    global _read  # noqa: PLW0603 - the clock is the one thing that every room shares
    before, _read = _read, read
    try:
        yield
    finally:
        _read = before
