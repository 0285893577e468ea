"""Checks of how the program ends as PID 1, under load, with a hung child, with an idle client, with a blocked stdout."""

from __future__ import annotations

from graceful._doctor.ending import Ending, told
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.signals import ends
from graceful._doctor.verdict import Finding, Level

__all__ = ["closed_stdout", "full_stdout", "hung_child", "idle_client", "load", "pid_1", "restart"]


def pid_1(runs: Runs) -> Finding:
    """The signal ends it as PID 1, for which the kernel ignores a signal that has no handler (pid_namespaces(7))."""
    return ends(runs.as_pid_1(), runs.request.grace)


def hung_child(runs: Runs) -> Finding:
    """A child that hangs does not keep it from ending."""
    stopped, ending = runs.with_child_stopped()
    found = ends(ending, runs.request.grace)
    return Finding(found.level, f"{stopped.name} stopped: {found.figure}")


def closed_stdout(runs: Runs) -> Finding:
    """A stdout without a reader does not keep it from ending, and does not change the status."""
    return _as_usual(runs, runs.with_stdout_closed())


def full_stdout(runs: Runs) -> Finding:
    """A stdout that is full and that nothing reads does not keep it from ending."""
    return _as_usual(runs, runs.with_stdout_full())


def load(runs: Runs) -> Finding:
    """It ends under load, and the load generator exits with 0."""
    under = runs.under_load()
    found = ends(under.ending, runs.request.grace)
    if found.level is Level.FAIL:
        return found
    if under.status is None:
        return Finding(Level.WARN, f"the load was still running {runs.request.grace:g} s after the program's end")
    if under.status:
        return Finding(Level.FAIL, f"the load ended with {told(under.status)}: {under.last_line}")
    if under.early:
        return Finding(Level.WARN, "the load was over before the signal came")
    return Finding(found.level, f"{under.ending.told()}; the load ended with exit(0)")


def idle_client(runs: Runs) -> Finding:
    """An idle connection does not keep it from ending."""
    restarted = runs.restarted()
    if not restarted.ports:
        raise NotPossibleError("it listens at no TCP port of this host")
    found = ends(restarted.ending, runs.request.grace)
    return Finding(found.level, f"connected at port {', '.join(map(str, restarted.ports))}: {found.figure}")


def restart(runs: Runs) -> Finding:
    """It can be started again at once."""
    restarted = runs.restarted()
    if restarted.ending.status is None:
        raise NotPossibleError("it does not end while a client is connected")
    if restarted.ready_after is None:
        return Finding(Level.FAIL, restarted.reason)
    return Finding(Level.OK, f"ready again after {restarted.ready_after:.2f} s")


def _as_usual(runs: Runs, ending: Ending) -> Finding:
    """It ends within the grace, with its usual status."""
    found = ends(ending, runs.request.grace)
    usual = runs.stopped(runs.request.signal).status
    if found.level is Level.OK and usual is not None and ending.status != usual:
        return Finding(Level.WARN, f"{ending.told()} instead of {told(usual)}")
    return found
