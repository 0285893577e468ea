"""What an `App` was made with, checked; and the environment variables `GRACEFUL_GRACE` and `GRACEFUL_DRAIN_DELAY`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from graceful._core.arguments import seconds, signal_from

__all__ = ["CTRL_C", "Settings", "app_name", "check_settings", "default_signals"]

#: The environment variable that an argument of `App` is read from where it is `None`.
VARIABLES = {"grace": "GRACEFUL_GRACE", "drain_delay": "GRACEFUL_DRAIN_DELAY"}

#: The largest part of the grace that work may have: the rest is for cleanup.
LARGEST_SHARE = 0.9

#: The signals that a person at the keyboard sends: only they escalate.
CTRL_C = {signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGINT)}

#: Seconds of grace where neither the code nor the environment says anything. Docker sends SIGKILL after 10.
DEFAULT_GRACE = 8.0


class Settings(NamedTuple):
    """
    The checked arguments of an `App`. All times are in seconds.

    Attributes:
        name: What the app is called in messages.
        grace: From the first cause to the end of everything.
        drain_delay: How long the app goes on serving after the first signal.
        drain_share: Which part of the grace left after that is for work to end by itself, from 0 to 0.9.
        signals: The signals that stop the program.
        signals_given: Whether they were named; else one that the program handles itself is left to it.
        debounce: How long after a signal that counted the next one is an echo.
        patience: How long a failed task may wait for somebody to retrieve its exception; `None`: tasks are not watched.
    """

    name: str
    grace: float
    drain_delay: float
    drain_share: float
    signals: tuple[signal.Signals, ...]
    signals_given: bool
    debounce: float
    patience: float | None


def check_settings(
    *,
    name: str | None,
    grace: float | None,
    drain_delay: float | None,
    drain_share: float,
    signals: Iterable[Any] | None,
    debounce: float,
    patience: float | None,
) -> Settings:
    """
    Check the arguments of an `App`; see there for what they mean.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or the delay is not shorter than the grace.
    """
    if not isinstance(name, (str, type(None))):  # pyright: ignore[reportUnnecessaryIsInstance]
        meant = f": did you mean App(grace={name!r})?" if isinstance(name, (int, float)) else ""
        raise TypeError(f"name must be a string, got {name!r} ({type(name).__name__}){meant}")
    if signals is not None and (isinstance(signals, str) or not isinstance(signals, Iterable)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"signals must be several signals, such as [signal.SIGTERM], got {signals!r}")
    settings = Settings(
        name=app_name(name),
        grace=_seconds_or_environment("grace", grace, DEFAULT_GRACE, positive=True),
        drain_delay=_seconds_or_environment("drain_delay", drain_delay, 0.0),
        drain_share=_share("drain_share", drain_share),
        signals_given=signals is not None,
        signals=default_signals() if signals is None else tuple(signal_from("signals", each) for each in signals),
        debounce=seconds("debounce", debounce),
        patience=None if patience is None else seconds("patience", patience),
    )
    if settings.drain_delay >= settings.grace:
        raise ValueError(
            f"drain_delay must be less than the grace it is part of ({settings.grace:g} s), "
            f"got {settings.drain_delay:g}"
        )
    return settings


def app_name(name: str | None) -> str:
    """The name of an app; `None`: that of the script."""
    return name or os.path.basename(sys.argv[0] if sys.argv else "") or "app"


def default_signals() -> tuple[signal.Signals, ...]:
    """What stops a program by default: those of SIGINT, SIGTERM, SIGHUP and SIGBREAK that this platform has."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def _share(argument: str, value: object) -> float:
    """A checked part of the grace."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number from 0 to 0.9, got {value!r} ({type(value).__name__})")
    if not 0 <= value <= LARGEST_SHARE:
        raise ValueError(f"{argument} must be from 0 to 0.9, so that time is left for cleanup, got {value!r}")
    return float(value)


def _seconds_or_environment(argument: str, value: object, default: float, *, positive: bool = False) -> float:
    """`value`; where it is `None` the environment variable of that argument; where that is unset `default`."""
    if value is not None:
        return seconds(argument, value, positive=positive)
    variable = VARIABLES[argument]
    text = os.environ.get(variable, "")
    if not text.strip():
        return default
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{variable} must be a number of seconds, got {text!r}") from None
    return seconds(variable, number, positive=positive)
