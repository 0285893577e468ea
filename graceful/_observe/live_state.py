"""What the live view shows: records of what still runs, and of how far the shutdown is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ListRows", "Running", "Snapshot", "Step"]


@dataclass(frozen=True)
class Running:
    """
    Something that the shutdown waits for.

    Attributes:
        name: What to call it.
        since: When it began, or the wait for it, on the clock.
        until: When its time is up; infinity: nothing limits it.
        stack: Returns where it is, outermost first; empty where that is unknown.
        inner: Whether it is a part of the one before it.
    """

    name: str
    since: float
    until: float
    stack: Callable[[], tuple[str, ...]]
    inner: bool = False


@dataclass(frozen=True)
class Step:
    """
    A stage of the shutdown.

    Attributes:
        name: What it is called.
        began_at: When it began; `None`: it has not.
        ended_at: When it ended; `None`: it has not.
        done: How many of its hooks have ended.
        of: How many there are; 0: it has none, or nobody knows.
    """

    name: str
    began_at: float | None = None
    ended_at: float | None = None
    done: int = 0
    of: int = 0


#: Returns what a stage waits for, so many at most, and how many more there are.
ListRows = Callable[[Step, int], tuple[list[Running], int]]


@dataclass(frozen=True)
class Snapshot:
    """
    How far the shutdown is.

    Attributes:
        title: What stops, and why.
        now: When this is.
        began_at: When it began.
        until: When it must be over; infinity: it was only announced.
        steps: Its stages.
        running: What it waits for.
        more: How many more there are than these.
        failed: How many hooks failed, or were given up.
        hint: What the next Ctrl-C does; empty: nothing of ours.
        blocked: For how many seconds the loop was blocked just now; 0: it was not.
    """

    title: str
    now: float
    began_at: float
    until: float
    steps: tuple[Step, ...]
    running: tuple[Running, ...]
    more: int
    failed: int
    hint: str
    blocked: float
