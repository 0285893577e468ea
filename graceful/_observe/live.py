"""
The live view: on a terminal, what a shutdown is doing, ten times a second, in its bottom lines.

It is an observer: events tell it about stages and hooks, and what runs it asks for with each frame. The frames are timers
of the loop. So a loop that is blocked freezes the view, and the next frame says for how long; a thread would paint on, and
would have to look into a loop that runs.

rich takes 30 ms to import, so that is done in a thread: a hook must not wait for it. A frame takes about 2 ms; where it
takes longer, as with 100,000 tasks, there are fewer, so that the view never has more than a twentieth of the time.

Nothing that goes wrong here is told: without a view there are the plain lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.types import Event, EventKind, Verdict
from graceful._observe.bottom_lines import BottomLines
from graceful._observe.live_state import ListRows, Snapshot, Step
from graceful._observe.log import log
from graceful._process.after_run import start_thread
from graceful._process.unblock import Unblocked

__all__ = ["LiveView"]

#: Seconds between two frames, and how many times as long as a frame took at least.
_EVERY, _PACE = 0.1, 20

#: Seconds between two frames by which they are late if the loop is blocked, and for which that is told.
_BLOCKED, _TOLD = 0.5, 3.0

#: Seconds between two looks at a terminal that cannot be painted on, because it is too small, or another app has it.
_AGAIN = 0.5

#: Seconds after which the shutdown was a long one, and its end a warning, as in the plain lines.
_LONG = 2.0

#: The lines of the picture for what runs, at first, and the others.
_ROWS, _OTHER_LINES = 2, 3

#: The stages that a shutdown always has.
_STAGES = ("drain", "cancel", "cleanup", "finish")

_COUNTED = {Verdict.RAISED, Verdict.TIMED_OUT}


class LiveView:
    """
    Told of each event from the announcement or the beginning of a shutdown on.

    Args:
        name: What the app is called.
        loop: The running loop.
        deadline: When everything must be over.
        totals: How many hooks there are in a stage, by its name.
        list_rows: Returns what a stage waits for, so many at most, and how many more there are.
        hint: Says what the next Ctrl-C does.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        deadline: Deadline,
        totals: dict[str, int],
        list_rows: ListRows,
        hint: Callable[[], str],
    ) -> None:
        self._name = name
        self._loop = loop
        self._deadline = deadline
        self._list_rows = list_rows
        self._hint = hint
        self._lines = BottomLines()
        self._steps = {
            stage: Step(stage, of=totals.get(stage, 0))
            for stage in (*_STAGES, *(["flush"] if totals.get("flush") else []))
        }
        self._step = Step("announced")
        self._failed = 0
        self._why = ""
        self._draw: Callable[..., list[str]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = self._blocked_until = 0.0
        self._blocked = 0.0
        self._rows = _ROWS
        self._closed = False

    def is_shown(self) -> bool:
        """Whether it is on the terminal now."""
        return self._lines.shown

    def __call__(self, event: Event) -> None:
        """An event has happened."""
        match event.kind:
            case EventKind.ANNOUNCED | EventKind.STOPPING:
                self._stop(event)
            case EventKind.STAGE_BEGAN if event.stage is not None:
                self._enter(event.stage, event.at)
            case EventKind.HOOK_ENDED if event.outcome is not None:
                self._count(event.outcome.stage, event.outcome.verdict)
            case EventKind.GAVE_UP:
                self._failed += 1
            case _:
                pass

    def begin(self) -> None:
        """Import what draws, in a thread unless it is there already, as soon as there is a terminal to draw on."""
        if "rich.console" in sys.modules:
            self._import()
            self._tick()
        elif self._lines.room() != (0, 0):
            self._lines.end()
            start_thread(self._import_in_thread)
        else:
            self._timer = self._loop.call_later(_AGAIN, self.begin)

    def close(self) -> None:
        """The run is over: give the terminal back, and leave one line that says so, if it is shown."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        was_shown = self._lines.shown
        self._lines.end()
        if was_shown and self._deadline.stopping:
            took = clock.now() - self._deadline.began_at
            level = logging.WARNING if took >= _LONG else logging.INFO
            log(level, f"{self._name} has shut down, after {took:.1f} s")

    # --- what is shown ---------------------------------------------------------------------------------------------

    def _stop(self, event: Event) -> None:
        if not self._why:
            self._step = dataclasses.replace(self._step, began_at=event.at)
        self._why = str(event.cause)

    def _enter(self, stage: str, at: float) -> None:
        if self._step.name in self._steps:
            self._steps[self._step.name] = dataclasses.replace(self._steps[self._step.name], ended_at=at)
        self._step = dataclasses.replace(self._steps.get(stage, Step(stage)), began_at=at)
        self._steps = self._steps if stage in self._steps else {stage: self._step, **self._steps}
        self._steps[stage] = self._step

    def _count(self, stage: str, verdict: Verdict) -> None:
        if verdict in _COUNTED:
            self._failed += 1
        if (step := self._steps.get(stage)) is not None:
            self._steps[stage] = dataclasses.replace(step, done=step.done + 1, of=max(step.of, step.done + 1))

    def _snapshot(self, rows: int) -> Snapshot:
        now = clock.now()
        running, more = self._list_rows(self._step, rows)
        stopping = self._deadline.stopping
        what = "is shutting down" if stopping else "was told that the process stops"
        return Snapshot(
            title=f"{self._name} {what} ({self._why})",
            now=now,
            began_at=self._deadline.began_at if stopping else self._step.began_at or now,
            until=self._deadline.at,
            steps=tuple(each for each in self._steps.values() if each.name in _STAGES or each.done),
            running=tuple(running),
            more=more,
            failed=self._failed,
            hint=self._hint(),
            blocked=self._blocked if now < self._blocked_until else 0.0,
        )

    # --- frames ----------------------------------------------------------------------------------------------------

    def _import_in_thread(self) -> None:
        self._import()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tick)

    def _import(self) -> None:
        with contextlib.suppress(Exception):  # rich is not installed, or broken
            from graceful._observe.live_picture import drawn  # here, because it imports rich

            self._draw = drawn

    def _next(self, seconds: float) -> None:
        self._due_at = clock.now() + seconds
        self._timer = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        if self._closed or self._draw is None:
            return
        began = clock.now()
        if self._due_at and began - self._due_at > _BLOCKED:
            self._blocked, self._blocked_until = began - self._due_at, began + _TOLD
        try:
            self._frame(*self._lines.room())
        except Unblocked as error:  # the loop was late, and this is what it was late with
            error.tell_once()
        except Exception:
            self._lines.end()
            return
        self._next(max(_EVERY, (clock.now() - began) * _PACE))

    def _frame(self, width: int, height: int) -> None:
        if width and self._draw is not None:
            state = self._snapshot(height - _OTHER_LINES)
            self._rows = min(max(self._rows, len(state.running)), height - _OTHER_LINES)
            encoding = str(getattr(sys.__stderr__, "encoding", ""))
            unicode = encoding.lower().startswith("utf")
            self._lines.paint(self._draw(state, width, rows=self._rows, unicode=unicode))
