"""How a status is read."""

from __future__ import annotations

import signal

import pytest

from graceful._doctor.ending import Ending, in_kubernetes, in_shell, in_systemd, told


@pytest.mark.parametrize(
    ("status", "words", "shell", "systemd", "kubernetes"),
    [
        (0, "exit(0)", 0, True, "Completed"),
        (1, "exit(1)", 1, False, "Error 1"),
        (143, "exit(143)", 143, False, "Error 143"),
        (-signal.SIGTERM, "died by SIGTERM", 143, True, "Error 143"),
        (-signal.SIGINT, "died by SIGINT", 130, True, "Error 130"),
        (-signal.SIGHUP, "died by SIGHUP", 129, True, "Error 129"),
        (-signal.SIGQUIT, "died by SIGQUIT", 131, False, "Error 131"),
        (-signal.SIGSEGV, "died by SIGSEGV", 139, False, "Error 139"),
        (-40, "died by signal 40", 168, False, "Error 168"),
    ],
)
def test_readings(status: int, words: str, shell: int, systemd: bool, kubernetes: str) -> None:
    """What a shell, systemd and Kubernetes make of it."""
    assert (words, shell, systemd, kubernetes) == (
        told(status),
        in_shell(status),
        in_systemd(status),
        in_kubernetes(status),
    )


def test_told() -> None:
    """The time and the status, or that there is none."""
    assert "0.13 s, exit(0)" == Ending(status=0, took=0.126).told()
    assert "still running after 3.0 s" == Ending(status=None, took=3.01).told()


def test_lines() -> None:
    """Words with digits, UUIDs and empty lines make no difference."""
    told = "pid 12\n\n  at 10:30:01\npid 4711\nbye\n<object at 0x7f1e>\n<object at 0x82a0>\nid e5f1c0\nid "
    ending = Ending(status=0, took=0, stdout=told + "deadbeef-cafe-beef-fade-abcdefabcdef")

    assert {"pid 0", "at 0:0:0", "bye", "<object at 0>", "id 0"} == ending.lines
