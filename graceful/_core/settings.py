"""
What an `App` was made with, checked; and what the environment says: `GRACEFUL_GRACE`, `GRACEFUL_DRAIN_DELAY`,
`GRACEFUL_REPORT`, `GRACEFUL_TERMINATION_LOG`, `GRACEFUL_LIVE`, and the variables of a service manager.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from graceful._core.arguments import seconds, signal_from

__all__ = [
    "CTRL_C",
    "IMPORTED_BY",
    "NotifyVariables",
    "Settings",
    "app_name",
    "check_settings",
    "default_signals",
    "live_view_wanted",
    "taken_notify_variables",
]

#: The environment variable that an argument of `App` is read from where it is `None`.
VARIABLES = {"grace": "GRACEFUL_GRACE", "drain_delay": "GRACEFUL_DRAIN_DELAY"}

#: The environment variable that names the file for the report, and how that may end.
REPORT_VARIABLE = "GRACEFUL_REPORT"
REPORT_ENDINGS = (".svg", ".trace.json", ".json", ".txt", ".mmd")

#: The environment variable that names the file for the last words, and where that is otherwise (Kubernetes' default).
TERMINATION_LOG_VARIABLE = "GRACEFUL_TERMINATION_LOG"
TERMINATION_LOG = "/dev/termination-log"

#: The environment variable that switches the live view off, and what it says then.
LIVE_VARIABLE = "GRACEFUL_LIVE"
OFF = ("0", "no", "off", "false")

#: The largest part of the grace that work may have: the rest is for cleanup.
LARGEST_SHARE = 0.9

#: The signals that a person at the keyboard sends: only they escalate.
CTRL_C = {signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGINT)}

#: Seconds of grace where neither the code nor the environment says anything. Docker sends SIGKILL after 10.
DEFAULT_GRACE = 8.0


#: The process that has imported the package: another one was forked from it.
IMPORTED_BY = os.getpid()


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
        report_file: The absolute path of the file that the report is written to; `None`: none is.
        termination_log: The absolute path of the file that the last words are written to, where it exists.
    """

    name: str
    grace: float
    drain_delay: float
    drain_share: float
    signals: tuple[signal.Signals, ...]
    signals_given: bool
    debounce: float
    patience: float | None
    report_file: str | None
    termination_log: str


class NotifyVariables(NamedTuple):
    """
    What the service manager wants to hear, see sd_notify(3).

    Attributes:
        address: Where it listens, as `socket` takes it: a path, or a null byte and an abstract name.
        watchdog: How many seconds the loop may be silent; infinity: it may be silent.
    """

    address: str
    watchdog: float


@contextlib.contextmanager
def taken_notify_variables() -> Generator[NotifyVariables | None]:
    """
    Take `NOTIFY_SOCKET` out of the environment for the duration of a block, so that no child speaks in our name.

    `WATCHDOG_USEC` and `WATCHDOG_PID` go with it, if they are meant for this process. Afterwards they are put back, so
    that a second run finds them, too. A run beside this one, or inside it, finds none: one of them speaks for the process.

    Yields:
        What they say; `None` where nobody listens.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if len(address) < 2 or address[0] not in "/@" or not hasattr(socket, "AF_UNIX"):
        yield None
        return
    watchdog = _watchdog_seconds()
    names = ["NOTIFY_SOCKET", *(() if watchdog == math.inf else ("WATCHDOG_USEC", "WATCHDOG_PID"))]
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield NotifyVariables("\0" + address[1:] if address[0] == "@" else address, watchdog)
    finally:
        for name, value in taken.items():
            os.environ.setdefault(name, value)


def live_view_wanted() -> bool:
    """Whether a terminal may be painted on: `GRACEFUL_LIVE`, `NO_COLOR` (no-color.org) and `TERM` do not say otherwise."""
    if os.environ.get(LIVE_VARIABLE, "").strip().lower() in OFF or os.environ.get("NO_COLOR"):
        return False
    return sys.platform != "win32" and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _watchdog_seconds() -> float:
    """How long this process may be silent; infinity where nobody minds, or another process is meant."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    meant = not pid or pid == str(os.getpid())
    return int(text) / 1e6 if meant and text.isdecimal() and int(text) > 0 else math.inf


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
        ValueError: An argument is out of range, or the delay is not shorter than the grace; or an environment variable is
            wrong.
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
        report_file=_report_file(),
        termination_log=os.path.abspath(os.environ.get(TERMINATION_LOG_VARIABLE, "").strip() or TERMINATION_LOG),
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


def _report_file() -> str | None:
    """What GRACEFUL_REPORT says. A relative path means now's working directory: a daemon changes to another one later."""
    path = os.environ.get(REPORT_VARIABLE, "").strip()
    if not path:
        return None
    if not path.lower().endswith(REPORT_ENDINGS):
        endings = ", ".join(REPORT_ENDINGS[:-1])
        raise ValueError(
            f"{REPORT_VARIABLE} must be a file whose name ends in {endings} or {REPORT_ENDINGS[-1]}, got {path!r}"
        )
    return os.path.abspath(path)


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
