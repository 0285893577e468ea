"""
How the grace is divided into slices. Pure arithmetic on one clock: absolute times in, absolute times out.

There is one deadline. It is fixed when the first cause arrives, and can only become earlier. So no hook can make a program
late: what one hook is given is taken from what is left for all.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "FORCED",
    "HURRY",
    "LAG",
    "RESERVE",
    "UNWIND",
    "Slice",
    "cancel_until",
    "drain_until",
    "half_of_rest",
    "slice_of",
    "within_timeout",
]

#: Seconds reserved for each hook that waits behind the running one, so that a hanging hook never starves the others.
#: Where the rest is too short for that, each gets an equal part of it.
RESERVE = 0.5

#: Seconds a cancelled hook or task gets to unwind before it is abandoned, or a tenth of its slice where that is less.
UNWIND = 0.2

#: Seconds left for all cleanup hooks together after a second Ctrl-C.
HURRY = 2.0

#: Seconds after the deadline in which a process that is stuck has been ended from inside.
FORCED = 1.0

#: Seconds by which a loop may be late before it counts as blocked.
LAG = 0.15


def half_of_rest(now: float, deadline: float) -> float:
    """When a step must end that has to leave a share for the steps behind it."""
    return now + max(0.0, deadline - now) / 2


def drain_until(began_at: float, drain_delay: float, deadline: float, share: float) -> float:
    """When the time for work to end by itself is over: after the delay, and `share` of what is left behind it."""
    served_until = min(began_at + drain_delay, deadline)
    return served_until + max(0.0, deadline - served_until) * share


def cancel_until(now: float, deadline: float, drain_ends_at: float) -> float:
    """When the time for cancelled work is over; not before the time for work to end by itself, which it may have, too."""
    return max(half_of_rest(now, deadline), drain_ends_at)


def within_timeout(until: float, began_at: float, timeout: float | None) -> float:
    """When a hook is cancelled that may run `until` then: earlier, if it has a timeout that is over before."""
    return until if timeout is None else min(until, began_at + timeout)


class Slice(NamedTuple):
    """
    The time of one hook.

    Attributes:
        cancel_at: When it is cancelled.
        abandon_at: When it is abandoned, if it has not unwound by then.
    """

    cancel_at: float
    abandon_at: float

    def abandon_after(self, cancelled_at: float) -> float:
        """When it is abandoned, if it is cancelled at this time: after a moment, and within the slice."""
        return max(cancelled_at, min(cancelled_at + UNWIND, self.abandon_at))


def slice_of(now: float, deadline: float, behind: int) -> Slice:
    """
    The slice of the hook that starts `now`, such that it and the hooks that wait for it are over by the deadline.

    Args:
        now: When it starts.
        deadline: When everything must be over; infinity if there is no deadline.
        behind: How many hooks wait for it, one after the other.
    """
    left = max(0.0, deadline - now)
    mine = left - min(RESERVE, left / (behind + 1)) * behind
    return Slice(now + mine - min(UNWIND, mine / 10), now + mine)
