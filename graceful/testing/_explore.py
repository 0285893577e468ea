"""
`explore`: run an app once for each step of its loop, with a fault before that step, and check what must hold.

The run without a fault counts the steps. Everything is in virtual time and in this process, so a run takes a millisecond
or two. A run is repeated exactly by its token, as long as the program itself does the same each time.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from graceful._core import clock
from graceful._hooks.hook import described
from graceful._observe.log import silence
from graceful.testing._schedule import SHUTDOWN_FAULTS, Fault, Schedule, all_schedules
from graceful.testing._simulate import Entrance, check_entrance, checked_time, in_thread
from graceful.testing._trial import Check, Make, Trial, Trials, Violation

__all__ = ["Exploration", "explore"]


@dataclass(frozen=True)
class Exploration:
    """
    What came of all runs.

    Attributes:
        runs: How many there were.
        steps: How many steps the loop takes without a fault.
        violations: What does not hold: of each kind the one with the fewest faults and the earliest step.
        failed: How many runs had a violation.
        places: Where the program was when a fault came, with the number of faults: how much of it was tried.
        seconds: How long it took, in real time.
    """

    runs: int
    steps: int
    violations: tuple[Violation, ...]
    failed: int
    places: dict[str, int] = field(repr=False)
    seconds: float = 0.0

    def text(self) -> str:
        """A summary, and each violation as a story."""
        speed = f", {self.runs / self.seconds:.0f} a second" if self.seconds else ""
        lines = [f"{self.runs} runs of {self.steps} steps{speed}; {self.failed} with a violation"]
        lines += [each.text() for each in self.violations]
        lines += ["faults fell where:", *(f"  {count:5} {place}" for place, count in sorted(self.places.items()))]
        return "\n".join(lines)

    def assert_ok(self) -> None:
        """
        Raises:
            AssertionError: There is a violation; with its story.
        """
        if self.violations:
            stories = "\n\n".join(each.text() for each in self.violations)
            raise AssertionError(f"{self.failed} of {self.runs} runs failed\n\n{stories}")


def explore(
    make: Make,
    *,
    faults: Iterable[Fault] = SHUTDOWN_FAULTS,
    check: Check | None = None,
    entrance: Entrance = "run",
    until: float = 10.0,
    pairs: int = 200,
    seed: int = 0,
    most_steps: int = 2000,
    only: Iterable[Schedule | str] | None = None,
    processes: int = 1,
) -> Exploration:
    """
    Find out whether a program ends well, whatever happens at whichever step.

    Without a fault it must work: it is a violation if it then raises anything but `SystemExit` with status 0, or the
    `Interrupted` of the signal that `until` sends, if a hook fails, or if it leaves something behind. Nothing else is tried
    then.

    What a run leaves behind is a violation if the same run leaves it behind again, and not if it was opened once for the
    whole process.

    Args:
        make: Makes a new program for each run: creates an app, and returns it, or `(app, main)`, or `(app, main, state)`.
            `state` is for `check`: what stands for the world outside, such as a database.
        faults: What goes wrong; by default everything but SIGKILL. `faults=Fault` includes it.
        check: Called with each `Result`, `state` among its attributes. What it raises, `False`, or a text that it returns
            is a violation. It may be called for the same schedule again, with a new `state`.
        entrance: As for `simulate`.
        until: Virtual seconds after which a program that still runs is sent SIGTERM.
        pairs: How many schedules of two faults are tried besides, and how many of a Ctrl-C that is pressed again.
        seed: Decides which.
        most_steps: Of a program with more steps, so many are tried, at even distances.
        only: Schedules, or their tokens: only these are run; `None`: all that there are. It is a violation if a run does
            not come to the fault that a token names.
        processes: In how many processes; needs `fork`.

    Returns:
        What came of it; `assert_ok()` raises if there is a violation.

    Raises:
        TypeError: `make` returns something else, or an argument is of the wrong type.
        ValueError: There is no such token, fault or entrance; a number is too small; `make` returns an app that has run
            before, and that has more hooks since then.
    """
    check_entrance(entrance)
    if inspect.iscoroutinefunction(check):
        raise TypeError(f"check= is called and not awaited, got the coroutine function {described(check)}: write `def`")
    for name, value, least in (("pairs", pairs, 0), ("most_steps", most_steps, 1), ("processes", processes, 1)):
        _check_count(name, value, least)
    tried = [Fault(each) for each in _listed("faults", faults, "[Fault.SIGTERM]")]
    chosen, expected = (None, []) if only is None else _parsed(_listed("only", only, '["SIGTERM@41"]'))
    trials = Trials(make, check, entrance, checked_time(until, "until= is"), expected)
    began_at = clock.real()
    with silence(), warnings.catch_warnings(), _frozen():
        base = in_thread(lambda: trials.run(Schedule()), trials.stop)
        trials.expect_steps(base.steps)
        if not base.works:
            chosen = []
        elif chosen is None:
            counts = base.steps, base.startups, base.hooks
            chosen = all_schedules(tried, *counts, pairs=pairs, seed=seed, most_steps=most_steps)
        ran = [*([base] if only is None or not base.works else []), *_run_all(trials, chosen, processes)]
        smallest = tuple(_smallest(trials, ran))
    failed = sum(each.violation is not None for each in ran)
    places = Counter(each.where for each in ran if each.where)
    return Exploration(len(ran), base.steps, smallest, failed, dict(places), clock.real() - began_at)


# --- its arguments -----------------------------------------------------------------------------------------------------


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}= is a whole number, got {value!r}: write {name}={least} or more")
    if value < least:
        raise ValueError(f"{name}= is at least {least}, got {value!r}: write {name}={least} or more")


def _listed(name: str, values: Any, example: str) -> list[Any]:
    if isinstance(values, (str, Schedule)) or not isinstance(values, Iterable):
        raise TypeError(f"{name}= is a list, got {values!r}: write {name}={example}")
    return [*values]  # pyright: ignore[reportUnknownVariableType]


def _parsed(only: list[Schedule | str]) -> tuple[list[Schedule], list[Schedule]]:
    """The schedules; and those of them that were given as tokens, so that somebody expects their faults to happen."""
    chosen = [each if isinstance(each, Schedule) else Schedule.parse(each) for each in only]
    return chosen, [parsed for parsed, given in zip(chosen, only, strict=True) if not isinstance(given, Schedule)]


# --- the runs ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _frozen() -> Generator[None]:
    """Hide all objects from the collector, which would look through the whole heap of the test again and again."""
    gc.collect()
    ours = not gc.get_freeze_count()  # or what the program has frozen would come back
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


def _run_all(trials: Trials, schedules: Sequence[Schedule], processes: int) -> list[Trial]:
    progress = _Progress(len(schedules))
    try:
        if processes == 1 or len(schedules) < 2 * processes:
            return in_thread(lambda: [progress.passed(each) for each in trials.run_all(schedules)], trials.stop)
        return _run_in_processes(trials, schedules, processes, progress)
    finally:
        progress.end()


def _run_in_processes(
    trials: Trials, schedules: Sequence[Schedule], processes: int, progress: _Progress
) -> list[Trial]:
    _forked_with.append(trials)  # a forked process has it: `make` need not be picklable
    # Where other threads run, Python warns that they may hold locks; what is forked here runs simulations only.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
            size = max(1, len(schedules) // (8 * processes))
            chunks = [schedules[start : start + size] for start in range(0, len(schedules), size)]
            try:
                return [progress.passed(each) for ran in pool.map(_run_in_process, chunks) for each in ran]
            except BaseException:
                trials.stop()  # or the pool would wait for what is under way
                raise
    finally:
        _forked_with.pop()


_forked_with: list[Trials] = []


def _run_in_process(schedules: Sequence[Schedule]) -> list[Trial]:
    trials = _forked_with[-1]
    return in_thread(lambda: [*trials.run_all(schedules)], trials.stop)


# --- the smallest of each kind -----------------------------------------------------------------------------------------


def _smallest(trials: Trials, ran: Sequence[Trial]) -> Iterator[Violation]:
    """Of each kind of violation the one with the fewest faults and the earliest steps; pairs are shrunk by trying."""
    bad = sorted((each for each in ran if each.violation is not None), key=lambda each: _size(each.schedule))
    kinds: set[str] = set()
    for each in bad:
        assert each.violation is not None
        kind = _kind(each.violation)
        if kind not in kinds:
            kinds.add(kind)
            yield each.violation if len(each.schedule.faults) < 2 else _shrink(trials, each.schedule, each.violation)


def _size(schedule: Schedule) -> tuple[int, int]:
    return len(schedule.faults), sum(place for _, place in schedule.faults)


def _kind(violation: Violation) -> str:
    """Violations of one kind have the same first message, but for numbers and addresses."""
    return "".join(each for each in violation.messages[0] if not each.isdigit())[:200]


def _shrink(trials: Trials, schedule: Schedule, violation: Violation) -> Violation:
    tried = {schedule}
    while True:
        for smaller in _smaller(schedule):
            if smaller not in tried:
                tried.add(smaller)
                found = in_thread(functools.partial(trials.run, smaller), trials.stop).violation
                if found is not None and _kind(found) == _kind(violation):
                    schedule, violation = smaller, found
                    break
        else:
            return violation


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Without one of its faults; then with one of them earlier: as early as possible first."""
    faults = schedule.faults
    for index, (fault, place) in enumerate(faults):
        rest = faults[:index], faults[index + 1 :]
        yield Schedule((*rest[0], *rest[1]))
        step = place - 1
        while step > 0:
            yield Schedule(tuple(sorted((*rest[0], (fault, place - step), *rest[1]))))
            step //= 2


class _Progress:
    """A line on a terminal."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = self._bad = 0
        self._shown_at = clock.real()
        self._on = sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]

    def passed(self, tried: Trial) -> Trial:
        """One more is done."""
        self._done += 1
        self._bad += tried.violation is not None
        if self._on and clock.real() - self._shown_at > 0.2:
            self._shown_at = clock.real()
            sys.stderr.write(f"\rexploring: {self._done} of {self._count} runs, {self._bad} with a violation ")
            sys.stderr.flush()
        return tried

    def end(self) -> None:
        """Clear the line."""
        if self._on:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
