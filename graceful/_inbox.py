"""
The inbox: every sighting of every kind, from every thread, decided one at a time.

Posting does at once what cannot wait for a loop that may be blocked: it stamps, asks the machine, fixes the deadline
and passes it on. Then it wakes the loop. Who else runs now? A signal handler may post between any two bytecodes of
this very code; other threads never decide, they append and wake.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from graceful._budget import HURRY
from graceful._journal import Journal
from graceful._machine import Action, Machine, Sighting, State
from graceful._model import Cause, Failure, Kind, Settings
from graceful._pace import Pace

__all__ = ["Inbox"]


class Inbox:
    """
    Args:
        bound: Called whenever the deadline changes, with the cause; safe in a signal handler.
        force: Called for the request after HURRY; does not return.

    Attributes:
        machine: The state.
        cause: The first cause; `None` while there is none.
        signalled: The first request to stop that was a signal, whatever came of it; `None` if none came.
        late: The cause that came when all was over; `None` if none did.
        knock: Has `decide_all` called in the thread of the run, from another one, even if that is blocked; `None`: it
            is decided when the loop comes to it.
        heed: Called in the loop, soon after anything was posted.
        loop: What is woken; `None` before it runs.
    """

    def __init__(
        self,
        settings: Settings,
        pace: Pace,
        journal: Journal,
        *,
        bound: Callable[[Cause], None],
        force: Callable[[Cause], None],
    ) -> None:
        self.machine = Machine(settings.debounce)
        self.cause: Cause | None = None
        self.signalled: Cause | None = None
        self.late: Cause | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.knock: Callable[[], None] | None = None
        self.heed: Callable[[], None]
        self._grace = settings.grace
        self._pace = pace
        self._journal = journal
        self._bound = bound
        self._force = force
        self._posted: deque[tuple[Sighting, Cause, Failure | None]] = deque()
        self._deciding = False
        self._thread = threading.get_ident()

    @property
    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self.cause is not None

    def post(self, sighting: Sighting, cause: Cause, failure: Failure | None = None) -> None:
        """Take one sighting; from any thread, and from a signal handler."""
        self._posted.append((sighting, cause, failure))
        if threading.get_ident() == self._thread:
            self.decide_all()
        elif (knock := self.knock) is not None:
            knock()
        self.wake()

    def stop(self, because: BaseException | None = None) -> None:
        """Begin the shutdown; from any thread, and from a signal handler. `because`: a cancellation that asked for it."""
        if not self.stopping:  # or a storm of requests would keep the loop busy with being woken
            self.post(Sighting.STOP, Cause(Kind.REQUESTED, time.monotonic(), exception=because))

    def wake(self) -> None:
        """Have the loop heed what is new."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # closed meanwhile: nobody is left to wake
                self.loop.call_soon_threadsafe(self.heed)

    def enter(self, state: State) -> None:
        """
        The run came to its next phase, unless it was told otherwise a moment ago.

        A signal handler may run between the look at the state and the change of it; so its sighting waits meanwhile.
        """
        self._deciding = True
        try:
            self.machine.enter(state)
        finally:
            self._deciding = False
        self.decide_all()

    def decide_all(self) -> None:
        """Decide what was posted; in the thread of the run only."""
        # A signal that comes after the inner loop saw an empty inbox and before the flag is down is seen by the outer.
        while self._posted and not self._deciding:
            try:
                self._deciding = True
                while self._posted:
                    self._decide(*self._posted.popleft())
            finally:
                self._deciding = False

    def _decide(self, sighting: Sighting, cause: Cause, failure: Failure | None) -> None:
        if sighting is Sighting.SIGNAL and self.signalled is None:
            self.signalled = cause
        action = self.machine.decide(sighting, cause.at)
        if action is Action.IGNORE:
            return
        if action is Action.STOP or sighting not in (Sighting.FAILURE, Sighting.UNHANDLED, Sighting.ECHO):
            self._journal.causes.append(cause)
        if failure is not None:
            self._record(failure, to_handle=action is not Action.RECORD)
        if action is Action.STOP:
            self.cause = cause
            self._pace.bring_forward(cause.at, cause.at + self._grace, hurried=False)
            self._bound(cause)
        elif action is Action.HURRY:
            self._pace.bring_forward(cause.at, cause.at + HURRY, hurried=True)
            self._bound(cause)
        elif action is Action.FORCE:
            self._force(cause)
        elif action is Action.LATE:
            self.late = cause

    def _record(self, failure: Failure, *, to_handle: bool) -> None:
        self._journal.failures.append(failure)
        if to_handle:
            self._journal.unhandled.append(failure)
        else:
            self._journal.errors.append(failure.exception)
