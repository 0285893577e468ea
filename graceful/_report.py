"""What happened, as a fact to keep; and what `run()` makes of it: a result, or the exception that tells the truth."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from graceful._errors import Interrupted
from graceful._model import Cause, Fact, Failure, Outcome, dataclass, describe

__all__ = ["Report", "exit_status", "verdict_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Report(Fact):
    """
    The last shutdown of an app.

    Attributes:
        cause: The first cause.
        causes: All of them, in the order they were sighted; echoes of the same request are not counted.
        outcomes: How each hook ended, and each task that would not; in the order they ended.
        failures: The exceptions that nobody had handled, also those that a hook dealt with; the last 100.
        took: Seconds from the first cause to the end of `run()`.
        exit_status: What the parent sees if nobody catches what `run()` raises, as `subprocess` counts: negative for
            death by that signal.
    """

    cause: Cause
    causes: tuple[Cause, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    took: float = 0.0
    exit_status: int = 0

    def text(self) -> str:
        """A timeline to read, one line an event, seconds from the first cause in front."""
        zero = self.cause.at
        rows = [(cause.at - zero, f"{cause.kind}: {cause}") for cause in self.causes]
        rows += [(outcome.at - zero, _outcome_text(outcome)) for outcome in self.outcomes]
        told = {id(cause.exception) for cause in self.causes}
        rows += [
            (failure.at - zero, f"failure: {describe(failure.exception)}, {failure.message}")
            for failure in self.failures
            if id(failure.exception) not in told
        ]
        lines = [f"{at:+9.3f} s  {what}" for at, what in sorted(rows, key=lambda row: row[0])]
        return "\n".join([*lines, f"{self.took:+9.3f} s  over, exit status {self.exit_status}"])


def _outcome_text(outcome: Outcome) -> str:
    error = f": {describe(outcome.error)}" if outcome.error is not None else ""
    stood = [f"\n{'at':>17} {line}" for line in reversed(outcome.stack[-5:])]
    return "".join(
        [
            f"{outcome.stage} {outcome.hook} ({outcome.where}) {outcome.verdict} after {outcome.took:.3f} s{error}",
            *stood,
        ]
    )


def verdict_of(
    cause: Cause, errors: Sequence[BaseException], *, finished: bool, has_main: bool
) -> BaseException | None:
    """
    What `run()` raises; `None`: it returns.

    An error outranks a signal, or a parent would take a failed cleanup for a clean end. The first error in time is
    the one that is raised, whatever it is, so that `sys.exit` in a task exits with its status. Errors of hooks come as
    one group where there are several, and stay chained to the error that was there before them.

    Args:
        errors: What nobody dealt with, in the order of time.
        finished: Whether main ended by itself.
        has_main: Whether there was one.
    """
    told = [error for error in errors if not isinstance(error, KeyboardInterrupt)]
    if told:
        return _raised(cause, told)
    if errors:  # Ctrl-C in code is Ctrl-C
        return Interrupted(signal.SIGINT)
    if cause.signal is None:
        return None
    if cause.signal != signal.SIGINT and (finished or not has_main):
        return None
    return Interrupted(cause.signal)


def _raised(cause: Cause, errors: Sequence[BaseException]) -> BaseException:
    first, *rest = {id(error): error for error in errors}.values()
    if cause.exception is not first and rest and all(isinstance(each, Exception) for each in errors):
        group = [each for each in (first, *rest) if isinstance(each, Exception)]
        return ExceptionGroup(f"{len(group)} errors after {cause}", group)
    if rest:
        last, seen = first, {id(each) for each in rest}
        while id(last) not in seen:
            seen.add(id(last))
            before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
            last = last if before is None else before
        more = rest[0] if len(rest) == 1 else BaseExceptionGroup("while the program stopped", rest)
        if all(last is not each for each in rest):  # or it is shown already
            # An exception may refuse to be changed: a frozen dataclass does.
            BaseException.__setattr__(last, "__context__", more)
            BaseException.__setattr__(last, "__suppress_context__", False)
    return first


def exit_status(raised: BaseException | None) -> int:
    """The status of a process that ends because nobody catches this; negative: by that signal."""
    if raised is None:
        return 0
    if isinstance(raised, Interrupted):
        return -int(raised.signal)
    if isinstance(raised, SystemExit):
        return raised.code if isinstance(raised.code, int) else int(raised.code is not None)
    return 1
