"""The journal of a run: causes, outcomes and failures, as they are noticed, for the report."""

from __future__ import annotations

from collections import deque

from graceful._core.types import Cause, EventKind, Failure, Outcome
from graceful._observe.observers import Observers
from graceful._observe.report import Report

__all__ = ["Journal"]

#: How many failures, and how many outcomes of `on_exception` hooks, are kept for the report. What `run()` raises is kept in
#: any case.
_KEPT = 100


class Journal:
    """
    What happened in a run. It only ever grows, but for failures, and the hooks that deal with them, beyond the last 100.

    Args:
        observers: Are told of each outcome.

    Attributes:
        causes: Each distinct request to stop.
    """

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self.causes: list[Cause] = []
        self._count = 0
        self._outcomes: list[tuple[int, Outcome]] = []
        self._dealt: deque[tuple[int, Outcome]] = deque(maxlen=_KEPT)
        self._failures: deque[Failure] = deque(maxlen=_KEPT)

    def add_cause(self, cause: Cause, instead: Cause | None = None) -> None:
        """A distinct request to stop. `instead`: that it was announced before, which is the same request; `None`: it was not."""
        self.causes = [each for each in self.causes if each is not instead]
        self.causes.append(cause)

    def add_outcome(self, outcome: Outcome, kind: EventKind = EventKind.HOOK_ENDED) -> None:
        """How a hook ended, or a task that had to be abandoned."""
        kept = self._dealt if outcome.stage == "on_exception" else self._outcomes
        kept.append((self._count, outcome))
        self._count += 1
        self._observers.tell(kind, stage=outcome.stage, outcome=outcome)

    def add_failure(self, failure: Failure) -> None:
        """An exception that nobody had handled."""
        self._failures.append(failure)

    def failure_of(self, error: BaseException | None) -> Failure | None:
        """The failure, among the last ones, that this very exception is; `None`: it is in none of them."""
        return next((failure for failure in self._failures if failure.exception is error), None)

    def report(self, cause: Cause, took: float, exit_status: int) -> Report:
        """All of it as it is now, as a record to keep."""
        kept = sorted([*self._outcomes, *self._dealt], key=lambda each: each[0])
        outcomes = tuple(outcome for _, outcome in kept)
        dropped = self._count - len(kept)
        return Report(cause, tuple(self.causes), outcomes, tuple(self._failures), took, exit_status, dropped)
