"""The journal of a run: what was sighted, what came of it, and what nobody has dealt with. It only ever grows."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from types import CodeType
from typing import Any

from graceful._model import Cause, Failure, Outcome
from graceful._report import Report, exit_status
from graceful._stacks import place, shortener

__all__ = ["Journal"]

#: How many failures are kept for the report. What is raised in the end is kept in any case.
_KEPT = 100


class Journal:
    """
    Attributes:
        causes: Each distinct request to stop.
        outcomes: How each hook ended, and each task that had to be given up: what an `Outcome` is made from, but of a
            hook the code, whose place nobody may ever want to know.
        failures: The last exceptions that nobody had handled; not all, or a service that lives long would keep each.
        errors: Those of them, and of hooks, that nobody dealt with, in the order of time: what `run()` raises.
        unhandled: Failures that no `on_exception` hook has been asked about.
    """

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.outcomes: list[tuple[Any, ...]] = []
        self.failures: deque[Failure] = deque(maxlen=_KEPT)
        self.errors: list[BaseException] = []
        self.unhandled: deque[Failure] = deque()

    def knows(self, error: BaseException) -> bool:
        """Whether this very exception was told before: several ways may lead here, and it is told once."""
        return any(failure.exception is error for failure in self.failures)

    def report(self, cause: Cause, took: float, raised: BaseException | None) -> Callable[[], Report]:
        """All of it, as it is now; made into a fact to keep when somebody asks for the first time, for most never do."""
        status, causes, failures = exit_status(raised), tuple(self.causes), tuple(self.failures)
        entries, shorten = tuple(self.outcomes), shortener()  # that of now: the working directory may change

        def told(where: CodeType | str | None) -> str:
            return where if isinstance(where, str) else place(where, shorten)

        @functools.cache
        def report() -> Report:
            outcomes = tuple(Outcome(hook, verdict, told(where), *more) for hook, verdict, where, *more in entries)
            return Report(cause, causes, outcomes, failures, took, status)

        return report
