"""The deadline of a run: the one place that decides when everything must be over."""

from __future__ import annotations

import math

from graceful._core import clock
from graceful._core.budget import HURRY, half_of_rest

__all__ = ["Deadline"]


class Deadline:
    """
    When everything must be over. Fixed by the first cause; a second Ctrl-C makes it earlier, and nothing makes it later.

    Only plain attributes are read and written, so every method is safe in a signal handler and from any thread.

    Args:
        grace: Seconds from the first cause to the end.

    Attributes:
        grace: The same.
        at: The deadline; infinity while the program runs.
        began_at: When the first cause arrived; infinity while there is none.
        changed_at: When the deadline last changed; minus infinity before it is fixed.
        hurried: Whether a second Ctrl-C moved it up: nothing but cleanup hooks is waited for any more.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.at = math.inf
        self.began_at = math.inf
        self.changed_at = -math.inf
        self.hurried = False

    @property
    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self.began_at < math.inf

    def begin(self, at: float) -> None:
        """The first cause arrived `at` this time."""
        self.began_at = self.changed_at = at
        self._move_up_to(at + self.grace)

    def hurry(self, at: float) -> None:
        """The second Ctrl-C arrived `at` this time."""
        self.hurried, self.changed_at = True, at
        self._move_up_to(at + HURRY)

    def request_heard(self, at: float) -> None:
        """The watchdog heard a request to stop `at` this time, which a blocked main thread may not hear: time runs."""
        if self.at == math.inf:
            self._move_up_to(at + self.grace)

    def hurry_heard(self, at: float) -> None:
        """The watchdog heard a second Ctrl-C, which the main thread did not react to."""
        self._move_up_to(at + HURRY)

    def remaining(self) -> float:
        """Seconds until the deadline; never negative, infinity while the program runs."""
        return max(0.0, self.at - clock.now())

    def half_of_rest(self, since: float | None = None) -> float:
        """The point halfway to the deadline, from `since` on; `None`: from now."""
        return half_of_rest(clock.now() if since is None else since, self.at)

    def part_of_grace(self, share: float) -> float:
        """The point at which this part of the time from the first cause to the deadline is over."""
        return self.began_at + (self.at - self.began_at) * share

    def half_of_grace(self, since: float) -> float:
        """The point halfway to the deadline that a cause at `since` would have set, whether or not there is one."""
        return half_of_rest(since, since + self.grace)

    def _move_up_to(self, at: float) -> None:
        self.at = min(at, self.at)
