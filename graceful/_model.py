"""
The nouns that travel between rooms. All frozen: whoever holds one may keep it, nobody can change it.

Each is one thing that happened, so two are equal only if they are the same. They are dataclasses, but only for those who
ask (`dataclasses.fields`, `replace`, `asdict`): a dataclass compiles each of its methods when it is defined, which for
four of them would take as long as all the rest of this package's import.
"""

from __future__ import annotations

import signal as _signal
import threading
from collections.abc import Mapping
from enum import StrEnum

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from dataclasses import dataclass
    from typing import Any
else:

    def dataclass(**_options):  # noqa: ANN003, ANN202 - for checkers it is the one of dataclasses
        """At run time it is `Fact` that makes it one."""
        return lambda fact: fact


__all__ = ["Cause", "Fact", "Failure", "Kind", "Outcome", "Settings", "Verdict", "dataclass", "describe", "note"]


class _Fields:
    """`__dataclass_fields__`, which is what makes a class a dataclass, until somebody looks at it."""

    def __get__(self, _fact: Fact | None, kind: type[Fact]) -> Any:
        import dataclasses  # here, for the millisecond

        with _fields_lock:
            if kind.__dict__["__dataclass_fields__"] is self:
                dataclasses.dataclass(init=False, repr=False, eq=False, frozen=True)(kind)
        return kind.__dataclass_fields__  # type: ignore[attr-defined] # by now it has the real one in our place


_fields_lock = threading.RLock()


class Fact:
    """The base of all that travels: takes its fields like a dataclass, shows itself with them, and never changes."""

    if not TYPE_CHECKING:

        def __init_subclass__(cls) -> None:
            inherited = getattr(cls, "__match_args__", ())
            cls.__match_args__ = names = tuple(dict.fromkeys((*inherited, *cls.__annotations__)))
            cls._required = {name for name in names if not hasattr(cls, name)}
            cls.__dataclass_fields__ = _Fields()

        def __init__(self, *given: Any, **named: Any) -> None:
            names, fields = self.__match_args__, self.__dict__
            fields.update(zip(names, given), **named)  # noqa: B905 - too many are found next
            if len(fields) != len(given) + len(named) or not self._required <= fields.keys() <= {*names}:
                fields.clear()
                raise TypeError(f"{type(self).__qualname__} takes {', '.join(names)}; got {given!r} and {named!r}")

        def __replace__(self, **changes: Any) -> Fact:
            return type(self)(**{name: getattr(self, name) for name in self.__match_args__} | changes)

        def __setattr__(self, name: str, value: Any) -> None:
            from dataclasses import FrozenInstanceError  # here, for the millisecond

            raise FrozenInstanceError(f"cannot change {name} of a {type(self).__qualname__}")

        def __delattr__(self, name: str) -> None:
            self.__setattr__(name, None)

    def __repr__(self) -> str:
        names: tuple[str, ...] = getattr(self, "__match_args__", ())
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({fields})"


class Kind(StrEnum):
    """What can end a program."""

    SIGNAL = "signal"
    EXCEPTION = "exception"
    COMPLETED = "completed"
    REQUESTED = "requested"


@dataclass(frozen=True, eq=False, repr=False)
class Cause(Fact):
    """
    One reason to stop, as it was sighted. The first one is *the* cause of a shutdown; later ones are kept beside it.

    Attributes:
        kind: `signal`, `exception`, `completed` (main returned) or `requested` (`App.stop`).
        at: When, in seconds on `time.monotonic`'s clock.
        signal: The signal, where `kind` is `signal`; else `None`.
        exception: What was raised, where an exception is behind it (the `CancelledError`, where the block of
            `async with app:` was cancelled); else `None`.
    """

    kind: Kind
    at: float
    signal: _signal.Signals | None = None
    exception: BaseException | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return self.signal.name
        if self.kind is Kind.REQUESTED:
            return "stop() was called" if self.exception is None else "the block was cancelled"
        return "main returned" if self.exception is None else describe(self.exception)


@dataclass(frozen=True, eq=False, repr=False)
class Failure(Fact):
    """
    An exception that nobody handled, as an `on_exception` hook is given it.

    Attributes:
        exception: The exception itself.
        message: One line that says where it came from.
        context: What the loop's exception handler was called with (see `loop.call_exception_handler`).
        task: The task or future that failed; `None` where there was none (a callback, say).
        at: When it was noticed, in seconds on `time.monotonic`'s clock.
    """

    exception: BaseException
    message: str
    context: Mapping[str, Any]
    task: Any = None
    at: float = 0.0


class Verdict(StrEnum):
    """How a hook ended."""

    OK = "ok"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, eq=False, repr=False)
class Outcome(Fact):
    """
    How one hook, or one task that had to be stopped, ended.

    Attributes:
        hook: Its qualified name.
        verdict: `ok`, `raised`, `timed out`, `cancelled`, or `skipped` (what it cleans up after was never started).
        where: `file:line` of its definition.
        stage: The step of the sequence it belonged to: `startup`, `on_exception`, `drain`, `cancel` or `cleanup`.
        at: When it began, in seconds on `time.monotonic`'s clock.
        took: Seconds it ran.
        error: What it raised, or the `HookTimeout`; `None` if it ended well.
        stack: Where it stood when it was timed out or cancelled, one line a frame, innermost last.
    """

    hook: str
    verdict: Verdict
    where: str
    stage: str
    at: float = 0.0
    took: float = 0.0
    error: BaseException | None = None
    stack: tuple[str, ...] = ()


class Settings:
    """What an `App` was made with, checked; all times in seconds."""

    __slots__ = ("debounce", "drain_delay", "grace", "name", "patience", "signals")

    def __init__(
        self,
        *,
        name: str,
        grace: float,
        drain_delay: float,
        signals: tuple[_signal.Signals, ...],
        debounce: float,
        patience: float | None,
    ) -> None:
        self.name = name
        self.grace = grace
        self.drain_delay = drain_delay
        self.signals = signals
        self.debounce = debounce
        self.patience = patience


def describe(exception: BaseException) -> str:
    """`ValueError: too small`, or `ValueError` alone where there is nothing more to say; one line, whatever it says."""
    try:
        text = str(exception)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # somebody else's __str__: it may raise, or block until the alarm unblocks it
        text = ""
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def note(exception: BaseException, text: str) -> None:
    """Add a note to what the user will see, unless it is there already: an exception may be raised in a second run."""
    try:
        if text not in getattr(exception, "__notes__", ()):
            exception.add_note(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # it may refuse it, as a frozen dataclass does, or block until the alarm unblocks it
        return
