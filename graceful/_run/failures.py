"""The failures of a run: those that `on_exception` hooks are still to be asked about, and those that `run()` raises."""

from __future__ import annotations

from collections import deque

from graceful._core.types import Failure, shown_with
from graceful._observe.journal import Journal

__all__ = ["Failures"]

#: How many of the last exceptions are known again.
_KEPT = 100


class Failures:
    """
    Args:
        journal: Where the last failures are kept for the report.

    Attributes:
        errors: The exceptions, of failures and of hooks, that nobody dealt with, in the order of time.
    """

    def __init__(self, journal: Journal) -> None:
        self._pending: deque[Failure] = deque()
        self._main_error: BaseException | None = None
        self._undecided: dict[int, BaseException] = {}
        self._shown: set[int] = set()
        self.errors: list[BaseException] = []
        self._known: deque[BaseException] = deque(maxlen=_KEPT)
        self._settled: deque[BaseException] = deque(maxlen=_KEPT)
        self._journal = journal

    def knows(self, error: BaseException) -> bool:
        """Whether this very exception is among the last ones: it may arrive in several ways, and counts once."""
        return any(each is error for each in self._known)

    def dealt_with(self, error: BaseException) -> None:
        """
        It is over and done with. If another task fails with it, that is another failure.

        A client that has lost its connection may keep one exception, and raise that from each call, as
        `asyncio.StreamReader` does.
        """
        self._known = deque((each for each in self._known if each is not error), maxlen=_KEPT)
        self._undecided.pop(id(error), None)
        self._settled.append(error)

    def is_undecided(self, error: BaseException) -> bool:
        """Whether `on_exception` hooks are still to be asked about it, or are asked right now."""
        return id(error) in self._undecided

    def has_seen(self, error: BaseException) -> bool:
        """Whether it is among the last ones, or was dealt with: code that awaits a failed task raises its exception again."""
        return self.knows(error) or any(each is error for each in self._settled)

    def record(self, failure: Failure, *, ask: bool) -> None:
        """Keep a failure. `ask`: the `on_exception` hooks are asked about it; else it is raised in any case."""
        self._journal.add_failure(failure)
        self._known.append(failure.exception)
        if ask:
            self._pending.append(failure)
            self._undecided[id(failure.exception)] = failure.exception
        else:
            self.add_error(failure.exception)

    def add_error(self, *errors: BaseException) -> None:
        """Keep exceptions to be raised."""
        for error in errors:
            self._undecided.pop(id(error), None)
            if error is self._main_error:
                self._add_main_error(error)
            elif id(error) not in self._shown:
                self.errors.append(error)

    def _add_main_error(self, error: BaseException) -> None:
        self._shown = {id(each) for each in shown_with(error)}
        places = [place for place, each in enumerate(self.errors) if id(each) in self._shown]
        rest = [each for each in self.errors if id(each) not in self._shown]
        rest.insert(places[0] if places else len(rest), error)  # where the first of those was
        self.errors = rest

    def main_fails(self, error: BaseException) -> None:
        """
        Main is about to fail with this. It takes the place of failures that its traceback shows.

        Main has awaited a task that has failed, and raises an error of its own from that one, or a group with it.
        """
        self._main_error = error

    def next_pending(self) -> Failure | None:
        """The next failure that no `on_exception` hook has been asked about; it counts as asked from now on."""
        return self._pending.popleft() if self._pending else None

    def record_harmless(self, failure: Failure) -> None:
        """
        For the report only: it is no failure of the program, but of one connection of many, for example.

        It is not known from then on: main may await the same connection, and has failed if that raises the exception again.
        """
        self._journal.add_failure(failure)
