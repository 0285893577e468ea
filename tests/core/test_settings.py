"""What an App is made with: defaults, the environment variables and the name."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from graceful import App

# --- defaults --------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    """An App without arguments has 8 s of grace, no delay, half a second of debounce and a second of patience."""
    settings = App()._settings

    assert (8.0, 0.0, 0.5, 1.0) == (settings.grace, settings.drain_delay, settings.debounce, settings.patience)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP is of POSIX")
def test_default_signals() -> None:
    """SIGINT, SIGTERM and a closed terminal stop a program."""
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} == {*App()._settings.signals}


def test_no_patience_is_not_zero_patience() -> None:
    """`patience=None` means that tasks are not watched."""
    assert App(patience=None)._settings.patience is None


@pytest.mark.parametrize(("grace", "delay"), [(8, 8), (5, 6), (0.5, 8)])
def test_delay_is_part_of_the_grace(grace: float, delay: float) -> None:
    """A delay that leaves nothing of the grace is refused, with both numbers."""
    with pytest.raises(ValueError, match=rf"^drain_delay must be less .*{grace:g} s.* got {delay:g}$"):
        App(grace=grace, drain_delay=delay)


# --- the environment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "argument", "other"),
    [("GRACEFUL_GRACE", "grace", "drain_delay"), ("GRACEFUL_DRAIN_DELAY", "drain_delay", "grace")],
)
@pytest.mark.parametrize(("text", "expected"), [("5", 5.0), ("2.5", 2.5), (" 3\n", 3.0), ("1e-1", 0.1)])
def test_environment(
    variable: str, argument: str, other: str, text: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the argument is None the environment variable says how many seconds, and nothing about the other one."""
    default = getattr(App(grace=None, drain_delay=None)._settings, other)
    monkeypatch.setenv(variable, text)
    settings = App(grace=None, drain_delay=None)._settings

    assert expected == getattr(settings, argument)
    assert default == getattr(settings, other)


def test_argument_beats_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written in the program is not overruled from outside, nor is 0 taken for nothing."""
    monkeypatch.setenv("GRACEFUL_GRACE", "3")
    monkeypatch.setenv("GRACEFUL_DRAIN_DELAY", "2")
    settings = App(grace=20, drain_delay=0)._settings

    assert (20.0, 0.0) == (settings.grace, settings.drain_delay)


def test_environment_is_read_when_the_app_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set after the import counts for the apps that are made then."""
    monkeypatch.setenv("GRACEFUL_GRACE", "3")
    early = App()
    monkeypatch.setenv("GRACEFUL_GRACE", "4")

    assert (3.0, 4.0) == (early._settings.grace, App()._settings.grace)


@pytest.mark.parametrize("text", ["", "  "], ids=repr)
@pytest.mark.parametrize("variable", ["GRACEFUL_GRACE", "GRACEFUL_DRAIN_DELAY"])
def test_empty_environment(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing is not set: that is how Compose and Helm leave one out."""
    monkeypatch.setenv(variable, text)
    settings = App(drain_delay=None)._settings

    assert (8.0, 0.0) == (settings.grace, settings.drain_delay)


@pytest.mark.parametrize("variable", ["GRACEFUL_GRACE", "GRACEFUL_DRAIN_DELAY"])
@pytest.mark.parametrize(
    ("text", "got"),
    [
        *[(text, repr(text)) for text in ("soon", "8s", "1,5", "0x8", "1 2")],
        ("nan", "nan"),
        ("Infinity", "inf"),
        ("1e999", "inf"),
        ("-1", "-1.0"),
    ],
)
def test_garbage_in_the_environment(variable: str, text: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage is a ValueError that names the variable, not the argument, because that is where it must be put right."""
    monkeypatch.setenv(variable, text)

    with pytest.raises(ValueError, match=rf"^{variable} must be a .*number of seconds,.* got {got}$"):
        App(grace=None, drain_delay=None)


def test_grace_of_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment cannot take the grace away altogether either."""
    monkeypatch.setenv("GRACEFUL_GRACE", "0")

    with pytest.raises(ValueError, match=r"^GRACEFUL_GRACE must be .*more than 0, got 0"):
        App()


def test_delay_from_the_environment_is_part_of_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delay is compared with the grace wherever either comes from."""
    monkeypatch.setenv("GRACEFUL_DRAIN_DELAY", "8")

    with pytest.raises(ValueError, match=r"^drain_delay must be less than .*8 s.* got 8$"):
        App(drain_delay=None)


# --- the file for the report -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".svg", ".json", ".txt", ".mmd", ".trace.json", ".SVG"])
def test_file_for_the_report(ending: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GRACEFUL_REPORT names a file, from the working directory in which the app was made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRACEFUL_REPORT", f" last{ending}")
    settings = App()._settings
    monkeypatch.chdir("/")

    assert str(tmp_path / f"last{ending}") == settings.report_file


@pytest.mark.parametrize("text", [None, "", "  "], ids=repr)
def test_no_file_for_the_report(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set, or set to nothing, asks for no file."""
    if text is not None:
        monkeypatch.setenv("GRACEFUL_REPORT", text)

    assert App()._settings.report_file is None


@pytest.mark.parametrize("text", ["report", "report.png", "/tmp/", "svg", "report.svg.gz", "1"])
def test_unknown_ending_of_the_file_for_the_report(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending that stands for no format is a ValueError with all that do, before anything runs."""
    monkeypatch.setenv("GRACEFUL_REPORT", text)

    with pytest.raises(ValueError, match=r"^GRACEFUL_REPORT must be a file whose name ends in ") as raised:
        App()
    assert f".svg, .trace.json, .json, .txt or .mmd, got {text!r}" in str(raised.value)


# --- the name --------------------------------------------------------------------------------------------------------


def test_name() -> None:
    """An app is called what it was called."""
    assert "<graceful.App 'orders'>" == repr(App("orders"))


def test_name_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app without a name is called like the script, without its folder."""
    monkeypatch.setattr(sys, "argv", ["some/where/orders.py", "--verbose"])

    assert "<graceful.App 'orders.py'>" == repr(App())


@pytest.mark.parametrize("argv", [[], [""]], ids=repr)
def test_name_without_a_script(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In an interpreter without a script, embedded or not, it still has a name."""
    monkeypatch.setattr(sys, "argv", argv)

    assert "<graceful.App 'app'>" == repr(App())


@pytest.mark.parametrize("name", [5, b"orders", lambda: None], ids=["int", "bytes", "function"])
def test_names_that_are_no_strings(name: object) -> None:
    """A name that is no string, such as a function that `@App` was put above, is a TypeError that shows it."""
    with pytest.raises(TypeError, match=r"^name must be a string, got ") as raised:
        App(name)

    assert f"got {name!r} ({type(name).__name__})" in str(raised.value)
