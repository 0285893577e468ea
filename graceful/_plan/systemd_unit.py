"""
Unit files of systemd, with their drop-ins.

`configparser` does not read them: keys are repeated, an empty value forgets what was said before, and lines go on after a
backslash (systemd.syntax(7)). Later files add to earlier ones, as `orders.service.d/*.conf` do to `orders.service`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graceful._observe.plan import Plan
from graceful._plan.deployed import Deployed, Finding, Level, Setting, UnreadableError, split_words
from graceful._plan.durations import systemd_seconds
from graceful._plan.launch import server_of

__all__ = ["looks_like_unit", "read_units"]

#: What systemd waits unless its own configuration says otherwise (DefaultTimeoutStopSec=).
_DEFAULT = 90.0
#: Prefixes of a command in ExecStart=, see systemd.service(5).
_PREFIXES = "@-:+!|"
#: These keys are lists: each line adds to it. The others are replaced.
_LISTS = {"Environment", "EnvironmentFile", "ExecStart", "SuccessExitStatus", "RestartPreventExitStatus"}


#: Values that no app goes with, with what they lead to; and what to write instead.
_BAD: dict[str, tuple[dict[str, str], str]] = {
    "KillMode": (
        {
            "process": "children that are left at the end are not killed",
            "none": "nothing is ended: no signal is sent at all",
        },
        "mixed",
    ),
    "Type": (
        {"forking": "the program stays in the foreground, so its start times out and it is killed"},
        "notify",
    ),
    "Restart": (
        dict.fromkeys(
            ("on-abort", "on-abnormal", "on-watchdog"), "a failure ends the program with status 1, and is not restarted"
        ),
        "on-failure",
    ),
    "SendSIGKILL": (dict.fromkeys(("no", "false", "0", "off"), "children that hang are never ended"), "yes"),
}


class _Line(NamedTuple):
    value: str
    place: str


class _Unit:
    """
    The section [Service] of a unit.

    Args:
        lines: Its assignments, in order: the key and the line.
        begin: Where it begins.
        whole: Whether the unit itself is there, or only a drop-in of it.
    """

    def __init__(self, lines: Iterable[tuple[str, _Line]], begin: str, *, whole: bool) -> None:
        self.begin = begin
        self.whole = whole
        self._found: dict[str, list[tuple[int, _Line]]] = {}
        for order, (key, line) in enumerate(lines):
            if not line.value or key not in _LISTS:
                self._found[key] = []
            if line.value:
                self._found[key] = [*self._found.get(key, []), (order, line)]

    def last(self, *keys: str) -> _Line | None:
        """What counts of some keys that mean the same."""
        found = [each for key in keys for each in self._found.get(key, ())]
        return max(found)[1] if found else None

    def all(self, key: str) -> list[_Line]:
        """Each line of a key that adds up."""
        return [line for _, line in self._found.get(key, ())]

    def text(self, key: str, default: str = "") -> str:
        """The value of a key."""
        line = self.last(key)
        return default if line is None else line.value


def looks_like_unit(text: str) -> bool:
    """Whether this is the text of a service unit, or of a drop-in."""
    return any(line.strip() == "[Service]" for line in text.splitlines())


def read_units(files: Sequence[tuple[str, str]], *, whole: bool = True) -> Iterator[Deployed]:
    """
    The service of a unit.

    Args:
        files: The name and the text of the unit and of its drop-ins, in the order in which systemd reads them.
        whole: Whether the first one is the unit itself; else what is not said has no default.

    Raises:
        UnreadableError: It has no section [Service], or a time that is none.
    """
    lines = [line for name, text in files for line in _assignments(name, text)]
    name, text = files[0]
    number = next((n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[Service]"), None)
    if number is None:
        raise UnreadableError(f"{name}: expected a section [Service], as in a service unit of systemd")
    unit = _Unit(lines, f"{name}:{number}", whole=whole)
    wait = _wait(unit)
    start = unit.last("ExecStart")
    kill_signal = unit.last("KillSignal")
    yield Deployed(
        name=name.rpartition("/")[2],
        place=unit.begin,
        setting="TimeoutStopSec",
        wait=wait[0],
        wait_place=wait[1],
        is_default=unit.last("TimeoutStopSec", "TimeoutSec") is None,
        assign="TimeoutStopSec={}",
        command=_words(start),
        command_place=unit.begin if start is None else start.place,
        environment=_environment(unit),
        stop_signal=None if kill_signal is None else Setting(kill_signal.value, kill_signal.place),
        asks_for_more=unit.text("Type").startswith("notify"),
        more=lambda plan: _more(unit, plan),
    )


def _assignments(name: str, text: str) -> Iterator[tuple[str, _Line]]:
    section, pending, begin = "", "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        stripped = raw.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not pending):
            continue  # a comment between the lines of a continued one does not end it
        begin = begin if pending else number
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        line, pending = pending + stripped, ""
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line:
            key, _, value = line.partition("=")
            yield key.strip(), _Line(value.strip(), f"{name}:{begin}")


def _wait(unit: _Unit) -> tuple[float | None, str]:
    # TimeoutSec= sets both; of the two the one that comes last counts.
    line = unit.last("TimeoutStopSec", "TimeoutSec")
    if line is None:
        return (_DEFAULT if unit.whole else None), unit.begin
    try:
        seconds = systemd_seconds(line.value)
    except ValueError as error:
        raise UnreadableError(f"{line.place}: TimeoutStopSec: {error}") from None
    return seconds or math.inf, line.place  # 0 means no limit, too


def _words(line: _Line | None) -> tuple[str, ...]:
    return () if line is None else tuple(split_words(line.value.lstrip(_PREFIXES)))


def _environment(unit: _Unit) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for line in unit.all("Environment"):
        for assignment in split_words(line.value):
            name, _, value = assignment.partition("=")
            found[name] = Setting(value, line.place)
    return found


def _more(unit: _Unit, plan: Plan) -> Iterator[Finding]:
    yield from _files(unit)
    for key, (bad, cure) in _BAD.items():
        value = unit.text(key)
        if value in bad:
            yield _misfit(unit, key, f"{key}={value}: {bad[value]}", f"{key}={cure}")
    yield from _statuses(unit)
    yield from _with_server(unit)
    if unit.text("Type").startswith("notify") and unit.text("NotifyAccess") == "none":
        yield _misfit(
            unit,
            "NotifyAccess",
            "NotifyAccess=none: READY=1 is not heard, and the start times out",
            "NotifyAccess=main",
        )
    if unit.text("SendSIGHUP") in ("yes", "true", "1", "on") and "SIGHUP" not in plan.signals:
        what = "SendSIGHUP=yes: SIGHUP follows SIGTERM at once, which does not stop this app but means something else"
        yield _misfit(unit, "SendSIGHUP", what, "SendSIGHUP=no")


def _misfit(unit: _Unit, key: str, what: str, cure: str) -> Finding:
    line = unit.last(key)
    return Finding(Level.MISFIT, unit.begin if line is None else line.place, what, cure)


def _files(unit: _Unit) -> Iterator[Finding]:
    for line in unit.all("EnvironmentFile"):
        what = f"EnvironmentFile={line.value} was not read: it may set GRACEFUL_GRACE"
        yield Finding(Level.NOTE, line.place, what)


def _statuses(unit: _Unit) -> Iterator[Finding]:
    """A failure must not count as a success."""
    meant = {"1": "a failure (status 1)", "70": "a shutdown that had to be forced (status 70)"}
    for key, means in {
        "SuccessExitStatus": "counts as success",
        "RestartPreventExitStatus": "is not restarted",
    }.items():
        for line in unit.all(key):
            for status in [each for each in line.value.split() if each in meant]:
                what = f"{key}={line.value}: {meant[status]} {means}"
                yield Finding(Level.MISFIT, line.place, what, f"take {status} away")


def _with_server(unit: _Unit) -> Iterator[Finding]:
    server = server_of(_words(unit.last("ExecStart")))
    if server is not None and server.name == "uvicorn" and unit.text("Restart") == "on-failure":
        what = "Restart=on-failure: uvicorn dies by SIGTERM after a failure, too, which systemd takes for success"
        yield _misfit(unit, "Restart", what, "Restart=always")
