"""A pace: what is done again and again takes no more than a share of the time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator

from graceful._core import clock

__all__ = ["Pace"]


class Pace:
    """
    Args:
        share: The share of the time, between 0 and 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._again_at = -math.inf

    def pause(self) -> float:
        """Seconds until it may be done again; 0: now."""
        return max(0.0, self._again_at - clock.now())

    @contextlib.contextmanager
    def measured(self) -> Generator[None]:
        """It is done in this block."""
        began = clock.now()
        yield
        now = clock.now()
        self._again_at = now + (now - began) * (1 / self._share - 1)
