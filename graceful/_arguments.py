"""The border: what a caller passes in is checked here, once, and nobody inside asks again."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["seconds", "seconds_or_environment", "signal_from"]

UNCATCHABLE = {"SIGKILL", "SIGSTOP"}
# The kernel raises these for a faulting instruction, which a Python handler returns to and so faults again for ever
# (CPython docs, module signal: "it makes little sense to catch synchronous errors like SIGFPE or SIGSEGV").
SYNCHRONOUS = {"SIGSEGV", "SIGFPE", "SIGILL", "SIGBUS"}

#: Seconds that are as good as for ever, 30 years; the system's timers and locks take nine times that at most.
_LONGEST = 1e9


def seconds(argument: str, value: object, *, positive: bool = False) -> float:
    """
    A duration in seconds, checked; no more than 1e9.

    Raises:
        TypeError: `value` is not an int or a float (a bool is neither here).
        ValueError: It is negative, NaN, infinite, or zero where it must be `positive`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number of seconds, got {value!r} ({type(value).__name__})")
    if not 0 <= value <= sys.float_info.max or (positive and value == 0):  # a comparison that NaN fails, too
        expected = "more than 0" if positive else "0 or more"
        raise ValueError(f"{argument} must be a finite number of seconds, {expected}, got {value!r}")
    return min(float(value), _LONGEST)


def seconds_or_environment(argument: str, value: object, default: float, *, positive: bool = False) -> float:
    """`value`, or where it is `None` the environment variable `GRACEFUL_<ARGUMENT>`, or where that is unset `default`."""
    if value is not None:
        return seconds(argument, value, positive=positive)
    variable = f"GRACEFUL_{argument.upper()}"
    text = os.environ.get(variable, "")
    if not text.strip():
        return default
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{variable} must be a number of seconds, got {text!r}") from None
    return seconds(variable, number, positive=positive)


def signal_from(argument: str, value: object) -> signal.Signals:
    """
    A signal that a Python handler can take, from `signal.SIGHUP`, its number, or its name with or without `SIG`.

    Raises:
        TypeError: `value` is none of these.
        ValueError: No such signal here, or one that no handler can take.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{argument} must be signals such as signal.SIGTERM, got {value!r} ({type(value).__name__})")
    try:
        if isinstance(value, str):
            name = value.upper()
            found = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        else:
            found = signal.Signals(value)
    except (KeyError, ValueError):
        raise ValueError(f"{argument} must be signals of this platform, got {value!r}") from None
    if found.name in UNCATCHABLE | SYNCHRONOUS:
        why = "the kernel lets nobody catch it" if found.name in UNCATCHABLE else "it reports a faulting instruction"
        raise ValueError(f"{argument} must be signals that a handler can take, got {found.name}: {why}")
    return found
