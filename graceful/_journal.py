"""The journal of a run: what was sighted, what came of it, and what nobody has dealt with. It only ever grows."""

from __future__ import annotations

from collections import deque

from graceful._model import Cause, Failure, Outcome
from graceful._report import Report, exit_status

__all__ = ["Journal"]

#: How many failures are kept for the report. What is raised in the end is kept in any case.
_KEPT = 100


class Journal:
    """
    Attributes:
        causes: Each distinct request to stop.
        outcomes: How each hook ended, and each task that had to be given up.
        failures: The last exceptions that nobody had handled; not all, or a service that lives long would keep each.
        errors: Those of them, and of hooks, that nobody dealt with, in the order of time: what `run()` raises.
        unhandled: Failures that no `on_exception` hook has been asked about.
    """

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.outcomes: list[Outcome] = []
        self.failures: deque[Failure] = deque(maxlen=_KEPT)
        self.errors: list[BaseException] = []
        self.unhandled: deque[Failure] = deque()

    def knows(self, error: BaseException) -> bool:
        """Whether this very exception was told before: several ways may lead here, and it is told once."""
        return any(failure.exception is error for failure in self.failures)

    def report(self, cause: Cause, took: float, raised: BaseException | None) -> Report:
        """All of it, as a fact to keep."""
        return Report(
            cause=cause,
            causes=tuple(self.causes),
            outcomes=tuple(self.outcomes),
            failures=tuple(self.failures),
            took=took,
            exit_status=exit_status(raised),
        )
