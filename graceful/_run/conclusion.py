"""What `run()` raises or returns after everything that happened, and the exit status that follows from it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from graceful._core.errors import Interrupted
from graceful._core.types import Cause, shown_with
from graceful._process.exit import status_of_exit, status_of_signal

__all__ = ["exit_status", "status_so_far", "what_to_raise"]


def what_to_raise(
    cause: Cause, errors: Sequence[BaseException], *, finished: bool, has_main: bool
) -> BaseException | None:
    """
    What `run()` raises; `None`: it returns.

    An error outranks a signal, or a parent would take a failed cleanup for a clean end. The first error in time is raised,
    whatever it is, so that `sys.exit` in a task exits with its status. Errors of hooks are raised as one group where there
    are several, and stay chained to the error that was there before them.

    Args:
        cause: The first cause.
        errors: What nobody dealt with, in the order of time.
        finished: Whether main ended by itself.
        has_main: Whether there was one.
    """
    reported = _reported(errors)
    return (
        _combine(cause, reported) if reported else _without_error(cause, errors, finished=finished, has_main=has_main)
    )


def status_so_far(cause: Cause, errors: Sequence[BaseException], *, finished: bool, has_main: bool) -> int:
    """The exit status, should nothing else happen; given the same as `what_to_raise`. Changes no exception."""
    reported = _reported(errors)
    otherwise = None if reported else _without_error(cause, errors, finished=finished, has_main=has_main)
    return exit_status(reported[0] if reported else otherwise)


def _reported(errors: Sequence[BaseException]) -> list[BaseException]:
    return [error for error in errors if not isinstance(error, KeyboardInterrupt)]


def _without_error(
    cause: Cause, errors: Sequence[BaseException], *, finished: bool, has_main: bool
) -> BaseException | None:
    if errors:  # Ctrl-C in code is Ctrl-C
        return Interrupted(signal.SIGINT)
    if cause.signal is None:
        return None
    if cause.signal != signal.SIGINT and (finished or not has_main):
        return None
    return Interrupted(cause.signal)


def _combine(cause: Cause, errors: Sequence[BaseException]) -> BaseException:
    first, *rest = {id(error): error for error in errors}.values()
    is_cause = any(each is cause.exception for each in (first, *shown_with(first)))
    if not is_cause and rest and all(isinstance(each, Exception) for each in errors):
        group = [each for each in (first, *rest) if isinstance(each, Exception)]
        return ExceptionGroup(f"{len(group)} errors after {cause}", group)
    if rest:
        last, seen = first, {id(each) for each in rest}
        while id(last) not in seen:
            seen.add(id(last))
            before = None if last.__suppress_context__ else last.__context__
            before = before if last.__cause__ is None else last.__cause__
            last = last if before is None else before
        more = rest[0] if len(rest) == 1 else BaseExceptionGroup("during the shutdown", rest)
        if all(last is not each for each in rest):  # or it is shown already
            # An exception may refuse to be changed: a frozen dataclass does.
            BaseException.__setattr__(last, "__context__", more)
            BaseException.__setattr__(last, "__suppress_context__", False)
    return first


def exit_status(raised: BaseException | None) -> int:
    """The status of a process that ends because nobody catches this exception; negative: by that signal."""
    if raised is None:
        return 0
    if isinstance(raised, Interrupted):
        return status_of_signal(raised.signal)
    if isinstance(raised, SystemExit):
        return status_of_exit(raised)
    return 1
