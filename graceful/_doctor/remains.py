"""Checks of what the program leaves behind, and whether its output and its notifications arrive."""

from __future__ import annotations

from collections.abc import Sequence

from graceful._doctor.notify import WATCHDOG
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.verdict import Finding, Level

__all__ = ["files", "memory", "notify", "ports", "processes", "stdout_kept"]

#: How many names are shown.
NAMED = 3


def stdout_kept(runs: Runs) -> Finding:
    """
    All that it writes to stdout arrives.

    What it has written cannot be known from outside. But most runtimes write to a terminal line by line, and to a pipe only
    when a buffer is full. A line that is shown on a terminal and does not arrive in a pipe may have been lost in that buffer.

    It may also be meant for a terminal only, be another one in each run, or come so late that the signal was quicker. So
    it counts as lost if it arrives in a pipe without a buffer, and does not in one with a buffer and more time.
    """
    shown, arrived = runs.on_terminal(), runs.stopped(runs.request.signal)
    missing = shown.lines - arrived.lines
    if missing:
        missing -= runs.later().lines
    if not missing:
        return Finding(Level.OK, f"lines on a terminal: {len(shown.lines)}, in a pipe: {len(arrived.lines)}")
    lost = missing & runs.unbuffered().lines
    if lost:
        return Finding(Level.FAIL, f"shown on a terminal, but lost in a pipe: {_names(sorted(lost))}")
    return Finding(
        Level.WARN, f"shown on a terminal only, on purpose or because it is lost in a pipe: {_names(sorted(missing))}"
    )


def processes(runs: Runs) -> Finding:
    """No process is left."""
    return _nothing(runs.stopped(runs.request.signal).left, Level.FAIL)


def ports(runs: Runs) -> Finding:
    """No port is still listened on."""
    return _nothing([f"port {port}" for port in runs.stopped(runs.request.signal).ports], Level.FAIL)


def memory(runs: Runs) -> Finding:
    """No shared memory is left: it would stay allocated until the next boot."""
    return _nothing(runs.stopped(runs.request.signal).memory, Level.FAIL)


def files(runs: Runs) -> Finding:
    """No temporary file is left."""
    return _nothing(runs.stopped(runs.request.signal).files, Level.WARN)


def notify(runs: Runs) -> Finding:
    """A program that tells the service manager READY=1 also tells it STOPPING=1."""
    said = runs.notified()
    known = [word for word in ("READY", "WATCHDOG", "STOPPING") if f"{word}=1" in said]
    if "READY" not in known:
        raise NotPossibleError("it sends nothing to NOTIFY_SOCKET" if not said else "it does not send READY=1")
    if "STOPPING" not in known:
        return Finding(Level.WARN, f"it sends {', '.join(known)}, but not STOPPING")
    missing = "" if "WATCHDOG" in known else f"; no WATCHDOG=1 within {WATCHDOG:g} s"
    return Finding(Level.OK, f"it sends {', '.join(known)}{missing}")


def _nothing(left: Sequence[str], level: Level) -> Finding:
    return Finding(level, f"left: {_names(left)}") if left else Finding(Level.OK, "none left")


def _names(found: Sequence[str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
