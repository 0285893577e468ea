"""The command beside the program."""

from __future__ import annotations

import os

import pytest
from support.subjects import is_alive

from graceful._doctor.family import wait_until
from graceful._doctor.load import Load, missing_command


@pytest.mark.parametrize(
    ("command", "status", "said"), [("echo one; echo two; exit 3", 3, "two"), ("true", 0, "it wrote nothing")]
)
def test_its_end(command: str, status: int, said: str) -> None:
    """Its status and its last words are known."""
    with Load.running(command) as load:
        assert (status, said) == (load.wait(20), load.last_line())


def test_it_is_ended_with_what_it_has_started(tmp_path) -> None:
    """A load that goes on for ever does not outlive the block, and nor do its children."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Load.running(f"sleep 1000 & echo $! > {fifo}; trap '' TERM; wait; wait; sleep 1000") as load:
        child = int(fifo.read_text())
        assert load.wait(0) is None

    assert not is_alive(load.pid)
    assert wait_until(lambda: not is_alive(child), 10)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("no-such-load -n 5", "no-such-load"),
        ("/nowhere/load; true", "/nowhere/load"),
        ("no-such-load", "no-such-load"),
        ("sleep 1", None),
        ("cd / && no-such-load", None),
        ("if true; then no-such-load; fi", None),
        ("A=1 no-such-load", None),
        ('"no such load"', None),
        ("(no-such-load)", None),
        ("", None),
    ],
)
def test_a_command_that_is_missing(command: str, missing: str | None) -> None:
    """Where that is seen without running it."""
    assert missing == missing_command(command)


def test_colours() -> None:
    """A report has none of the load's."""
    with Load.running("printf '\\033[31mlost\\033[0m\\n'; exit 3") as load:
        assert (3, "lost") == (load.wait(20), load.last_line())
