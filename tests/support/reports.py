"""Reports of shutdowns, made by hand: for tests of what draws them and writes them."""

from __future__ import annotations

import signal

from graceful import Cause, Failure, Kind, Outcome, Report, Verdict

#: When the first cause of each came, on the clock of `time.monotonic`.
ZERO = 1000.0

HOSTILE = '</text><script>\x00\x1b\ud800 & "quoted" \']]> :;#%%'


def outcome(hook, begin, took, verdict=Verdict.OK, stage="cleanup", error=None, stack=()):
    """One outcome; `begin` in seconds since the first cause."""
    return Outcome(hook, verdict, "orders.py:12", stage, ZERO + begin, took, error, tuple(stack))


def cause(at=0.0, number=signal.SIGTERM):
    """A signal."""
    return Cause(Kind.SIGNAL, ZERO + at, signal=number)


def failure(at, error, message="task 'worker' failed"):
    """An exception that nobody handled."""
    return Failure(error, message, {}, None, ZERO + at)


def eventful():
    """Two causes, every verdict, hooks beside each other, an hour before the first cause, and failures."""
    first, second = cause(), cause(4.5, signal.SIGINT)
    outcomes = (
        outcome("connect", -3600, 1.2, stage="startup"),
        outcome("stop_accepting", 0, 0.4, stage="drain"),
        outcome(
            "consume", 0.4, 2, Verdict.TIMED_OUT, "cancel", stack=["orders.py:30 in consume", "tasks.py:7 in sleep"]
        ),
        outcome("flush", 2.4, 2, Verdict.RAISED, error=OSError("disk full")),
        outcome("close", 2.5, 1),
        outcome("Site.start.<locals>.leave", 4.4, 0.3, Verdict.CANCELLED),
        outcome("bye", 5.0, 0, Verdict.SKIPPED),
    )
    failures = (failure(-10, KeyError("early")), failure(5.0, ValueError("late"), "callback failed"))
    return Report(first, (first, second), outcomes, failures, 5.25, -int(signal.SIGTERM), 3)


def hostile():
    """Text that is markup, or cannot be printed, wherever there is text."""
    hurt = [outcome(HOSTILE, 0, 1, Verdict.RAISED, HOSTILE, ValueError(HOSTILE), [HOSTILE])]
    reason = Cause(Kind.EXCEPTION, ZERO, exception=ValueError(HOSTILE))
    return Report(reason, (reason,), tuple(hurt), (failure(0.5, KeyError(HOSTILE), HOSTILE),), 1.0, 1)


def long():
    """Forty hooks, one after the other."""
    return Report(
        cause(), (cause(),), tuple(outcome(f"service_{n:02}.close", n * 0.7, 0.7) for n in range(40)), (), 28.0
    )


def empty():
    """Nothing but a cause."""
    return Report(Cause(Kind.COMPLETED, ZERO))


REPORTS = {"eventful": eventful, "hostile": hostile, "long": long, "empty": empty}
