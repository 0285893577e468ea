"""Durations as systemd (systemd.time(7)) and Compose (as Go) write them, in seconds."""

from __future__ import annotations

import math
import re

__all__ = ["compose_seconds", "shown", "systemd_seconds"]

#: Each unit of systemd in seconds, by all its names.
_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 604800.0),
    **dict.fromkeys(("months", "month", "M"), 2629800.0),
    **dict.fromkeys(("years", "year", "y"), 31557600.0),
}
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def systemd_seconds(text: str) -> float:
    """
    A time span such as `1min 30s`, `90` or `infinity`.

    Raises:
        ValueError: It is none.
    """
    text = text.strip()
    if text == "infinity":
        return math.inf
    return _added(text, r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-zµμ]*)\s*", _UNITS, "a time span such as 20 or 1min 30s")


def compose_seconds(text: object) -> float:
    """
    A duration such as `1m30s`.

    Raises:
        ValueError: It is none; a number without a unit is none.
    """
    expected = "a duration such as 20s or 1m30s"
    if not isinstance(text, str):
        raise ValueError(f"expected {expected}, got {text!r}")  # noqa: TRY004 - a wrong value of a file
    return _added(text.strip(), r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", _GO_UNITS, expected)


def _added(text: str, pattern: str, units: dict[str, float], expected: str) -> float:
    """The sum of all numbers with their units."""
    found = [(float(each[1]), each[2]) for each in re.finditer(pattern, text)]
    if not re.fullmatch(f"(?:{pattern})+", text) or any(unit not in units for _, unit in found):
        raise ValueError(f"expected {expected}, got {text!r}")
    return sum(number * units[unit] for number, unit in found)


def shown(seconds: float) -> str:
    """`5`, `2.5` or `infinity`, as it stands in a sum."""
    return "infinity" if seconds == math.inf else f"{round(seconds, 3):g}"
