"""
The clock of a simulation: the package reads it in place of the real one, in the threads of that simulation only.

Several simulations may run at once, each in a thread of its own, beside apps that run for real. So the reading goes by the
thread: the simulation's own has its clock, and so has a thread that was started during it. All others have the real time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Generator

from graceful._core import clock

__all__ = ["virtual_time"]


class _Clocks:
    """The clocks of the simulations that run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_thread: dict[int, Callable[[], float]] = {}
        self._started_before: dict[int, frozenset[int]] = {}
        self._replaced = contextlib.ExitStack()

    def add(self, read: Callable[[], float]) -> int:
        """The calling thread has this clock from now on; returns its identifier."""
        ident = threading.get_ident()
        with self._lock:
            if not self._by_thread:
                self._replaced.enter_context(clock.replaced(self._read))
            self._by_thread[ident] = read
            self._started_before[ident] = frozenset(sys._current_frames())
        return ident

    def remove(self, ident: int) -> None:
        """It has the real one again."""
        with self._lock:
            del self._by_thread[ident], self._started_before[ident]
            if not self._by_thread:
                self._replaced.close()

    def _read(self) -> float:
        ident = threading.get_ident()
        read = self._by_thread.get(ident)
        if read is None:
            later = [its for its, before in [*self._started_before.items()] if ident not in before]
            read = self._by_thread.get(later[-1]) if later else None
        return clock.real() if read is None else read()


_clocks = _Clocks()


@contextlib.contextmanager
def virtual_time(read: Callable[[], float]) -> Generator[None]:
    """
    Meanwhile the package reads the time from here, in this thread and in those that are started meanwhile.

    Args:
        read: Returns the time in seconds; must not go backwards.
    """
    ident = _clocks.add(read)
    try:
        yield
    finally:
        _clocks.remove(ident)
