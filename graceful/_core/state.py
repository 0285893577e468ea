"""
The shutdown state machine: (state, trigger) -> (next state, action), as one table; and the debounce of signals.

Only a person at the keyboard escalates: the second Ctrl-C hurries, the third ends the process. Supervisors and wrappers repeat
and forward SIGTERM and SIGHUP, so these never do, however often they come.

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
    #: The shutdown has begun, and there was no Ctrl-C yet.
    STOPPING = auto()
    #: A Ctrl-C began the shutdown, or came during it: the next one hurries.
    INTERRUPTED = auto()
    HURRY = auto()
    OVER = auto()


class Trigger(Enum):
    """
    What can happen. A failure is posted as `FAILURE`, and again as `UNHANDLED` if no on_exception hook handled it.

    `INTERRUPT` is a Ctrl-C, `SIGNAL` any other signal that stops the program, `ECHO` either of them once more within the
    debounce, `ANNOUNCE` that the owner of the process was told to stop.
    """

    SIGNAL = auto()
    INTERRUPT = auto()
    ECHO = auto()
    FAILURE = auto()
    UNHANDLED = auto()
    ENDED = auto()
    STOP = auto()
    ANNOUNCE = auto()


class Action(Enum):
    """What the dispatcher does about it."""

    RECORD = auto()
    IGNORE = auto()
    ANNOUNCE = auto()
    HANDLE = auto()
    STOP = auto()
    ANSWER = auto()
    HURRY = auto()
    FORCE = auto()
    LATE = auto()


_N, _S, _R, _G, _I, _H, _O = State
_record, _ignore, _announce, _handle, _stop, _answer, _hurry, _force, _late = Action

# One row for each state; the columns are those of `Trigger`. Whether a signal is an echo (the same request once more, from
# a terminal that signals the whole process group or a wrapper that forwards what it got) is decided before the table.
# fmt: off
#     SIGNAL         INTERRUPT      ECHO           FAILURE        UNHANDLED      ENDED          STOP           ANNOUNCE
_ROWS = {
    _N: [(_G, _stop),   (_I, _stop),   (_N, _ignore), (_G, _stop),   (_G, _stop),   (_N, _ignore), (_G, _stop),   (_N, _announce)],
    _S: [(_G, _stop),   (_I, _stop),   (_S, _ignore), (_G, _stop),   (_G, _stop),   (_S, _ignore), (_G, _stop),   (_S, _announce)],
    _R: [(_G, _stop),   (_I, _stop),   (_R, _ignore), (_R, _handle), (_G, _stop),   (_G, _stop),   (_G, _stop),   (_R, _announce)],
    _G: [(_G, _record), (_I, _answer), (_G, _ignore), (_G, _record), (_G, _record), (_G, _ignore), (_G, _ignore), (_G, _ignore)],
    _I: [(_I, _record), (_H, _hurry),  (_I, _ignore), (_I, _record), (_I, _record), (_I, _ignore), (_I, _ignore), (_I, _ignore)],
    _H: [(_H, _record), (_H, _force),  (_H, _ignore), (_H, _record), (_H, _record), (_H, _ignore), (_H, _ignore), (_H, _ignore)],
    _O: [(_O, _late),   (_O, _late),   (_O, _late),   (_O, _record), (_O, _record), (_O, _ignore), (_O, _ignore), (_O, _ignore)],
}
# fmt: on
TABLE = {(state, trigger): cell for state, row in _ROWS.items() for trigger, cell in zip(Trigger, row, strict=True)}


class StateMachine:
    """
    The state, and the one way to change it.

    Args:
        debounce: Seconds after a signal that counted before the next one counts. What comes earlier is an echo, so a user who
            keeps pressing Ctrl-C is heard again after that time.

    Attributes:
        state: How far the run has come.
        debounce: The same.
        last_signal_at: When the last signal came that counted.
    """

    def __init__(self, debounce: float) -> None:
        self.state = State.NEW
        self.debounce = debounce
        self.last_signal_at = -math.inf

    def after(self, signals: Iterable[tuple[Trigger, float]]) -> StateMachine:
        """A machine for what follows a run in which these signals came, each at its time."""
        later = StateMachine(self.debounce)
        for trigger, at in signals:
            later.decide(trigger, at)
        later.count_signal(self.last_signal_at)
        return later

    def count_signal(self, at: float) -> None:
        """A signal came `at` this time: until the debounce is over, another one is an echo."""
        self.last_signal_at = max(self.last_signal_at, at)

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
        if trigger in (Trigger.SIGNAL, Trigger.INTERRUPT):
            if at - self.last_signal_at < self.debounce:
                trigger = Trigger.ECHO
            else:
                self.last_signal_at = at
        self.state, action = TABLE[self.state, trigger]
        return action
