"""The timeline of a report: what happened, in seconds since the first cause, grouped by stage. For what draws it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from graceful._core.types import Cause, Failure, Outcome, Verdict, describe

__all__ = ["CAUSES", "FAILURES", "Facts", "Row", "Timeline", "duration", "untold_failures"]

#: The groups of rows that are no stages.
CAUSES, FAILURES = "causes", "failures"

#: The stages in the order in which they usually begin; others come after these.
_ORDER = ("startup", "signal", "on_exception", "drain", "cancel", "cleanup", "finish", "flush")


class Facts(Protocol):
    """What is drawn: a `Report`, which is not imported here, because it imports these rooms when it is asked."""

    @property
    def cause(self) -> Cause: ...
    @property
    def causes(self) -> tuple[Cause, ...]: ...
    @property
    def outcomes(self) -> tuple[Outcome, ...]: ...
    @property
    def failures(self) -> tuple[Failure, ...]: ...
    @property
    def took(self) -> float: ...
    @property
    def exit_status(self) -> int: ...
    @property
    def dropped(self) -> int: ...


@dataclass(frozen=True)
class Row:
    """
    One thing that happened: a hook with a start and an end, or a cause or a failure with a moment.

    Attributes:
        group: Its stage, or `CAUSES` or `FAILURES`.
        name: What it is called.
        begin: When it began, in seconds since the first cause; negative if that was before.
        end: When it ended, on the same scale.
        verdict: How it ended; `None` of a cause or a failure.
        where: `file:line`, where there is one.
        error: What it raised, or where a failure came from; "" if nothing.
        stack: Where it was stuck, innermost frame first.
    """

    group: str
    name: str
    begin: float
    end: float
    verdict: Verdict | None = None
    where: str = ""
    error: str = ""
    stack: tuple[str, ...] = ()


class Timeline:
    """
    Args:
        facts: The report.

    Attributes:
        groups: The rows of each group, in the order of time: causes first, then the stages, then failures.
        took: Seconds from the first cause to the end.
        title: One line: why it stopped.
        summary: One line: how long it took, the exit status, how many hooks ended how.
    """

    def __init__(self, facts: Facts) -> None:
        zero = facts.cause.at
        rows = sorted((_of_outcome(each, zero) for each in facts.outcomes), key=_stage_and_time)
        failed = [
            Row(FAILURES, describe(each.exception), each.at - zero, each.at - zero, error=each.message)
            for each in sorted(untold_failures(facts), key=lambda failure: failure.at)
        ]
        causes = [
            Row(CAUSES, f"{each.kind}: {each}", each.at - zero, each.at - zero)
            for each in facts.causes or (facts.cause,)
        ]
        self.groups: list[tuple[str, list[Row]]] = [(CAUSES, causes)]
        self.groups += [(stage, [*found]) for stage, found in groupby(rows, key=lambda row: row.group)]
        if failed:
            self.groups.append((FAILURES, failed))
        self.took = max(facts.took, 0.0)
        self.title = f"Shutdown: {facts.cause}"
        self.summary = f"{duration(self.took)}, {_status_text(facts.exit_status)}; {_counted(facts)}"


def untold_failures(facts: Facts) -> list[Failure]:
    """The failures whose exception is not behind one of the causes, which say it already."""
    told = {id(cause.exception) for cause in facts.causes}
    return [failure for failure in facts.failures if id(failure.exception) not in told]


def duration(seconds: float) -> str:
    """As precise as somebody reads it: `<1 ms`, `350 ms`, `1.25 s`, `61 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 or seconds == 0 else "<1 ms"
    digits = 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f} s"


def _of_outcome(outcome: Outcome, zero: float) -> Row:
    begin = outcome.at - zero
    return Row(
        outcome.stage,
        outcome.hook,
        begin,
        begin + outcome.took,
        outcome.verdict,
        outcome.where,
        "" if outcome.error is None else describe(outcome.error),
        outcome.stack[:-6:-1],
    )


def _stage_and_time(row: Row) -> tuple[int, str, float]:
    return _ORDER.index(row.group) if row.group in _ORDER else len(_ORDER), row.group, row.begin


def _status_text(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"death by {signal.Signals(-status).name}"
    except ValueError:
        return f"death by signal {-status}"


def _counted(facts: Facts) -> str:
    verdicts: Sequence[str] = [outcome.verdict for outcome in facts.outcomes]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts]
    dropped = [f"{facts.dropped} earlier ones of on_exception not kept"] if facts.dropped else []
    return ", ".join([*counts, *dropped]) or "no hooks"
