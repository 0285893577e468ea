"""The live view of one run: whether there is one, and what the next Ctrl-C does, which it shows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from graceful._core.deadline import Deadline
from graceful._core.settings import Settings, live_view_wanted
from graceful._core.types import Event, EventKind
from graceful._hooks.hook_set import HookSet
from graceful._observe.log import is_quiet, is_terminal
from graceful._observe.observers import Observers
from graceful._run.dispatcher import Dispatcher
from graceful._run.process_guard import ProcessGuard, simulated_guards

if TYPE_CHECKING:  # or each program would load what only the live view needs
    from graceful._observe.live_state import ListRows

__all__ = ["View"]

#: Seconds of a shutdown before anything is shown.
_QUIET = 0.25


class View:
    """
    An observer that makes the view a moment after the shutdown was announced or has begun, and tells it what happens.

    One that is over by then shows nothing, and costs nothing.

    Args:
        loop: The running loop.
        settings: What the app was made with.
        deadline: When everything must be over.
        hooks: All hooks.
        dispatcher: Knows what the next Ctrl-C does.
        guard: Knows whether Ctrl-C is ours.
        make_rows: Returns the function that lists what a stage waits for, `LiveRows.rows`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        deadline: Deadline,
        hooks: HookSet,
        dispatcher: Dispatcher,
        guard: ProcessGuard,
        make_rows: Callable[[], ListRows],
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._deadline = deadline
        self._hooks = hooks
        self._dispatcher = dispatcher
        self._guard = guard
        self._make_rows = make_rows
        self._tell: Callable[[Event], object] | None = None
        self._early: list[Event] = []
        self._close: Callable[[], None] = lambda: None
        self._is_shown: Callable[[], bool] = lambda: False

    def is_shown(self) -> bool:
        """Whether it is on the terminal now, so that a line which says the same is not needed."""
        return self._is_shown()

    @contextlib.contextmanager
    def told(self, observers: Observers) -> Generator[None]:
        """Show what happens in the block, if stderr is a terminal; a simulation is not shown."""
        if simulated_guards.get() or not live_view_wanted() or not is_terminal():
            yield
            return
        observers.add_first(self)
        try:
            yield
        finally:
            self._close()

    def __call__(self, event: Event) -> None:
        """An event has happened."""
        if self._tell is None and event.kind in (EventKind.ANNOUNCED, EventKind.STOPPING) and not is_quiet():
            self._tell, self._close = self._early.append, self._loop.call_later(_QUIET, self._make).cancel
        if self._tell is not None:
            self._tell(event)

    def _make(self) -> None:
        from graceful._observe.live import LiveView  # here, because it is needed only on a terminal, and only now

        view = LiveView(
            self._settings.name, self._loop, self._deadline, self._hooks.totals(), self._make_rows(), self._ctrl_c_hint
        )
        self._tell, self._close, self._is_shown = view, view.close, view.is_shown
        for event in self._early:
            view(event)
        view.begin()

    def _ctrl_c_hint(self) -> str:
        """What the next Ctrl-C does; empty where it is not ours, or does nothing."""
        if not self._deadline.stopping or not self._guard.has_ctrl_c():
            return ""
        if self._deadline.hurried:
            return "hurrying · press Ctrl-C again to end it at once"
        return "press Ctrl-C again to hurry" if self._dispatcher.interrupted else "press Ctrl-C twice to hurry"
