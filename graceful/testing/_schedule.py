"""What goes wrong in a run, and when: schedules of faults, and the tokens that name them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from typing_extensions import override

__all__ = ["HOOK_FAULTS", "SHUTDOWN_FAULTS", "STEP_FAULTS", "Fault", "Schedule", "all_schedules", "schedules"]


class Fault(StrEnum):
    """
    What can go wrong. Those of a hook happen in the hook, when it has done its work; all others before a step of the loop.

    A SIGINT that comes after another one is a person who presses Ctrl-C again, 0.6 s later, or after a shorter grace.

    SIGKILL stands for whatever ends a process without a shutdown: the out-of-memory killer, a node that is gone. No `finally` and
    no hook runs, and only `check` is asked. It is tried where `faults` names it, because `state` must then stand for what survives
    the process, and a queue in memory does not.
    """

    SIGTERM = "SIGTERM"
    SIGINT = "SIGINT"
    SIGKILL = "SIGKILL"
    STOP = "stop"
    SUPERVISED_TASK_FAILS = "supervised-task-fails"
    TASK_FAILS = "task-fails"
    CALLBACK_FAILS = "callback-fails"
    MAIN_CANCELLED = "main-cancelled"
    STARTUP_FAILS = "startup-fails"
    HOOK_RAISES = "hook-raises"
    HOOK_HANGS = "hook-hangs"
    HOOK_SWALLOWS = "hook-swallows"
    HOOK_BLOCKS = "hook-blocks"


#: Before each startup hook and resource, in the order of registration.
STARTUP_FAULTS = (Fault.STARTUP_FAILS,)
#: In each shutdown hook and resource, in the order of registration.
HOOK_FAULTS = (Fault.HOOK_RAISES, Fault.HOOK_HANGS, Fault.HOOK_SWALLOWS, Fault.HOOK_BLOCKS)
STEP_FAULTS = tuple(fault for fault in Fault if fault not in (*HOOK_FAULTS, *STARTUP_FAULTS))
#: Those that a program can answer by a shutdown.
SHUTDOWN_FAULTS = tuple(fault for fault in Fault if fault is not Fault.SIGKILL)

#: The token of a run without faults.
_NO_FAULT = "none"


@dataclass(frozen=True, order=True)
class Schedule:
    """
    Faults, each with its place.

    Attributes:
        faults: Pairs of a fault and a number, counted from 1: of the step of the loop that it comes before; of a hook's
            fault that of the hook, in the order of registration.
    """

    faults: tuple[tuple[Fault, int], ...] = ()

    @property
    def token(self) -> str:
        """One word that names it: `SIGINT@41+SIGINT@44`; `none` without faults."""
        return "+".join(f"{fault}@{place}" for fault, place in self.faults) or _NO_FAULT

    @override
    def __str__(self) -> str:
        return self.token

    @classmethod
    def parse(cls, token: str) -> Schedule:
        """
        Args:
            token: As `token` gives it.

        Raises:
            ValueError: It names no schedule.
        """
        if token == _NO_FAULT:
            return cls()
        try:
            pairs = [part.rsplit("@", 1) for part in token.split("+")]
            faults = tuple((Fault(fault), int(place)) for fault, place in pairs)
        except ValueError:
            names = ", ".join(Fault)
            raise ValueError(
                f"{token!r} is not a token such as SIGTERM@41 or SIGINT@41+SIGINT@44; the faults are {names}"
            ) from None
        if any(place < 1 for _, place in faults):
            raise ValueError(f"{token!r} has a place below 1: steps and hooks are counted from 1")
        return cls(faults)

    def of_hooks(self) -> list[tuple[Fault, int]]:
        """Those of its faults that happen in a hook."""
        return [each for each in self.faults if each[0] not in STEP_FAULTS]

    def of_steps(self) -> list[tuple[Fault, int]]:
        """Those that happen before a step, in the order of the steps."""
        return sorted((each for each in self.faults if each[0] in STEP_FAULTS), key=lambda each: each[1])


def all_schedules(
    faults: Sequence[Fault], steps: int, startups: int, hooks: int, *, pairs: int, seed: int, most_steps: int
) -> list[Schedule]:
    """
    Each fault at each of its places; then SIGINT with another one; then pairs of different faults.

    Args:
        faults: The faults to try.
        steps: How many steps the loop takes without a fault.
        startups: How many startup hooks and resources there are.
        hooks: How many shutdown hooks and resources there are.
        pairs: How many schedules of two faults there are at most, beside as many of two SIGINT; chosen at random.
        seed: Decides what random means.
        most_steps: Of more steps than that, so many are tried, at even distances.
    """
    distance = max(1, -(-steps // most_steps))
    places = range(1, steps + 1, distance)
    singles = [Schedule(((fault, place),)) for fault in faults for place in _places(fault, places, startups, hooks)]
    chance = random.Random(seed)  # noqa: S311 - no cryptography
    return [*singles, *_second_presses(faults, places, pairs, chance), *_pairs(singles, pairs, chance)]


def _places(fault: Fault, steps: Iterable[int], startups: int, hooks: int) -> Iterable[int]:
    if fault in STARTUP_FAULTS:
        return range(1, startups + 1)
    return range(1, hooks + 1) if fault in HOOK_FAULTS else steps


def _second_presses(faults: Sequence[Fault], places: range, most: int, chance: random.Random) -> list[Schedule]:
    if Fault.SIGINT not in faults:
        return []
    both = [(first, first + later) for first in places for later in (1, 2, 3, 5, 8, 13, 21)]
    chosen = both if len(both) <= most else sorted(chance.sample(both, most))
    return [Schedule(((Fault.SIGINT, first), (Fault.SIGINT, second))) for first, second in chosen]


def _pairs(singles: Sequence[Schedule], most: int, chance: random.Random) -> list[Schedule]:
    drawn = ((chance.choice(singles), chance.choice(singles)) for _ in itertools.count()) if len(singles) > 1 else ()
    chosen: dict[Schedule, None] = {}
    for one, other in itertools.islice(drawn, 4 * most):
        pair = Schedule(tuple(sorted((*one.faults, *other.faults))))
        if one != other and len(chosen) < most and not _is_killed_first(pair):
            chosen[pair] = None
    return [*chosen]


def _is_killed_first(pair: Schedule) -> bool:
    """Whether nothing can come of its other fault."""
    of_steps = pair.of_steps()
    return len(of_steps) > 1 and of_steps[0][0] is Fault.SIGKILL


def schedules(
    *, steps: int = 200, hooks: int = 5, most_faults: int = 3, faults: Iterable[Fault] = SHUTDOWN_FAULTS
) -> Any:
    """
    A strategy for hypothesis: schedules of one fault or several, for `explore(make, only=[schedule])`.

    Args:
        steps: The highest step. A fault at a step that a run does not reach does not happen.
        hooks: The highest number of a hook.
        most_faults: How many faults a schedule has at most.
        faults: The faults that may occur; by default all but SIGKILL.
    """
    from hypothesis import strategies as st

    chosen = [Fault(each) for each in faults]
    place = st.sampled_from(chosen).flatmap(
        lambda fault: st.tuples(st.just(fault), st.integers(1, steps if fault in STEP_FAULTS else hooks))
    )
    several = st.lists(place, min_size=1, max_size=most_faults, unique=True)
    return several.map(lambda each: Schedule(tuple(sorted(each))))
