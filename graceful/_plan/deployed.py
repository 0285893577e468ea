"""What the files have in common: a process that is started with a command and an environment, and how it is stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from graceful._observe.plan import Plan

__all__ = ["Deployed", "Finding", "Level", "Setting", "UnreadableError", "split_words"]


class Level(StrEnum):
    """How a file and a plan go together."""

    OK = "ok"
    NOTE = "note"
    MISFIT = "misfit"


class UnreadableError(Exception):
    """A file cannot be read, or is none of those that can be compared; the message says what was expected."""


@dataclass(frozen=True)
class Finding:
    """
    One thing to say about a file.

    Attributes:
        level: Whether it fits.
        place: The file, with the line or the path in it.
        what: What was found, and what it leads to.
        cure: What to write instead; empty if nothing has to be changed.
    """

    level: Level
    place: str
    what: str
    cure: str = ""


@dataclass(frozen=True)
class Setting:
    """
    One value in a file.

    Attributes:
        value: The text; `None`: the file says that there is one, but not which (a secret, a variable).
        place: Where it stands.
    """

    value: str | None
    place: str


@dataclass(frozen=True)
class Deployed:
    """
    One process that a file starts.

    Attributes:
        name: What to call it, such as `Deployment orders, container api`.
        place: Where it begins.
        setting: What the time is called that it is given to end, such as `TimeoutStopSec`.
        wait: That time in seconds; infinity: no limit; `None`: the file does not say.
        wait_place: Where it stands.
        is_default: Whether the file leaves it to a default.
        assign: How it is written, with `{}` for the number.
        command: The command as words; empty: unknown.
        command_place: Where it stands.
        before: Seconds that are lost before the signal is sent, and what for.
        environment: What it sets, by name.
        stop_signal: The signal that asks it to stop; `None`: SIGTERM.
        asks_for_more: Whether the app may ask for more time as it goes.
        set_elsewhere: Whether the time cannot be set in this file, so that too little of it is no fault of the file.
        more: What else there is to say, given the plan.
    """

    name: str
    place: str
    setting: str
    wait: float | None
    wait_place: str
    is_default: bool
    assign: str
    command: tuple[str, ...] = ()
    command_place: str = ""
    before: tuple[float, str] = (0.0, "")
    environment: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    stop_signal: Setting | None = None
    asks_for_more: bool = False
    set_elsewhere: bool = False
    more: Callable[[Plan], Iterable[Finding]] = lambda _: ()


def split_words(command: str) -> list[str]:
    """The words of a command, as a shell would split them; at spaces, where a quote has no other half."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
