"""The failures of a run: those that `on_exception` hooks are still to be asked about, and those that `run()` raises."""

from __future__ import annotations

from collections import deque

from graceful._core.types import Failure
from graceful._observe.journal import Journal

__all__ = ["Failures"]


class Failures:
    """
    Args:
        journal: Where the last failures are kept for the report.

    Attributes:
        pending: Failures that no `on_exception` hook has been asked about.
        errors: The exceptions, of failures and of hooks, that nobody dealt with, in the order of time.
    """

    def __init__(self, journal: Journal) -> None:
        self.pending: deque[Failure] = deque()
        self.errors: list[BaseException] = []
        self._journal = journal

    def knows(self, error: BaseException) -> bool:
        """Whether this very exception was recorded before: it may arrive in several ways, and counts once."""
        return any(failure.exception is error for failure in self._journal.failures)

    def record(self, failure: Failure, *, ask: bool) -> None:
        """Keep a failure. `ask`: the `on_exception` hooks are asked about it; else it is raised in any case."""
        self._journal.failures.append(failure)
        if ask:
            self.pending.append(failure)
        else:
            self.errors.append(failure.exception)

    def record_harmless(self, failure: Failure) -> None:
        """For the report only: it is no failure of the program, but of one connection of many, for example."""
        self._journal.failures.append(failure)
