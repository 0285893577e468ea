"""
What follows from what: state and sighting → state and action, as one table.

Nothing here looks at a clock or at the OS, and nothing else in the package decides. A sighting carries the time at
which it was made, so that a signal means the same whether the loop hears of it at once or five seconds later.
"""

from __future__ import annotations

import math
from enum import Enum, auto

__all__ = ["Action", "Machine", "Sighting", "State"]


class State(Enum):
    """How far a run has come."""

    NEW = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    HURRY = auto()
    OVER = auto()


class Sighting(Enum):
    """What can be posted. A failure is posted as `FAILURE`, and again as `UNHANDLED` if no hook dealt with it."""

    SIGNAL = auto()
    ECHO = auto()
    FAILURE = auto()
    UNHANDLED = auto()
    ENDED = auto()
    STOP = auto()


class Action(Enum):
    """What the runner does about it."""

    RECORD = auto()
    IGNORE = auto()
    HANDLE = auto()
    STOP = auto()
    HURRY = auto()
    FORCE = auto()
    LATE = auto()


_N, _S, _R, _G, _H, _O = State
_record, _ignore, _handle, _stop, _hurry, _force, _late = Action

# A row a state; the columns are those of `Sighting`. Whether a signal is an echo (the same request once more, from
# a terminal that signals the whole group and a wrapper that forwards what it got) is decided before the table.
#          SIGNAL         ECHO           FAILURE        UNHANDLED      ENDED          STOP
_ROWS = {
    _N: [(_G, _stop), (_N, _ignore), (_G, _stop), (_G, _stop), (_N, _ignore), (_G, _stop)],
    _S: [(_G, _stop), (_S, _ignore), (_G, _stop), (_G, _stop), (_S, _ignore), (_G, _stop)],
    _R: [(_G, _stop), (_R, _ignore), (_R, _handle), (_G, _stop), (_G, _stop), (_G, _stop)],
    _G: [(_H, _hurry), (_G, _ignore), (_G, _record), (_G, _record), (_G, _ignore), (_G, _ignore)],
    _H: [(_H, _force), (_H, _ignore), (_H, _record), (_H, _record), (_H, _ignore), (_H, _ignore)],
    _O: [(_O, _late), (_O, _late), (_O, _record), (_O, _record), (_O, _ignore), (_O, _ignore)],
}
TABLE = {(state, sighting): cell for state, row in _ROWS.items() for sighting, cell in zip(Sighting, row, strict=True)}


class Machine:
    """
    The state, and the one way to change it.

    Args:
        debounce: Seconds of quiet that make the next signal a new request. Until then it is the same one: each echo
            starts the wait anew, so that a storm of signals is one request however long it lasts.

    Attributes:
        state: How far the run has come.
        debounce: Those seconds.
        last: When the last signal came, or what else began the shutdown.
    """

    def __init__(self, debounce: float) -> None:
        self.state = State.NEW
        self.debounce = debounce
        self.last = -math.inf

    def enter(self, state: State) -> None:
        """The run came to its next state by itself: nothing was sighted, a phase has ended. Never back."""
        if state.value > self.state.value:
            self.state = state

    def decide(self, sighting: Sighting, at: float) -> Action:
        """Take `sighting`, made `at` (seconds, any clock that all sightings share), and say what to do about it."""
        if sighting is Sighting.SIGNAL and at - self.last < self.debounce:
            sighting = Sighting.ECHO
        self.state, action = TABLE[self.state, sighting]
        if action is Action.STOP or sighting in (Sighting.SIGNAL, Sighting.ECHO):
            self.last = at
        return action
