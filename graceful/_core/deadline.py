"""The deadline of a run: the one place that decides when everything must be over."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from graceful._core import clock
from graceful._core.budget import HURRY, half_of_rest

__all__ = ["TICK", "Deadline"]

#: Seconds between two looks of what watches the deadline.
TICK = 0.5

#: Seconds by which a look may be late before the process counts as suspended.
_LATE = 0.5


class Deadline:
    """
    When everything must be over. Fixed by the first cause; a second Ctrl-C makes it earlier.

    Only time in which the whole process was suspended (SIGSTOP, a paused container) makes it later, by what was lost. A thread
    that watches it looks every `TICK` seconds; if the last look is much older than that, and the process has used the CPU
    for less than half of what is missing, it was suspended, and the time since that look does not count. A loop that is
    blocked does not count: the thread looks on. Nor does C code that holds the GIL: it uses CPU. What else is fixed during the
    shutdown, such as the end of a drain, moves with it (`fix`).

    Only plain attributes are read and written, so every method but `look` is safe in a signal handler and from any thread.

    Args:
        grace: Seconds from the first cause to the end.

    Attributes:
        grace: The same.
        at: The deadline; infinity while the program runs.
        began_at: When the first cause arrived; infinity while there is none.
        changed_at: When the deadline last changed, moved like the deadline itself by what was lost since; minus infinity
            before it is fixed.
        hurried: Whether a second Ctrl-C moved it up: nothing but cleanup hooks is waited for any more.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.at = math.inf
        self.began_at = math.inf
        self.changed_at = -math.inf
        self.hurried = False
        self._lost = 0.0
        self._is_watched = False
        self._looked_at = self._cpu_used = 0.0
        self._looking = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self.began_at < math.inf

    @property
    def counted_from(self) -> float:
        """When the first cause arrived, moved like the deadline itself."""
        return self.began_at + self._lost

    def begin(self, at: float) -> None:
        """The first cause arrived `at` this time."""
        if self._is_watched:  # first: the process may be suspended between these lines
            self._looked_at, self._cpu_used = clock.now(), clock.cpu()
        self.began_at = self.changed_at = at
        self._move_up_to(at + self.grace)

    def hurry(self, at: float) -> None:
        """The second Ctrl-C arrived `at` this time."""
        self.hurried, self.changed_at = True, at
        self._move_up_to(at + HURRY)

    def bound(self, at: float) -> None:
        """It is at this time at the latest, from its beginning on: a part of another app has no more time than that."""
        self._move_up_to(at)

    def request_heard(self, at: float) -> None:
        """The watchdog heard a request to stop `at` this time, which a blocked main thread may not hear: time runs."""
        if self.at == math.inf:
            self._move_up_to(at + self.grace)

    def hurry_heard(self, at: float) -> None:
        """The watchdog heard a second Ctrl-C, which the main thread did not react to."""
        self._move_up_to(at + HURRY)

    def begin_watch(self) -> None:
        """From now on a thread looks every `TICK` seconds while there is a deadline."""
        self._is_watched = True
        self._looked_at, self._cpu_used = clock.now(), clock.cpu()

    def watch(self, late: float) -> float:
        """Look, and return the seconds until `late` seconds past the deadline."""
        self.look()
        if (left := self.at + late - clock.now()) <= 0:  # perhaps it was suspended between these lines
            self.look()
            left = self.at + late - clock.now()
        return left

    def look(self) -> None:
        """Move the deadline by the time for which the process was suspended since the last look, if it was; in any thread."""
        if self._is_watched:
            with self._looking:
                # Read once: what passes after this counts at the next look, also if the process is suspended here.
                now, cpu = clock.now(), clock.cpu()
                passed, used = now - self._looked_at, cpu - self._cpu_used
                if self.stopping and passed > TICK + max(_LATE, 2 * used):
                    self.at += passed
                    self.changed_at += passed
                    self._lost += passed
                self._looked_at, self._cpu_used = now, cpu

    def fix(self, at: float) -> Callable[[], float]:
        """Returns what says when that is: `at`, later by the time for which a shutdown is suspended from now on."""
        before = self._lost
        return lambda: at + self._lost - before

    def remaining(self) -> float:
        """Seconds until the deadline; never negative, infinity while the program runs."""
        return max(0.0, self.at - clock.now())

    def half_of_rest(self, since: float | None = None) -> float:
        """The point halfway to the deadline, from `since` on; `None`: from now."""
        return half_of_rest(clock.now() if since is None else since, self.at)

    def part_of_grace(self, share: float) -> float:
        """The point at which this part of the time from the first cause to the deadline is over."""
        return self.counted_from + (self.at - self.counted_from) * share

    def half_of_grace(self, since: float) -> float:
        """The point halfway to the deadline that a cause at `since` would have set, whether or not there is one."""
        return half_of_rest(since, since + self.grace)

    def _move_up_to(self, at: float) -> None:
        self.at = min(at, self.at)
