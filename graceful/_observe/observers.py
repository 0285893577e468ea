"""
Telling observers what happens: each is called in turn, in the thread of the run, and cannot cost a hook its turn.

What an observer raises is logged and reported, and it is not called again. One that blocks the loop is unblocked like any
other code, and not called again either. So the price of a broken observer is paid once.

Events are told where the run gets to, in its loop, not in the signal handlers that begin them: an observer may do what a
signal handler must not. `Event.at` is the time of what happened all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from graceful._core import clock
from graceful._core.marks import calls_user_code
from graceful._core.types import Event, EventKind

__all__ = ["Observer", "Observers"]

Observer: TypeAlias = Callable[[Event], object]


class Observers:
    """
    Args:
        app: What the app is called.
        observers: Those that are told. The list may grow while the app runs.
        on_error: Called with an observer, which is not told any more, and what it raised.
    """

    def __init__(
        self, app: str, observers: list[Observer], on_error: Callable[[Observer, BaseException], None]
    ) -> None:
        self._app = app
        self._observers = observers
        self._on_error = on_error
        self._dropped: list[Observer] = []  # no set: an observer need not be hashable
        self._first: list[Observer] = []

    def add_first(self, observer: Observer) -> None:
        """One of the run's own, told before the others."""
        self._first.append(observer)

    @property
    def listening(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._observers or self._first)

    def tell(self, kind: EventKind, *, at: float | None = None, **fields: Any) -> None:
        """
        Tell that something happened; without observers this does nothing.

        Args:
            kind: What happened.
            at: When, on the clock; `None`: now.
            fields: Further attributes of the `Event`.
        """
        if not self._observers and not self._first:
            return
        event = Event(kind, clock.now() if at is None else at, self._app, **fields)
        for observer in [*self._first, *self._observers]:
            if not any(observer is each for each in self._dropped):
                self._call(observer, event)

    @calls_user_code
    def _call(self, observer: Observer, event: Event) -> None:
        try:
            observer(event)
        except BaseException as error:  # also what is raised to unblock it, and `sys.exit()`, which is passed on
            self._dropped.append(observer)
            self._on_error(observer, error)
