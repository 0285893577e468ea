"""The last words of a run that did not end cleanly: why, what failed, and what was stuck, as lines of text."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

from graceful._core.errors import HookTimeout
from graceful._core.frames import unwound_lines
from graceful._core.types import Outcome, Verdict, describe
from graceful._observe.report import Report
from graceful._process.exit import status_of_exit

__all__ = ["last_words", "trouble"]

#: Lines of a stack that are told, the innermost ones.
_LINES = 5

#: Exceptions of a group that are told.
_MOST = 10


def last_words(app: str, report: Report, errors: Sequence[BaseException]) -> str:
    """
    What to leave behind.

    Args:
        app: What the app is called in messages.
        report: What happened.
        errors: Those among its failures that nobody dealt with.

    Returns:
        A text of several lines; an empty one if the end was clean: nothing failed, and nothing had to be given up. So is death by
        the signal that asked for the end.
    """
    lines = trouble(report, errors)
    if not lines:
        return ""
    status = f"exit status {report.exit_status}"
    if report.exit_status < 0:
        status = f"death by {signal.Signals(-report.exit_status).name}"
    return "\n".join([f"{app} did not end cleanly ({report.cause}), {status}:", *lines])


def trouble(report: Report, errors: Sequence[BaseException], *, asking: bool = True) -> list[str]:
    """
    What failed so far, or was stuck until it was given up.

    Args:
        report: What happened so far.
        errors: Those among its failures that nobody dealt with.
        asking: Whether exceptions are asked for their text; else they are told by their type, because code of the program could
            block there.
    """
    text = describe if asking else _name
    lines: list[str] = []
    told = set[int]()
    for outcome in report.outcomes:
        if outcome.verdict in (Verdict.RAISED, Verdict.TIMED_OUT):
            told.add(id(outcome.error))
            lines += _of_outcome(outcome, text)
    names = {id(failure.exception): failure.message for failure in report.failures}
    for error in errors:
        if id(error) not in told and not _is_clean(error):
            lines += [f"{names.get(id(error), 'failure')}: {text(error)}", *_details(error, text)]
    return lines


def _is_clean(error: BaseException) -> bool:
    """Whether it only asks for the end: Ctrl-C, or `sys.exit()` with status 0."""
    return isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and status_of_exit(error) == 0)


def _of_outcome(outcome: Outcome, text: Callable[[BaseException], str]) -> list[str]:
    what = f"{outcome.stage} {outcome.hook} ({outcome.where}) {outcome.verdict} after {outcome.took:.1f} s"
    error = outcome.error
    if error is None or isinstance(error, HookTimeout):  # which says the same again, but for the reason
        why = f": {error.why}" if error is not None and error.why else ""
        return [f"{what}{why}", *_stack(outcome.stack)]
    return [f"{what}: {text(error)}", *_details(error, text)]


def _details(error: BaseException, text: Callable[[BaseException], str], indent: str = "    ") -> list[str]:
    """Where it was raised; of a group, what is in it."""
    group: Any = error if BaseExceptionGroup in type(error).__mro__ else None
    if group is None:
        return _stack(unwound_lines(error), indent)
    lines: list[str] = []
    for each in group.exceptions[:_MOST]:
        lines += [f"{indent}{text(each)}", *_details(each, text, indent + "    ")]
    return lines


def _stack(stack: Sequence[str], indent: str = "    ") -> list[str]:
    return [f"{indent}at {line}" for line in reversed(stack[-_LINES:])]


def _name(error: BaseException) -> str:
    return type(error).__name__
