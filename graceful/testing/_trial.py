"""
One run of the explorer, with the faults of a schedule, and what does not hold in it.

What is left behind in reference cycles shows only when these are collected, which takes as long as a run. So runs come in
groups: there is one collection for each, and a group that left something behind is run again, with one after each run.

A run that leaves something behind is run again in any case, and only the second time counts. A program may open something
once for the whole process, such as a pool of threads in a module, and each of its runs may be the first.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import textwrap
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from graceful._app import App
from graceful._core.types import describe
from graceful.testing._checks import unsound, violations
from graceful.testing._injection import Injection, shutdown_hooks, startup_hooks
from graceful.testing._remains import destroy_remains
from graceful.testing._result import KILLED, Result
from graceful.testing._schedule import Fault, Schedule
from graceful.testing._simulate import MOST_STEPS, Entrance, Main, Simulation

__all__ = ["Check", "Make", "Trial", "Trials", "Violation"]

Make: TypeAlias = Callable[[], Any]
Check: TypeAlias = Callable[[Result], object]

_GROUP = 10

#: Virtual seconds after the signal and the grace in which a run must have ended, since the owner of a loop sets no limit.
_LONGEST = 3600
#: Steps beyond ten times those that the program takes without a fault, after which a run does not end.
_MORE_STEPS = 100_000


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
        startups: How many startup hooks and resources there are before it begins.
        hooks: How many shutdown hooks and resources there are before it begins.
        where: Where the program was at the first fault; empty: nowhere that can be named.
        killed: Whether SIGKILL has ended it: then the system closes what is open.
        violation: What does not hold; `None`: everything does.
        leaves: Whether it has left something behind.
        sound: Whether the program works, as far as a run without a fault can tell.
        timeline: What happened, a line each, where that was asked for.
    """

    schedule: Schedule
    steps: int
    startups: int
    hooks: int
    where: str
    killed: bool
    violation: Violation | None
    leaves: bool = False
    sound: bool = True
    timeline: str = field(default="", repr=False)

    @property
    def works(self) -> bool:
        """Of a run without a fault: whether something can be learned with one."""
        return self.sound and not self.leaves


class Trials:
    """
    Args:
        make: As for `explore`, like the others.
        check: What the user wants to hold; `None`: nothing besides what always must.
        entrance: How the app is entered.
        until: Virtual seconds after which a program that still runs is sent SIGTERM.
        expected: The schedules whose faults must happen: it is a violation if a run does not come so far.
    """

    def __init__(
        self, make: Make, check: Check | None, entrance: Entrance, until: float, expected: Iterable[Schedule] = ()
    ) -> None:
        self._make = make
        self._check = check
        self._entrance: Entrance = entrance
        self._until = until
        self._expected = frozenset(expected)
        self._most_steps = MOST_STEPS
        self._hooks: WeakKeyDictionary[App, int] = WeakKeyDictionary()
        self._stopped = mmap.mmap(-1, 1)  # one byte, which forked processes share

    def stop(self) -> None:
        """No further run begins, in this process or in one that was forked."""
        self._stopped[0] = 1

    def expect_steps(self, steps: int) -> None:
        """The program takes so many without a fault; far more with one are an error."""
        self._most_steps = min(MOST_STEPS, 10 * steps + _MORE_STEPS)

    def run_all(self, schedules: Sequence[Schedule]) -> Iterator[Trial]:
        """Run them one after the other, in this thread."""
        for start in range(0, len(schedules), _GROUP):
            group = schedules[start : start + _GROUP]
            with _leftovers() as left:
                trials = [self._run(each) for each in group]
            again = bool(left) and not all(each.killed for each in trials)
            yield from (self._judge(each.schedule) if again or each.leaves else each for each in trials)

    def run(self, schedule: Schedule) -> Trial:
        """Run one, and see what it leaves behind."""
        trial = self._judge(schedule)
        return self._judge(schedule) if trial.leaves else trial

    def _judge(self, schedule: Schedule) -> Trial:
        with _leftovers() as left:
            trial = self._run(schedule, with_timeline=True)
        if not left or trial.killed:
            return trial
        before = () if trial.violation is None else trial.violation.messages
        story = _story(schedule, trial.where, trial.steps)
        violation = Violation(schedule.token, story, (*before, *left), trial.timeline)
        return replace(trial, violation=violation, leaves=True)

    def _run(self, schedule: Schedule, *, with_timeline: bool = False) -> Trial:
        if self._stopped[0]:
            raise KeyboardInterrupt
        app, main, state = _made(self._make())
        hooks = [*app._hooks()]
        self._check_hooks(app, len(hooks))
        counts = len(startup_hooks(app)), len(shutdown_hooks(app))
        injection = Injection(schedule, app, self._entrance)
        until = self._until + app._settings.grace + _LONGEST
        simulation = Simulation(
            app, main, [(self._until, signal.SIGTERM)], self._entrance, injection.on_step, until, self._most_steps
        )
        try:
            result = simulation.run(state)
            messages = [*unsound(result)] if not schedule.faults else []
            sound = not messages and not simulation.stuck
            if simulation.stuck:
                messages = [simulation.stuck]
            else:
                late = [hook for hook in app._hooks() if hook not in hooks]
                messages += violations(result, hooks, app._settings.grace, injection, late)
                messages += _checked(self._check, result)
                messages += injection.missed(result.steps) if schedule in self._expected else ()
        finally:
            injection.restore()
        violation = None
        timeline = result.timeline() if messages or with_timeline else ""
        if messages:
            story = _story(schedule, injection.where, result.steps)
            violation = Violation(schedule.token, story, tuple(messages), timeline)
        killed = result.exit_status == KILLED
        return Trial(
            schedule, result.steps, *counts, injection.where, killed, violation, bool(result.left), sound, timeline
        )

    def _check_hooks(self, app: App, count: int) -> None:
        if self._hooks.setdefault(app, count) != count:
            raise ValueError(
                f"make() has returned an App that has run before, and that has more hooks since then ({count} and not "
                f"{self._hooks[app]}): it must create a new App for each run"
            )


@contextlib.contextmanager
def _leftovers() -> Generator[list[str]]:
    """What is left behind in this block, a line each, once it is over: what was not closed or not awaited."""
    left: list[str] = []
    before = _descriptors()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield left
        gc.collect()
        destroy_remains()
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # such as what pytest.fail() and sys.exit() raise
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
