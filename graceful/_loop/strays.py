"""As PID 1 the app reaps orphans that have become its children; see `reap_strays`."""

from __future__ import annotations

import asyncio
import os

from graceful._process.children import reap_strays

__all__ = ["StrayReaper"]

#: Seconds between two looks; each is one system call where no child has ended.
_EVERY = 1.0


class StrayReaper:
    """
    Looks for them now and then, while the app runs, and once more in the end. Does nothing in a process that is not PID 1.

    Args:
        loop: The running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        if os.getpid() == 1:
            self._timer = loop.call_later(_EVERY, self._look)

    def _look(self) -> None:
        reap_strays()
        self._timer = self._loop.call_later(_EVERY, self._look)

    def close(self) -> None:
        """Look for the last time."""
        if self._timer is not None:
            self._timer.cancel()
            reap_strays()
