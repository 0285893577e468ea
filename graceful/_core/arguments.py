"""Checks of the numbers, flags and signals that a caller passes in."""

from __future__ import annotations

import math
import signal
import sys

__all__ = ["flag", "pause", "seconds", "signal_from"]

UNCATCHABLE = {"SIGKILL", "SIGSTOP"}
# The kernel raises these for a faulting instruction, to which a Python handler returns, so that it faults again for ever
# (CPython docs, module signal: "it makes little sense to catch synchronous errors like SIGFPE or SIGSEGV").
SYNCHRONOUS = {"SIGSEGV", "SIGFPE", "SIGILL", "SIGBUS"}

#: Seconds that are as good as for ever: 30 years. The system's timers and locks take nine times that at most.
_LONGEST = 1e9


def seconds(argument: str, value: object, *, positive: bool = False) -> float:
    """
    A checked duration in seconds, 1e9 at most.

    Args:
        argument: What the caller calls it, for the message.
        value: What was passed.
        positive: Whether zero is an error, too.

    Raises:
        TypeError: `value` is not an int or a float (a bool counts as neither).
        ValueError: It is negative, NaN, infinite, or zero where it must be `positive`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number of seconds, got {value!r} ({type(value).__name__})")
    if not 0 <= value <= sys.float_info.max or (positive and value == 0):  # NaN fails this comparison, too
        expected = "more than 0" if positive else "0 or more"
        raise ValueError(f"{argument} must be a finite number of seconds, {expected}, got {value!r}")
    return min(float(value), _LONGEST)


def pause(argument: str, value: object) -> float:
    """
    A checked time to sleep in seconds: as `seconds`, but infinity is allowed, and less than zero counts as zero.

    Raises:
        TypeError: `value` is not a number.
        ValueError: It is NaN.
    """
    if value == math.inf:
        return math.inf
    if isinstance(value, (int, float)) and value < 0:  # `sleep(next_at - now)`, a little late
        return 0.0
    return seconds(argument, value)


def flag(argument: str, value: object) -> bool:
    """
    A checked `True` or `False`.

    Raises:
        TypeError: `value` is neither, such as `"yes"`.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, got {value!r} ({type(value).__name__})")
    return value


def signal_from(argument: str, value: object) -> signal.Signals:
    """
    A signal that a Python handler can take, from `signal.SIGHUP`, its number, or its name with or without `SIG`.

    Raises:
        TypeError: `value` is none of these.
        ValueError: There is no such signal on this platform, or no handler can take it.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{argument}: expected a signal such as signal.SIGTERM, got {value!r} ({type(value).__name__})")
    try:
        if isinstance(value, str):
            name = value.upper()
            found = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        else:
            found = signal.Signals(value)
    except (KeyError, ValueError):
        raise ValueError(f"{argument}: there is no signal {value!r} on this platform") from None
    if found.name.startswith("CTRL_"):  # Windows
        raise ValueError(
            f"{argument}: no handler can take {found.name}: it is an event of the console, and arrives as SIGINT or SIGBREAK"
        )
    if found.name in UNCATCHABLE | SYNCHRONOUS:
        why = (
            "the kernel lets no process catch it" if found.name in UNCATCHABLE else "it reports a faulting instruction"
        )
        raise ValueError(f"{argument}: no handler can take {found.name}: {why}")
    return found
