"""What a buggy program consists of, and the checks that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graceful.testing import Fault, Result

SIGNALS = (Fault.SIGTERM, Fault.STOP)


@dataclass(frozen=True)
class Bug:
    """
    Attributes:
        program: Makes it: `program(mended)` returns what `explore` wants of its `make`.
        check: What must hold at the end of each run.
        says: A part of the message that names the bug.
        fell: A part of the story: where the fault fell that shows it; by default in the file of the program.
        faults: What is tried.
        pairs: How many pairs of faults are tried.
    """

    program: Callable[[bool], Any]
    check: Callable[[Result], object]
    says: str
    fell: str
    faults: tuple[Fault, ...]
    pairs: int

    def __str__(self) -> str:
        return self.program.__name__

    def make_buggy(self) -> Any:
        """The program with the bug."""
        return self.program(False)

    def make_mended(self) -> Any:
        """The program without it."""
        return self.program(True)


def collector() -> tuple[list[Bug], Callable[..., Any]]:
    """A list of bugs, and the decorator that adds a program to it."""
    bugs: list[Bug] = []

    def bug(check, *, says, fell=None, faults=SIGNALS, pairs=0):
        def add(program):
            place = f"{program.__module__.rpartition('.')[2]}.py:" if fell is None else fell
            bugs.append(Bug(program, check, says, place, tuple(faults), pairs))
            return program

        return add

    return bugs, bug


def nothing_lost(result: Result) -> str:
    """What the sender was told is safe, has been written."""
    lost = [number for number in result.state.acked if number not in result.state.written]
    return f"acknowledged, and never written: {lost}" if lost else ""


def nothing_open(result: Result) -> str:
    """What was opened is closed."""
    return f"never closed: {', '.join(sorted(result.state.open))}" if result.state.open else ""


def nothing_broken(result: Result) -> str:
    """Nothing was used after its end."""
    return "; ".join(dict.fromkeys(result.state.broken))
