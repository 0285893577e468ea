"""The list of checks, and how one is made."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from support.subjects import DEAF, SOUND, request

from graceful._doctor.catalogue import CHECKS, START_AGAIN, Check
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.subject import NotReadyError
from graceful._doctor.verdict import Finding, Level, Verdict

CHECK = Check("name", "{signal} somewhere", lambda _: Finding(Level.OK, "fine"), "the cure", "App()", needs_stop=False)
IDS = [check.name for check in CHECKS]


def failing(error: Exception) -> Check:
    def examine(_: Runs) -> Finding:
        raise error

    return replace(CHECK, examine=examine)


def test_names() -> None:
    """They can be said on a command line, and each stands for one check: JSON that is compared between versions has them."""
    assert [
        "stop", "sigint", "sighup", "handler", "exit-status", "startup", "double-ctrl-c", "shell-loop", "pid1", "hung-child", "closed-stdout", "full-stdout",
        "stdout-kept", "left-processes", "left-ports", "left-memory", "left-files", "notify", "load", "idle-client", "restart",
    ] == IDS  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_a_cure(check: Check) -> None:
    """Each has one, in any language and with this package, of one line each."""
    for text in (check.title, check.cure, check.python):
        assert text.strip()
        assert "\n" not in text
        assert len(text) <= 110
    assert "{" not in check.titled(signal.SIGTERM)


@pytest.mark.parametrize("level", Level)
def test_the_cure_is_told_where_it_is_needed(level: Level) -> None:
    """A FAIL and a warning have it."""
    verdict = replace(CHECK, examine=lambda _: Finding(level, "0.1 s")).verdict(Runs(request(SOUND)))

    needed = level in {Level.FAIL, Level.WARN}
    told = ("the cure", "App()") if needed else ("", "")
    assert Verdict("name", "SIGTERM somewhere", level, "0.1 s", *told) == verdict


def test_what_is_not_possible_is_skipped() -> None:
    """The reason is the figure."""
    verdict = failing(NotPossibleError("unshare is not installed")).verdict(Runs(request(SOUND)))

    assert (Level.SKIP, "unshare is not installed") == (verdict.level, verdict.figure)


def test_a_program_that_does_not_start_again_has_failed() -> None:
    """It did start the first time."""
    verdict = failing(NotReadyError("it ended before it was ready")).verdict(Runs(request(SOUND)))

    assert (Level.FAIL, "it did not start again: it ended before it was ready") == (verdict.level, verdict.figure)
    assert START_AGAIN == (verdict.cure, verdict.python)


def test_a_check_about_the_signal_that_was_asked_for() -> None:
    """It is made once."""
    verdict = replace(CHECK, about=signal.SIGINT).verdict(Runs(request(SOUND, signal=signal.SIGINT)))

    assert Level.SKIP is verdict.level


@pytest.mark.usefixtures("nothing_left")
def test_a_program_that_does_not_end() -> None:
    """What needs_stop that it does is not tried, which would take the whole grace each time."""
    runs = Runs(request(DEAF, grace=0.2))
    verdict = replace(CHECK, needs_stop=True).verdict(runs)

    assert (Level.SKIP, "SIGTERM does not end it") == (verdict.level, verdict.figure)
    assert Level.OK is CHECK.verdict(runs).level


@pytest.mark.usefixtures("nothing_left")
def test_a_program_that_does_not_start_even_for_the_signal() -> None:
    """The run that shows whether the signal ends it is a run as any other: where it fails, the other checks are still made."""
    runs = Runs(request("leave(3)"))

    verdict = replace(CHECK, needs_stop=True).verdict(runs)
    assert (Level.FAIL, True) == (verdict.level, verdict.figure.startswith("it did not start again: it ended before"))


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks /proc is skipped with the reason, the rest is not."""
    monkeypatch.setattr("graceful._doctor.catalogue.is_mounted", lambda: False)
    runs = Runs(request(SOUND))

    verdict = replace(CHECK, needs_proc=True).verdict(runs)
    assert (Level.SKIP, "/proc is not mounted") == (verdict.level, verdict.figure)
    assert Level.OK is CHECK.verdict(runs).level
    assert {"handler", "pid1", "hung-child", "closed-stdout", "full-stdout", "left-processes", "left-ports", "left-memory",
            "idle-client", "restart"} == {check.name for check in CHECKS if check.needs_proc}  # fmt: skip
