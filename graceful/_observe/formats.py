"""The report for other programs: JSON, a gantt chart for Mermaid, and a trace for Perfetto."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from graceful._core.types import Cause, Outcome, Verdict, describe
from graceful._observe.timeline import Facts, Row, Timeline, untold_failures

__all__ = ["SCHEMA", "VERSION", "as_json", "as_mermaid", "as_trace", "plain", "rounded"]

#: What the JSON calls itself. A new field keeps the version; what is removed or means something else raises it.
SCHEMA, VERSION = "graceful.report", 1

#: How Mermaid paints a bar: it knows no other words than these.
_TAGS = {Verdict.OK: "done, ", Verdict.RAISED: "crit, ", Verdict.TIMED_OUT: "crit, ", Verdict.CANCELLED: "active, "}


def as_json(facts: Facts) -> str:
    """The report as JSON, as `docs/report.schema.json` describes it."""
    zero = facts.cause.at
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "took": rounded(facts.took),
        "exit_status": facts.exit_status,
        "dropped": facts.dropped,
        "cause": _cause(facts.cause, zero),
        "causes": [_cause(each, zero) for each in facts.causes],
        "outcomes": [_outcome(each, zero) for each in facts.outcomes],
        "failures": [
            {"at": rounded(each.at - zero), "message": each.message, "exception": _exception(each.exception)}
            for each in facts.failures
        ],
    }
    return json.dumps(document, indent=2)


def _cause(cause: Cause, zero: float) -> dict[str, Any]:
    return {
        "kind": str(cause.kind),
        "at": rounded(cause.at - zero),
        "text": str(cause),
        "signal": None if cause.signal is None else cause.signal.name,
        "exception": _exception(cause.exception),
        "task": cause.task,
    }


def _outcome(outcome: Outcome, zero: float) -> dict[str, Any]:
    return {
        "hook": outcome.hook,
        "stage": outcome.stage,
        "verdict": str(outcome.verdict),
        "where": outcome.where,
        "at": rounded(outcome.at - zero),
        "took": rounded(outcome.took),
        "error": _exception(outcome.error),
        "stack": [*outcome.stack],
    }


def _exception(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {"type": name, "text": describe(error)}


def rounded(seconds: float) -> float:
    """As precise as a program needs it: to the microsecond."""
    return round(seconds, 6) + 0.0  # never -0.0


# --- Mermaid -----------------------------------------------------------------------------------------------------------


def as_mermaid(facts: Facts) -> str:
    """The report as a gantt chart. What was over before the first cause is drawn at its start."""
    timeline = Timeline(facts)
    axis = "%S.%L" if timeline.took < 60 else "%M:%S"
    lines = [
        "gantt",
        f"    title {plain(timeline.title)} ({', '.join(map(plain, re.split('[;,]', timeline.summary)))})",
        "    dateFormat x",  # milliseconds; there is no format for plain seconds
        f"    axisFormat {axis}",
    ]
    number = 0
    for group, rows in timeline.groups:
        lines.append(f"    section {plain(group)}")
        for row in rows:
            number += 1
            lines.append(f"    {_gantt_row(row, number)}")
    return "\n".join(lines)


def _gantt_row(row: Row, number: int) -> str:
    begin = max(round(row.begin * 1000), 0)
    if row.verdict is None:
        return f"{plain(row.name)} :milestone, r{number}, {begin}, 0ms"
    length = max(round(row.end * 1000) - begin, 1)  # or it is not drawn
    name = plain(f"{row.name} {'' if row.verdict is Verdict.OK else row.verdict}")
    return f"{name} :{_TAGS.get(row.verdict, '')}r{number}, {begin}, {length}ms"


def plain(text: str) -> str:
    """The text without the characters that mean something in a gantt chart, which knows no way to escape them."""
    text = text.replace("<", "\u2039").replace(">", "\u203a")
    return " ".join(re.sub(r"[:;#%,{}\"`\\]|[^ -~\u2039\u203a\w]", " ", text).split()) or "?"


# --- Perfetto ----------------------------------------------------------------------------------------------------------


def as_trace(facts: Facts) -> str:
    """
    The report in the Trace Event Format of Chrome, which ui.perfetto.dev opens.

    Its times are those of `time.monotonic`, in microseconds, so that it can be laid beside another trace of the process.
    Slices on one track must not overlap, so hooks that ran beside each other get tracks of their own.
    """
    zero = facts.cause.at
    stages = dict.fromkeys(outcome.stage for outcome in facts.outcomes)
    events: list[dict[str, Any]] = [_named("process_name", 0, Timeline(facts).title)]
    for stage in stages:
        for number, lane in enumerate(_lanes(each for each in facts.outcomes if each.stage == stage), 1):
            track = len(events)
            events.append(_named("thread_name", track, stage if number == 1 else f"{stage} ({number})"))
            events += [_slice(outcome, track) for outcome in lane]
    moments = [(each.at, f"{each.kind}: {each}", "cause") for each in facts.causes or (facts.cause,)]
    moments += [(each.at, f"{each.message}: {describe(each.exception)}", "failure") for each in untold_failures(facts)]
    moments.append((zero + facts.took, f"over, exit status {facts.exit_status}", "over"))
    events += [
        {"ph": "i", "s": "g", "name": name, "cat": kind, "ts": _micro(at), "pid": 1, "tid": 0}
        for at, name, kind in moments
    ]
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, indent=1)


def _named(what: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": 1, "tid": track, "args": {"name": name}}


def _slice(outcome: Outcome, track: int) -> dict[str, Any]:
    told = {"verdict": str(outcome.verdict), "where": outcome.where}
    if outcome.error is not None:
        told["error"] = describe(outcome.error)
    if outcome.stack:
        told["stuck"] = "\n".join(outcome.stack)
    return {
        "ph": "X",
        "name": outcome.hook,
        "cat": f"{outcome.stage},{outcome.verdict}",
        "ts": _micro(outcome.at),
        "dur": _micro(outcome.took),
        "pid": 1,
        "tid": track,
        "args": told,
    }


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _lanes(outcomes: Iterable[Outcome]) -> list[list[Outcome]]:
    """As few lists as it takes for no two of one list to overlap."""
    lanes: list[list[Outcome]] = []
    for outcome in sorted(outcomes, key=lambda each: each.at):
        free = (lane for lane in lanes if lane[-1].at + lane[-1].took <= outcome.at)
        lane = next(free, None)
        if lane is None:
            lanes.append([outcome])
        else:
            lane.append(outcome)
    return lanes
