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

__all__ = ["now", "replaced"]

_read: Callable[[], float] = time.monotonic


def now() -> float:
    """
    The time on the app's clock, in seconds.

    Safe in a signal handler and from any thread.
    """
    return _read()


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
