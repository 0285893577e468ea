"""
The dispatcher: every trigger of every kind, from every thread, decided one at a time.

Posting does at once what cannot wait for a loop that may be blocked: it asks the state machine, fixes the deadline and
passes it on. Then it wakes the loop. A signal handler may post between any two bytecodes of this very code; other threads
never decide, they append and wake.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.settings import CTRL_C
from graceful._core.state import Action, State, StateMachine, Trigger
from graceful._core.types import Cause, Failure, Kind
from graceful._observe.journal import Journal
from graceful._run.failures import Failures

__all__ = ["Dispatcher"]


class Dispatcher:
    """
    Args:
        debounce: Seconds after a signal that counted before the next one counts.
        deadline: Fixed by the first cause, moved up by a second Ctrl-C.
        journal: Where causes are kept for the report.
        failures: Where failures are kept.
        on_deadline_changed: Called whenever the deadline changes, perhaps in a signal handler.
        on_force: Called for the request after HURRY, perhaps in a signal handler; does not return.
        on_answer: Called for a first Ctrl-C in a shutdown that something else began, perhaps in a signal handler.
        on_wake: Called in the loop, soon after anything was posted.
        interrupt_main_thread: Called in another thread than that of the run; has `decide_all` called there soon, even if
            that thread is blocked.

    Attributes:
        cause: The first cause; `None` while there is none.
        announced: What told the owner of the process to stop, where that is not the app; `None`: nothing did.
        first_signal: The first request to stop that was a signal, whatever came of it; `None` if there was none.
        late: The last cause that came when all was over; `None` if there was none.
    """

    def __init__(
        self,
        debounce: float,
        deadline: Deadline,
        journal: Journal,
        failures: Failures,
        *,
        on_deadline_changed: Callable[[], None],
        on_force: Callable[[Cause], None],
        on_answer: Callable[[], None],
        on_wake: Callable[[], None],
        interrupt_main_thread: Callable[[], None],
    ) -> None:
        self.cause: Cause | None = None
        self.announced: Cause | None = None
        self.first_signal: Cause | None = None
        self.late: Cause | None = None
        self._machine = StateMachine(debounce)
        self._deadline = deadline
        self._journal = journal
        self._failures = failures
        self._on_deadline_changed = on_deadline_changed
        self._on_force = on_force
        self._on_answer = on_answer
        self._on_wake = on_wake
        self._interrupt_main_thread = interrupt_main_thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._posted: deque[tuple[Trigger, Cause, Failure | None]] = deque()
        self._deciding = False
        self._thread = threading.get_ident()

    # --- from anywhere ---------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self._deadline.stopping

    @property
    def announced_or_stopping(self) -> bool:
        """Whether the end was announced or has begun: what `App.stopping` says."""
        return self.stopping or self.announced is not None

    @property
    def over(self) -> bool:
        """Whether the run is over."""
        return self._machine.state is State.OVER

    def post(self, trigger: Trigger, cause: Cause, failure: Failure | None = None) -> None:
        """Take one trigger; from any thread, and from a signal handler."""
        self._posted.append((trigger, cause, failure))
        if threading.get_ident() == self._thread:
            self.decide_all()
        elif trigger is not Trigger.ANNOUNCE:  # which has no deadline, and can wait for a blocked loop
            self._interrupt_main_thread()
        self.wake()

    def post_signal(self, cause: Cause) -> None:
        """Take a signal that stops the program; from any thread, and from a signal handler."""
        self.post(_trigger_of(cause), cause)

    def stop(self, because: BaseException | None = None, *, by_ctrl_c: bool = False) -> None:
        """
        Begin the shutdown; from any thread, and from a signal handler.

        Args:
            because: A cancellation that asked for it; `None`: none did.
            by_ctrl_c: Whether a Ctrl-C is behind that, so that the next one hurries.
        """
        if not self.stopping:  # or a storm of requests would keep the loop busy waking up
            trigger = Trigger.INTERRUPT if by_ctrl_c else Trigger.STOP
            self.post(trigger, Cause(Kind.REQUESTED, clock.now(), exception=because))

    @property
    def interrupted(self) -> bool:
        """Whether a Ctrl-C has begun the shutdown or come during it: the next one hurries."""
        return self._machine.state is State.INTERRUPTED

    def main_ended(self, at: float, task: str | None = None) -> None:
        """
        Main, or the block in its place, has ended without an error; perhaps because the owner was told to stop.

        `task`: the essential background task that has ended instead.
        """
        announced = self.announced
        cause = (
            Cause(Kind.COMPLETED, at, task=task)
            if announced is None
            else Cause(Kind.SIGNAL, at, signal=announced.signal)
        )
        self.post(Trigger.ENDED, cause)

    @property
    def told_owner(self) -> bool:
        """Whether the first cause is a signal that the owner of the process handles, which decides how the process ends."""
        return self.announced is not None and self.first_signal is None

    def wake(self) -> None:
        """Have `on_wake` called in the loop; from any thread, and from a signal handler."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed meanwhile: nothing is left to wake
                self._loop.call_soon_threadsafe(self._on_wake)

    # --- in the thread of the run ----------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on there is a loop to wake."""
        self._loop = loop

    def enter(self, state: State) -> None:
        """
        The run enters its next phase, unless it was told to stop a moment ago.

        A signal handler may run between the check of the state and its change; so its trigger waits meanwhile.
        """
        self._deciding = True
        try:
            self._machine.enter(state)
        finally:
            self._deciding = False
        self.decide_all()

    def decide_all(self) -> None:
        """Decide what was posted."""
        # A signal that arrives after the inner loop saw no trigger and before the flag is cleared is seen by the outer one.
        while self._posted and not self._deciding:
            try:
                self._deciding = True
                while self._posted:
                    self._decide(*self._posted.popleft())
            finally:
                self._deciding = False

    def _decide(self, trigger: Trigger, cause: Cause, failure: Failure | None) -> None:
        if trigger in (Trigger.SIGNAL, Trigger.INTERRUPT) and cause.signal and self.first_signal is None:
            self.first_signal = cause
        action = self._machine.decide(trigger, cause.at)
        if action is Action.IGNORE:
            return
        if action is Action.STOP or trigger not in (Trigger.FAILURE, Trigger.UNHANDLED):
            self._journal.add_cause(cause, instead=self.announced if trigger is Trigger.ENDED else None)
        if failure is not None:
            self._failures.record(failure, ask=action is not Action.RECORD)
        self._act(action, cause)

    def _act(self, action: Action, cause: Cause) -> None:
        if action is Action.STOP:
            self.cause = cause
            self._deadline.begin(cause.at)
            self._on_deadline_changed()
        elif action is Action.HURRY:
            self._deadline.hurry(cause.at)
            self._on_deadline_changed()
        elif action is Action.FORCE:
            self._on_force(cause)
        elif action is Action.ANSWER:
            self._on_answer()
        elif action is Action.ANNOUNCE:
            self.announced = self.announced or cause
        elif action is Action.LATE:
            self.late = cause

    # --- for what comes after the run ------------------------------------------------------------------------------

    def later_signals(self) -> StateMachine:
        """A state machine that decides about signals after the run: they follow those that came in it."""
        signals = [each for each in self._journal.causes if each.signal is not None]
        if not signals and self.first_signal is not None:
            signals = [self.first_signal]
        return self._machine.after((_trigger_of(each), each.at) for each in signals)


def _trigger_of(cause: Cause) -> Trigger:
    return Trigger.INTERRUPT if cause.signal in CTRL_C else Trigger.SIGNAL
