"""Whether a process that a file starts has the time, the signal and the command that the plan of its shutdown needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from graceful._core.arguments import signal_from
from graceful._core.settings import VARIABLES
from graceful._observe.plan import Plan
from graceful._plan.deployed import Deployed, Finding, Level, Setting
from graceful._plan.durations import shown
from graceful._plan.launch import Server, becomes_its_last_command, server_of, shell_without_exec

__all__ = ["MakePlan", "findings_of"]

#: Makes the plan of the app in an environment that has these variables besides.
MakePlan: TypeAlias = Callable[[Mapping[str, str]], Plan]


def findings_of(deployed: Deployed, make_plan: MakePlan) -> Iterator[Finding]:
    """
    Compare one process with the plan.

    Args:
        deployed: The process.
        make_plan: Makes the plan in the environment of the process.
    """
    ours = {name: deployed.environment[name] for name in VARIABLES.values() if name in deployed.environment}
    try:
        plan = make_plan({name: setting.value for name, setting in ours.items() if setting.value is not None})
    except ValueError as error:
        place = next(iter(ours.values())).place if ours else deployed.place
        yield _misfit(place, f"{deployed.name}: the program cannot start: {error}", "correct the value")
        return
    yield from _environment(deployed, ours, plan)
    server = server_of(deployed.command)
    yield from _command(deployed)
    yield from _signal(deployed, plan)
    yield from _server(deployed, server, plan)
    yield from _time(deployed, server, plan)
    yield from deployed.more(plan)


def _misfit(place: str, what: str, cure: str) -> Finding:
    return Finding(Level.MISFIT, place, what, cure)


def _environment(deployed: Deployed, ours: Mapping[str, Setting], plan: Plan) -> Iterator[Finding]:
    for argument, variable in VARIABLES.items():
        setting = ours.get(variable)
        if setting is None:
            continue
        value: float = getattr(plan, argument)
        if setting.value is None:
            what = f"{deployed.name}: the value of {variable} is not in the file"
            yield Finding(
                Level.NOTE, setting.place, what, f"set it here to have it counted: {variable}=... python -m ..."
            )
        elif setting.value.strip() and not _is_number(setting.value, value):
            what = f"{deployed.name}: {variable}={setting.value} has no effect, the code says {argument}={value:g}"
            yield _misfit(setting.place, what, f"write App({argument}=None) in the code, or take the variable away")


def _is_number(text: str, number: float) -> bool:
    try:
        return math.isclose(float(text), number)
    except ValueError:
        return False


def _command(deployed: Deployed) -> Iterator[Finding]:
    script = shell_without_exec(deployed.command)
    if script is None:
        return
    cure = "write the command as a list of words, or exec before the last command"
    if becomes_its_last_command(deployed.command):
        what = f"{deployed.name}: bash runs {_short(script)!r}, and gets the signal unless it becomes its last command"
        yield Finding(Level.NOTE, deployed.command_place, what, cure)
        return
    signal = None if deployed.stop_signal is None else deployed.stop_signal.value
    what = (
        f"{deployed.name}: a shell runs {_short(script)!r}, gets {signal or 'SIGTERM'} in place of the app, and does not "
        "pass it on: no hook runs"
    )
    yield _misfit(deployed.command_place, what, cure)


def _short(script: str) -> str:
    script = " ".join(script.split())
    return script if len(script) <= 50 else f"{script[:47]}..."


def _signal(deployed: Deployed, plan: Plan) -> Iterator[Finding]:
    setting = deployed.stop_signal
    if setting is None:
        name, place = "SIGTERM", deployed.place
    elif setting.value is None:
        return
    else:
        place = setting.place
        text = setting.value.strip()
        try:
            name = signal_from("the stop signal", int(text) if text.isdecimal() else text).name
        except ValueError as error:
            yield _misfit(place, f"{deployed.name}: {error}", "SIGTERM")
            return
    if name not in plan.signals:
        stops = ", ".join(plan.signals) or "none"
        what = f"{deployed.name}: it is stopped by {name}, which does not stop the app; what does: {stops}"
        cure = "SIGTERM" if "SIGTERM" in plan.signals else f"{name} in App(signals=[...]), and no on_signal hook for it"
        yield _misfit(place, what, f"use {cure}" if cure == "SIGTERM" else cure)


def _server(deployed: Deployed, server: Server | None, plan: Plan) -> Iterator[Finding]:
    if server is None:
        return
    needed = plan.worst_case
    if server.name == "uvicorn" and server.limit == math.inf:
        what = f"{deployed.name}: uvicorn waits for its connections without a limit, and the cleanup begins after that"
        option = server.option or "start uvicorn itself, with --timeout-graceful-shutdown"
        yield _misfit(deployed.command_place, what, f"{option} {plan.server_timeout}")
    if server.name == "gunicorn" and server.limit < needed:
        what = (
            f"{deployed.name}: gunicorn kills its workers after {shown(server.limit)} s, but the shutdown may take "
            f"{shown(needed)} s"
        )
        yield _misfit(deployed.command_place, what, f"{server.option} {math.ceil(needed)}")


def _time(deployed: Deployed, server: Server | None, plan: Plan) -> Iterator[Finding]:
    seconds, reason = deployed.before
    parts = [f"{reason} {shown(seconds)}"] if seconds else []
    if server is not None and server.name != "gunicorn":
        limit = plan.server_timeout if server.limit == math.inf else server.limit
        seconds += limit
        parts.append(f"{server.name} {shown(limit)}")
    needed = seconds + plan.worst_case
    variable = deployed.environment.get(VARIABLES["grace"], Setting(None, ""))
    counts = variable.value is not None and _is_number(variable.value, plan.grace)
    grace = VARIABLES["grace"] if counts else "grace"
    total = f"{' + '.join([*parts, f'{grace} {shown(plan.grace)}'])} + 1 for the end"
    if deployed.wait is None:
        what = f"{deployed.name}: the file does not say how long it may take; it needs {shown(needed)} s ({total})"
        yield Finding(Level.NOTE, deployed.wait_place, what, deployed.assign.format(math.ceil(needed)))
        return
    given = f"{deployed.setting} is {shown(deployed.wait)}{'' if deployed.wait == math.inf else ' s'}"
    given += " by default" if deployed.is_default else ""
    if deployed.wait >= needed - 1e-9:
        yield Finding(Level.OK, deployed.wait_place, f"{deployed.name}: {given}, needed {shown(needed)} s ({total})")
        return
    what = f"{deployed.name}: {given}, but the shutdown may take {shown(needed)} s ({total})"
    cure = deployed.assign.format(math.ceil(needed))
    if deployed.asks_for_more:
        what += "; the app asks for more, but only while the loop turns"
    if deployed.asks_for_more or deployed.set_elsewhere:
        yield Finding(Level.NOTE, deployed.wait_place, what, cure)
    else:
        yield _misfit(deployed.wait_place, what, cure)
