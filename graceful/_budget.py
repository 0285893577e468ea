"""
How a grace is cut into slices. Pure arithmetic on one clock: absolute times in, absolute times out.

One deadline is fixed when the first cause arrives and is only ever brought forward. Nothing is added to it, so no
hook can make a program late; what is given to one is taken from what is left for all.
"""

from __future__ import annotations

__all__ = ["HURRY", "LAG", "MOMENT", "RESERVE", "Slice", "drain_until", "half_of_rest", "slice_of"]

#: Seconds kept for each hook behind the one that runs, so that one that hangs never starves the others. Where the
#: rest is too short for that, each gets an equal part of it.
RESERVE = 0.5

#: Seconds a cancelled hook or task gets to unwind before it is given up, or a tenth of its slice where that is less.
MOMENT = 0.2

#: Seconds left for all cleanup hooks together once a second request came.
HURRY = 2.0

#: Seconds by which a loop may be late before it counts as blocked.
LAG = 0.15


def half_of_rest(now: float, deadline: float) -> float:
    """The share of a step that must leave one for the steps behind it."""
    return now + max(0.0, deadline - now) / 2


def drain_until(began_at: float, drain_delay: float, deadline: float) -> float:
    """Until when work may be drained: the delay, and half of what is left after it."""
    return half_of_rest(min(began_at + drain_delay, deadline), deadline)


class Slice:
    """When a hook is cancelled, and when it is given up if it has not unwound by then."""

    __slots__ = ("over", "until")

    def __init__(self, until: float, over: float) -> None:
        self.until = until
        self.over = over


def slice_of(now: float, deadline: float, behind: int) -> Slice:
    """
    The slice of the hook that starts `now`, so that it and what waits for it are over by the deadline.

    Args:
        now: When it starts.
        deadline: When everything must be over; infinity if nothing must.
        behind: How many hooks wait for it, one after the other.
    """
    left = max(0.0, deadline - now)
    mine = left - min(RESERVE, left / (behind + 1)) * behind
    return Slice(now + mine - min(MOMENT, mine / 10), now + mine)
