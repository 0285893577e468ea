"""`python -m graceful`."""

from __future__ import annotations

import subprocess
import sys

import pytest


def graceful(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graceful", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help(arguments: list[str]) -> None:
    """Alone, it says what there is."""
    ran = graceful(*arguments)

    assert 0 == ran.returncode
    assert ran.stdout.startswith("usage: python -m graceful ")
    assert "\n  doctor    stop a program" in ran.stdout


def test_help_of_a_command() -> None:
    """Each command has its own."""
    ran = graceful("doctor", "--help")

    assert 0 == ran.returncode
    assert ran.stdout.startswith("usage: python -m graceful doctor [options] -- COMMAND ...")


def test_an_unknown_command() -> None:
    """The status is 2, and stderr says which there are."""
    ran = graceful("surgeon", "--", "true")

    assert (2, "") == (ran.returncode, ran.stdout)
    assert "invalid choice: 'surgeon'" in ran.stderr
    assert "doctor" in ran.stderr
