"""The plan for other programs: JSON, and a gantt chart for Mermaid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from graceful._observe.formats import plain, rounded
from graceful._observe.planned import PlannedHook, PlannedStep
from graceful._observe.timeline import duration

__all__ = ["SCHEMA", "VERSION", "Planned", "as_document", "as_json", "as_mermaid"]

#: What the JSON calls itself. A new field keeps the version; what is removed or means something else raises it.
SCHEMA, VERSION = "graceful.plan", 1


class Planned(Protocol):
    """What is drawn: a `Plan`, which is not imported here, because it imports the rooms that draw it when it is asked."""

    @property
    def app(self) -> str: ...
    @property
    def grace(self) -> float: ...
    @property
    def drain_delay(self) -> float: ...
    @property
    def drain_share(self) -> float: ...
    @property
    def signals(self) -> tuple[str, ...]: ...
    @property
    def steps(self) -> tuple[PlannedStep, ...]: ...
    @property
    def worst_case(self) -> float: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def supervisor_timeout(self) -> int: ...
    @property
    def server_timeout(self) -> int: ...
    @property
    def numbers(self) -> dict[str, str]: ...


def as_json(plan: Planned) -> str:
    """The plan as JSON, as `docs/plan.schema.json` describes it."""
    return json.dumps(as_document(plan), indent=2)


def as_document(plan: Planned) -> dict[str, Any]:
    """What that JSON says."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "app": plan.app,
        "grace": rounded(plan.grace),
        "drain_delay": rounded(plan.drain_delay),
        "drain_share": plan.drain_share,
        "signals": [*plan.signals],
        "worst_case": rounded(plan.worst_case),
        "supervisor_timeout": plan.supervisor_timeout,
        "server_timeout": plan.server_timeout,
        "numbers": plan.numbers,
        "warnings": [*plan.warnings],
        "steps": [_step(step) for step in plan.steps],
    }


def _step(step: PlannedStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "at": rounded(step.at),
        "end": rounded(step.end),
        "what": step.what,
        "hooks": [_hook(hook) for hook in step.hooks],
    }


def _hook(hook: PlannedHook) -> dict[str, Any]:
    return {
        "name": hook.name,
        "where": hook.where,
        "kind": hook.kind,
        "at": rounded(hook.at),
        "until": rounded(hook.until),
        "end": rounded(hook.end),
        "allowed": rounded(hook.allowed),
        "timeout": hook.timeout,
        "after": [*hook.after],
        "beside": [*hook.beside],
        "unless": [*hook.unless],
    }


def as_mermaid(plan: Planned) -> str:
    """The worst case as a gantt chart."""
    axis = "%S.%L" if plan.worst_case < 60 else "%M:%S"
    lines = [
        "gantt",
        f"    title {plain(f'{plan.app} shutdown in the worst case (grace {plan.grace:g} s)')}",
        "    dateFormat x",  # milliseconds; there is no format for plain seconds
        f"    axisFormat {axis}",
    ]
    for number, step in enumerate(plan.steps):
        lines.append(f"    section {step.name}")
        lines += [f"    {bar}" for bar in _bars(step, number)]
    end = round(plan.grace * 1000)
    return "\n".join([*lines, "    section deadline", f"    deadline :milestone, end, {end}, 0ms"])


def _bars(step: PlannedStep, number: int) -> Iterator[str]:
    yield f"{plain(step.what)} :done, {_place(f's{number}', step.at, step.end)}"
    for index, hook in enumerate(step.hooks):
        name = f"{hook.name} {duration(hook.allowed)}"
        yield f"{plain(name)} :{_place(f's{number}h{index}', hook.at, hook.end)}"


def _place(identifier: str, at: float, end: float) -> str:
    begin = round(at * 1000)
    return f"{identifier}, {begin}, {max(round(end * 1000) - begin, 1)}ms"
