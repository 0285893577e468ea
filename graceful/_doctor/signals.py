"""Checks of what each signal does, and of how the exit status is read."""

from __future__ import annotations

import signal

from graceful._doctor.ending import Ending, in_kubernetes, in_shell, in_systemd, told
from graceful._doctor.runs import EARLY, NotPossibleError, Runs
from graceful._doctor.verdict import Finding, Level

__all__ = ["double_ctrl_c", "ends", "exit_status", "handler", "shell_loop", "sighup", "sigint", "startup", "stop"]

#: The part of the grace after which an ending is late enough for a warning.
LATE = 0.8


def ends(ending: Ending, grace: float) -> Finding:
    """The finding on any ending: whether it came within the grace."""
    if ending.status is None:
        return Finding(Level.FAIL, ending.told())
    if ending.took > LATE * grace:
        return Finding(Level.WARN, f"{ending.told()}: little is left of the {grace:g} s")
    return Finding(Level.OK, ending.told())


def stop(runs: Runs) -> Finding:
    """The signal ends it within the grace."""
    return ends(runs.stopped(runs.request.signal), runs.request.grace)


def sigint(runs: Runs) -> Finding:
    """SIGINT ends it within the grace."""
    return ends(runs.stopped(signal.SIGINT), runs.request.grace)


def sighup(runs: Runs) -> Finding:
    """SIGHUP ends it. It may also go on, as a daemon does that reloads its configuration, but that is worth a warning."""
    usual = runs.stopped(runs.request.signal)
    ending = runs.stopped(signal.SIGHUP, min(runs.request.grace, 2 * usual.took + 1))
    if ending.status is None:
        return Finding(Level.WARN, f"{ending.told()}: a closed terminal does not end it")
    return ends(ending, runs.request.grace)


def handler(runs: Runs) -> Finding:
    """It catches the signal: otherwise it dies before it can clean up."""
    ending = runs.stopped(runs.request.signal)
    if ending.caught is None:
        raise NotPossibleError("it had ended before that could be seen")
    if ending.caught:
        return Finding(Level.OK, "the program or its runtime has one")
    if ending.status is None:
        return Finding(Level.FAIL, "it ignores the signal")
    return Finding(Level.WARN, "no handler: it dies at once, and no cleanup runs")


def exit_status(runs: Runs) -> Finding:
    """Supervisors do not take the ending for a failure."""
    ended = runs.stopped(runs.request.signal).status
    assert ended is not None
    systemd = "clean" if in_systemd(ended) else "a failure"
    figure = f"{told(ended)}: {in_shell(ended)} in a shell, {systemd} for systemd, {in_kubernetes(ended)} in Kubernetes"
    if in_systemd(ended):
        return Finding(Level.OK, figure)
    conventional = in_shell(ended) == 128 + runs.request.signal
    return Finding(Level.WARN if conventional else Level.FAIL, figure)


def startup(runs: Runs) -> Finding:
    """A signal during the startup is not lost, and does not end it with an error."""
    delays: list[str] = []
    for share in EARLY:
        delay, ending = runs.early(share)
        delays.append(f"{delay:.2f}")
        if ending.status is None:
            return Finding(Level.FAIL, f"after {delay:.2f} s: {ending.told()}")
        if in_shell(ending.status) not in {0, 128 + runs.request.signal}:
            return Finding(Level.WARN, f"after {delay:.2f} s: {ending.told()}")
    return Finding(Level.OK, f"after {', '.join(delays)} s: ended each time")


def double_ctrl_c(runs: Runs) -> Finding:
    """A Ctrl-C that arrives twice is one request: output and status are the same as after a single one."""
    once = runs.interrupted()
    if once.status is None:
        raise NotPossibleError("Ctrl-C does not end it")
    both = runs.doubled()
    if both.status is None:
        return Finding(Level.FAIL, both.told())
    missing = len(once.stdout.splitlines()) - len(both.stdout.splitlines())
    missing += len(once.stderr.splitlines()) - len(both.stderr.splitlines())
    if once.status != both.status:
        return Finding(Level.FAIL, f"{told(both.status)} instead of {told(once.status)}")
    if missing > 0:
        return Finding(Level.FAIL, f"lines of output that a single Ctrl-C brings and a doubled one does not: {missing}")
    return Finding(Level.OK, both.told())


def shell_loop(runs: Runs) -> Finding:
    """Ctrl-C ends a shell loop around the program, as it does only if the program dies by SIGINT."""
    looped = runs.looped()
    if looped.runs > 1:
        return Finding(Level.FAIL, "the loop goes on after Ctrl-C")
    if not looped.ended:
        return Finding(Level.FAIL, f"still running after {looped.took:.1f} s")
    return Finding(Level.OK, f"{looped.took:.2f} s, the loop ends")
