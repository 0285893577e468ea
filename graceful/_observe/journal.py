"""The journal of a run: causes, outcomes and failures, as they are noticed, for the report."""

from __future__ import annotations

from collections import deque

from graceful._core.types import Cause, Failure, Outcome
from graceful._observe.report import Report

__all__ = ["Journal"]

#: How many failures are kept for the report. What `run()` raises is kept in any case.
_KEPT = 100


class Journal:
    """
    What happened in a run. It only ever grows, but for failures beyond the last 100.

    Attributes:
        causes: Each distinct request to stop.
        outcomes: How each hook ended, and each task that had to be abandoned.
        failures: The last exceptions that nobody had handled.
    """

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.outcomes: list[Outcome] = []
        self.failures: deque[Failure] = deque(maxlen=_KEPT)

    def report(self, cause: Cause, took: float, exit_status: int) -> Report:
        """All of it as it is now, as a record to keep."""
        return Report(cause, tuple(self.causes), tuple(self.outcomes), tuple(self.failures), took, exit_status)
