"""What the checks of signals and statuses find in programs that differ in one thing."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

import pytest
from support.subjects import BARE, DEAF, SOUND, request

from graceful._doctor import signals
from graceful._doctor.ending import Ending
from graceful._doctor.runs import Runs
from graceful._doctor.verdict import Finding, Level

pytestmark = pytest.mark.usefixtures("nothing_left")

#: The grace of a program that ends, which is long because the machine may be busy, and of one that does not.
LONG, SHORT = 10.0, 1.0
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

#: Takes a moment for its cleanup at Ctrl-C, which another Ctrl-C cuts short.
IMPATIENT = """
say("ready")
try:
    signal.pause()
except KeyboardInterrupt:
    time.sleep(0.3)
    say("bye")
    leave()
"""
#: The same, but hears a signal that comes again no more.
PATIENT = IMPATIENT.replace("    time", "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    time")
#: Hears the signal only once it is ready.
LATE = "on(signal.SIGTERM, lambda: None); time.sleep(0.4)" + SOUND
#: Answers the signal during its start with an error.
CRASHING = "on(signal.SIGTERM, lambda: leave(1)); time.sleep(0.4)" + SOUND


@pytest.mark.parametrize(
    ("check", "source", "grace", "level", "figure"),
    [
        (signals.stop, SOUND, LONG, Level.OK, "exit(0)"),
        (signals.stop, DEAF, SHORT, Level.FAIL, "still running after 1.0 s"),
        (signals.sigint, SOUND, LONG, Level.OK, "exit(0)"),
        (signals.sigint, DEAF, SHORT, Level.FAIL, "still running after 1.0 s"),
        (signals.sighup, SOUND, LONG, Level.OK, "exit(0)"),
        (signals.sighup, DEAF + BARE, SHORT, Level.WARN, "a closed terminal does not end it"),
        (signals.handler, SOUND, LONG, Level.OK, "the program or its runtime has one"),
        (signals.handler, BARE, LONG, Level.WARN, "no handler"),
        (signals.handler, "signal.signal(15, signal.SIG_IGN)\n" + BARE, SHORT, Level.FAIL, "it ignores the signal"),
        (signals.exit_status, SOUND, LONG, Level.OK, "exit(0): 0 in a shell, clean for systemd, Completed in Kubernetes"),
        (signals.exit_status, BARE, LONG, Level.OK, "died by SIGTERM: 143 in a shell, clean for systemd, Error 143 in"),
        (signals.exit_status, "on(15, lambda: leave(143))\n" + BARE, LONG, Level.WARN, "exit(143): 143 in a shell, a failure"),
        (signals.exit_status, "on(15, lambda: leave(1))\n" + BARE, LONG, Level.FAIL, "exit(1): 1 in a shell, a failure"),
        (signals.startup, SOUND, LONG, Level.OK, "ended each time"),
        (signals.startup, LATE, SHORT, Level.FAIL, "still running after 1.0 s"),
        (signals.startup, CRASHING, LONG, Level.WARN, "exit(1)"),
        (signals.double_ctrl_c, PATIENT, LONG, Level.OK, "exit(0)"),
        (signals.double_ctrl_c, IMPATIENT, LONG, Level.FAIL, "instead of exit(0)"),
        (signals.double_ctrl_c, IMPATIENT.replace("    leave()", "").replace("    time", "    signal.signal(2, lambda *_: leave())\n    time"),
         LONG, Level.FAIL, "that a single Ctrl-C brings and a doubled one does not: 1"),
        pytest.param(signals.shell_loop, BARE, LONG, Level.OK, "the loop ends", marks=needs_bash),
        pytest.param(signals.shell_loop, SOUND, LONG, Level.FAIL, "the loop goes on after Ctrl-C", marks=needs_bash),
        pytest.param(signals.shell_loop, DEAF, SHORT, Level.FAIL, "still running after 1.0 s", marks=needs_bash),
    ],
)  # fmt: skip
def test_a_check(check: Callable[[Runs], Finding], source: str, grace: float, level: Level, figure: str) -> None:
    """The level, and the figure that tells why."""
    found = check(Runs(request(source, grace=grace)))

    assert level == found.level, found
    assert figure in found.figure


def test_another_signal() -> None:
    """The one that was asked for is the one that is sent."""
    runs = Runs(request("on(signal.SIGUSR1, lambda: leave(5)); forever()", signal=signal.SIGUSR1))

    assert signals.stop(runs).figure.endswith("exit(5)")
    assert Level.OK is signals.handler(runs).level


def test_late() -> None:
    """An end just within the grace is a risk."""
    assert [Level.OK, Level.WARN, Level.FAIL] == [
        signals.ends(Ending(status=status, took=took), 10.0).level
        for status, took in [(0, 7.9), (0, 8.1), (None, 10.0)]
    ]
