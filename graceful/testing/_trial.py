"""
One run of the explorer, with the faults of a schedule, and what does not hold in it.

What is left behind in reference cycles shows only when these are collected, which takes as long as a run. So runs come in
groups: there is one collection for each, and a group that left something behind is run again, with one after each run.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import textwrap
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from graceful._app import App
from graceful._core.types import describe
from graceful.testing._checks import violations
from graceful.testing._injection import Injection, shutdown_hooks, startup_hooks
from graceful.testing._result import KILLED, Result
from graceful.testing._schedule import Fault, Schedule
from graceful.testing._simulate import Entrance, Main, Simulation

__all__ = ["Check", "Make", "Trial", "Trials", "Violation"]

Make: TypeAlias = Callable[[], Any]
Check: TypeAlias = Callable[[Result], object]

_GROUP = 10


@dataclass(frozen=True)
class Violation:
    """
    Something that does not hold in a run.

    Attributes:
        token: Names the schedule: `explore(make, only=[token])` runs it again.
        story: What happened, as a sentence.
        messages: What does not hold, one sentence each.
        timeline: What happened, a line each, with the virtual time.
    """

    token: str
    story: str
    messages: tuple[str, ...]
    timeline: str = field(repr=False)

    def text(self) -> str:
        """All of it."""
        messages, timeline = textwrap.indent("\n".join(self.messages), "  "), textwrap.indent(self.timeline, "    ")
        return f"{self.story}:\n{messages}\n  replay: {self.token}\n{timeline}"


@dataclass(frozen=True)
class Trial:
    """
    What came of one run, small enough to be sent to another process.

    Attributes:
        schedule: Its faults.
        steps: How many steps the loop took.
        startups: How many startup hooks and resources there are.
        hooks: How many shutdown hooks and resources there are.
        where: Where the program was at the first fault; empty: nowhere that can be named.
        killed: Whether SIGKILL has ended it: then the system closes what is open.
        violation: What does not hold; `None`: everything does.
    """

    schedule: Schedule
    steps: int
    startups: int
    hooks: int
    where: str
    killed: bool
    violation: Violation | None


class Trials:
    """
    Args:
        make: As for `explore`, like the others.
        check: What the user wants to hold; `None`: nothing besides what always must.
        entrance: How the app is entered.
        until: Virtual seconds after which a program that still runs is sent SIGTERM.
    """

    def __init__(self, make: Make, check: Check | None, entrance: Entrance, until: float) -> None:
        self._make = make
        self._check = check
        self._entrance: Entrance = entrance
        self._until = until

    def run_all(self, schedules: Sequence[Schedule]) -> Iterator[Trial]:
        """Run them one after the other, in this thread."""
        for start in range(0, len(schedules), _GROUP):
            group = schedules[start : start + _GROUP]
            with _leftovers() as left:
                trials = [self._run(each) for each in group]
            again = bool(left) and not all(each.killed for each in trials)
            yield from (self.run(each) for each in group) if again else trials

    def run(self, schedule: Schedule) -> Trial:
        """Run one, and see what it leaves behind."""
        with _leftovers() as left:
            trial = self._run(schedule)
        if not left or trial.killed:
            return trial
        before = () if trial.violation is None else trial.violation.messages
        timeline = "" if trial.violation is None else trial.violation.timeline
        story = _story(schedule, trial.where, trial.steps)
        return replace(trial, violation=Violation(schedule.token, story, (*before, *left), timeline))

    def _run(self, schedule: Schedule) -> Trial:
        app, main, state = _made(self._make())
        injection = Injection(schedule, app)
        hooks = [*app._hooks()]
        simulation = Simulation(app, main, [(self._until, signal.SIGTERM)], self._entrance, injection.on_step)
        try:
            result = simulation.run(state)
            messages = [*violations(result, hooks, app._settings.grace, injection.raised)]
            messages += _checked(self._check, result)
        finally:
            injection.restore()
        violation = None
        if messages:
            story = _story(schedule, injection.where, result.steps)
            violation = Violation(schedule.token, story, tuple(messages), result.timeline())
        counts = len(startup_hooks(app)), len(shutdown_hooks(app))
        return Trial(schedule, result.steps, *counts, injection.where, result.exit_status == KILLED, violation)


@contextlib.contextmanager
def _leftovers() -> Generator[list[str]]:
    """What is left behind in this block, a line each, once it is over: what was not closed or not awaited."""
    left: list[str] = []
    before = _descriptors()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield left
        gc.collect()
    left += _warned(warned)
    if (more := _descriptors() - before) > 0:
        left.append(f"left behind: {more} open file descriptors")


def _made(made: Any) -> tuple[App, Main, Any]:
    parts: list[Any] = [*made] if isinstance(made, tuple) else [made]  # pyright: ignore[reportUnknownArgumentType]
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], App):
        raise TypeError(f"make() must return an App, (app, main) or (app, main, state), got {made!r}")
    parts += [None] * (3 - len(parts))
    return parts[0], parts[1], parts[2]


def _checked(check: Check | None, result: Result) -> list[str]:
    if check is None:
        return []
    try:
        verdict = check(result)
    except AssertionError as error:  # pytest has written several lines
        return [f"check: {str(error).strip() or 'AssertionError'}"]
    except Exception as error:
        return [f"check: {describe(error)}"]
    if isinstance(verdict, str):
        return [verdict] if verdict else []
    return ["check returned False"] if verdict is False else []


def _warned(warned: Iterable[warnings.WarningMessage]) -> list[str]:
    """Those that say that something was not closed or not awaited."""
    return [
        f"{each.category.__name__}: {each.message}"
        for each in warned
        if issubclass(each.category, ResourceWarning) or "never awaited" in str(each.message)
    ]


def _descriptors() -> int:
    """How many there are; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


# --- telling it --------------------------------------------------------------------------------------------------------

_HAPPENED = {
    Fault.STOP: "app.stop()",
    Fault.SUPERVISED_TASK_FAILS: "a supervised task failed",
    Fault.TASK_FAILS: "a task failed",
    Fault.CALLBACK_FAILS: "a callback failed",
    Fault.MAIN_CANCELLED: "main was cancelled",
    Fault.STARTUP_FAILS: "startup hook number {} failed",
    Fault.HOOK_RAISES: "shutdown hook number {} raised",
    Fault.HOOK_HANGS: "shutdown hook number {} hung",
    Fault.HOOK_SWALLOWS: "shutdown hook number {} swallowed its cancellation",
    Fault.HOOK_BLOCKS: "shutdown hook number {} blocked",
}


def _story(schedule: Schedule, where: str, steps: int) -> str:
    if not schedule.faults:
        return f"no fault, {steps} steps"
    of_steps = schedule.of_steps()
    parts = [_HAPPENED[fault].format(place) for fault, place in schedule.of_hooks()]
    for number, (fault, place) in enumerate(of_steps):
        what = _HAPPENED.get(fault, fault.value)
        before = (
            f"the {_ordinal(place)} of {steps} steps, {what}" if number == 0 else f"{what} at the {_ordinal(place)}"
        )
        parts.append(before + (f" while {where}" if number == 0 and where else ""))
    return ", and ".join(parts)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
