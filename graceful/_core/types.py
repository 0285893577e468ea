"""
Immutable records shared across the package: causes, failures and outcomes.

Annotations are evaluated here, unlike elsewhere: these classes are shown as `graceful.Cause` and so on, and
`typing.get_type_hints` would look names up there.
"""

import math
import signal as _signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Cause", "Event", "EventKind", "Failure", "Kind", "Outcome", "Verdict", "add_note", "describe", "shown_with"]


class Kind(StrEnum):
    """What can end a program."""

    SIGNAL = "signal"
    EXCEPTION = "exception"
    COMPLETED = "completed"
    REQUESTED = "requested"


@dataclass(frozen=True, eq=False)
class Cause:
    """
    One reason to stop, as it was noticed. The first one is *the* cause of a shutdown; later ones are kept beside it.

    Two causes are equal only if they are the same object.

    Attributes:
        kind: `signal`, `exception`, `completed` (main or an essential background task returned) or `requested` (`App.stop`).
        at: When, in seconds on `time.monotonic`'s clock.
        signal: The signal, where `kind` is `signal`; else `None`.
        exception: The exception, where one is behind it (the `CancelledError`, where the block of `async with app:` was
            cancelled); else `None`.
        task: The name of the essential background task that returned, where `kind` is `completed` for that reason; else
            `None`.
    """

    kind: Kind
    at: float
    signal: _signal.Signals | None = None
    exception: BaseException | None = None
    task: str | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return self.signal.name
        if self.kind is Kind.REQUESTED:
            return "stop() was called" if self.exception is None else "the block was cancelled"
        if self.exception is not None:
            return describe(self.exception)
        return "main returned" if self.task is None else f"{self.task} returned"


@dataclass(frozen=True, eq=False)
class Failure:
    """
    An exception that nobody handled, as an `on_exception` hook receives it.

    Attributes:
        exception: The exception itself.
        message: One line that says where it came from.
        context: What the loop's exception handler was called with (see `loop.call_exception_handler`).
        task: The task or future that failed; `None` where there was none, as for a callback.
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


@dataclass(frozen=True, eq=False)
class Outcome:
    """
    How one hook, or one task that had to be stopped, ended.

    Attributes:
        hook: Its qualified name.
        verdict: `ok`, `raised`, `timed out`, `cancelled`, or `skipped` (what it cleans up after was never started).
        where: `file:line` of its definition.
        stage: The step of the sequence it belonged to: `startup`, `signal`, `on_exception`, `drain`, `cancel`, `cleanup` or
            `flush`.
        at: When it began, in seconds on `time.monotonic`'s clock.
        took: Seconds it ran.
        error: What it raised, or the `HookTimeout`; `None` if it ended without an error.
        stack: Where it was stuck when it was timed out or cancelled, one line a frame, innermost last.
    """

    hook: str
    verdict: Verdict
    where: str
    stage: str
    at: float = 0.0
    took: float = 0.0
    error: BaseException | None = None
    stack: tuple[str, ...] = ()


class EventKind(StrEnum):
    """What an observer can be told, in the order in which it usually happens."""

    STARTED = "started"
    READY = "ready"
    ANNOUNCED = "announced"
    STOPPING = "stopping"
    STAGE_BEGAN = "stage began"
    HOOK_BEGAN = "hook began"
    HOOK_ENDED = "hook ended"
    WAITING = "waiting"
    GAVE_UP = "gave up"
    HURRIED = "hurried"
    OVER = "over"


@dataclass(frozen=True, eq=False)
class Event:
    """
    Something that happened in a run, as observers are told it (`App.add_observer`).

    Attributes:
        kind: What happened: `started` (the first startup hook is next), `ready` (the startup is over, main is next),
            `announced` (the owner of the process was told to stop), `stopping` (the shutdown has begun), `stage began`,
            `hook began`, `hook ended` (also one that was skipped), `waiting` (every two seconds of a shutdown that takes
            longer), `gave up` (of a task, a job or code that blocked), `hurried` (by another Ctrl-C), `over`.
        at: When, in seconds on `time.monotonic`'s clock.
        app: What the app is called.
        cause: Why the program ends, from `announced` on; else `None`.
        stage: The step of the sequence, of a stage, a hook, or what was given up: `startup`, `signal`, `on_exception`,
            `drain`, `cancel`, `cleanup`, `finish`, `flush` (where there are hooks for it); else `None`.
        hook: The qualified name of the hook that began; else `None`.
        until: When the time is up, on the same clock: of a hook that began, of the shutdown from `stopping` on; infinity
            where there is no limit.
        outcome: How a hook ended, or what was given up; else `None`.
        running: What a shutdown is waiting for, one line each, where `kind` is `waiting`; or one that says that it still serves.
        signal: The signal that an `on_signal` hook runs for, when it begins or ends; else `None`.
        failure: The failure that is the cause, where `kind` is `stopping`; `None` where the cause is another, or the failure
            came from outside the app's loop.
        exit_status: Where `kind` is `over`, what the parent sees if nobody catches what `run()` raises, as in `Report`;
            where the stage `flush` began, what it is as things stand then; else `None`.
    """

    kind: EventKind
    at: float
    app: str
    cause: Cause | None = None
    stage: str | None = None
    hook: str | None = None
    until: float = math.inf
    outcome: Outcome | None = None
    running: tuple[str, ...] = ()
    signal: _signal.Signals | None = None
    failure: Failure | None = None
    exit_status: int | None = None


def describe(exception: BaseException) -> str:
    """`ValueError: too small`, or `ValueError` alone where there is no text; always one line."""
    try:
        text = str(exception)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a user's __str__ may raise, or block until it is unblocked
        text = ""
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def add_note(exception: BaseException, text: str) -> None:
    """Add a note to an exception, unless it has the same one already: it may be raised again in a second run."""
    try:
        if text not in getattr(exception, "__notes__", ()):
            exception.add_note(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # it may refuse, as a frozen dataclass does, or block until it is unblocked
        return


# The attributes themselves: a class of the program's may have others in their place.
_CAUSE: Any = BaseException.__dict__["__cause__"].__get__
_CONTEXT: Any = BaseException.__dict__["__context__"].__get__
_EXCEPTIONS: Any = BaseExceptionGroup.__dict__["exceptions"].__get__


def shown_with(error: BaseException) -> list[BaseException]:
    """The exceptions that a traceback of this one shows besides: what it was raised from, and those of a group."""
    shown: dict[int, BaseException] = {id(error): error}
    pending = [error]
    while pending:
        each = pending.pop()
        cause = _CAUSE(each)
        before = _CONTEXT(each) if cause is None and not each.__suppress_context__ else cause
        inner = _EXCEPTIONS(each) if isinstance(each, BaseExceptionGroup) else ()
        for more in (before, *inner):
            if more is not None and id(more) not in shown:
                shown[id(more)] = more
                pending.append(more)
    return [*shown.values()][1:]
