"""
The shutdown state machine: (state, trigger) -> (next state, action), as one table; and the debounce of signals.

It looks at no clock and at nothing of the operating system, and no other code decides what a trigger means. Each trigger
carries the time at which it was noticed, so that a signal means the same whether the loop hears of it at once or five
seconds later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum, auto

__all__ = ["Action", "State", "StateMachine", "Trigger"]


class State(Enum):
    """How far a run has come."""

    NEW = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    HURRY = auto()
    OVER = auto()


class Trigger(Enum):
    """What can happen. A failure is posted as `FAILURE`, and again as `UNHANDLED` if no on_exception hook handled it."""

    SIGNAL = auto()
    ECHO = auto()
    FAILURE = auto()
    UNHANDLED = auto()
    ENDED = auto()
    STOP = auto()


class Action(Enum):
    """What the dispatcher does about it."""

    RECORD = auto()
    IGNORE = auto()
    HANDLE = auto()
    STOP = auto()
    HURRY = auto()
    FORCE = auto()
    LATE = auto()


_N, _S, _R, _G, _H, _O = State
_record, _ignore, _handle, _stop, _hurry, _force, _late = Action

# One row for each state; the columns are those of `Trigger`. Whether a signal is an echo (the same request once more, from
# a terminal that signals the whole process group or a wrapper that forwards what it got) is decided before the table.
#          SIGNAL         ECHO           FAILURE        UNHANDLED      ENDED          STOP
_ROWS = {
    _N: [(_G, _stop), (_N, _ignore), (_G, _stop), (_G, _stop), (_N, _ignore), (_G, _stop)],
    _S: [(_G, _stop), (_S, _ignore), (_G, _stop), (_G, _stop), (_S, _ignore), (_G, _stop)],
    _R: [(_G, _stop), (_R, _ignore), (_R, _handle), (_G, _stop), (_G, _stop), (_G, _stop)],
    _G: [(_H, _hurry), (_G, _ignore), (_G, _record), (_G, _record), (_G, _ignore), (_G, _ignore)],
    _H: [(_H, _force), (_H, _ignore), (_H, _record), (_H, _record), (_H, _ignore), (_H, _ignore)],
    _O: [(_O, _late), (_O, _late), (_O, _record), (_O, _record), (_O, _ignore), (_O, _ignore)],
}
TABLE = {(state, trigger): cell for state, row in _ROWS.items() for trigger, cell in zip(Trigger, row, strict=True)}


class StateMachine:
    """
    The state, and the one way to change it.

    Args:
        debounce: Seconds without a signal after which the next one is a new request. A signal that comes earlier is an
            echo, and starts the wait anew, so a storm of signals is one request however long it lasts.

    Attributes:
        state: How far the run has come.
        debounce: The same.
        last_request_at: When the last signal came, or whatever else began the shutdown.
    """

    def __init__(self, debounce: float) -> None:
        self.state = State.NEW
        self.debounce = debounce
        self.last_request_at = -math.inf

    def after(self, signals: Iterable[float]) -> StateMachine:
        """A machine for what follows a run in which signals came at these times; echoes are counted from the last one."""
        later = StateMachine(self.debounce)
        for at in signals:
            later.decide(Trigger.SIGNAL, at)
        later.last_request_at = max(later.last_request_at, self.last_request_at)
        return later

    def enter(self, state: State) -> None:
        """Go on to the next phase, because one has ended. Never goes back."""
        if state.value > self.state.value:
            self.state = state

    def decide(self, trigger: Trigger, at: float) -> Action:
        """
        Take a trigger, and say what to do about it.

        Args:
            trigger: What happened.
            at: When, in seconds on the clock that all triggers share.
        """
        if trigger is Trigger.SIGNAL and at - self.last_request_at < self.debounce:
            trigger = Trigger.ECHO
        self.state, action = TABLE[self.state, trigger]
        if action is Action.STOP or trigger in (Trigger.SIGNAL, Trigger.ECHO):
            self.last_request_at = at
        return action
