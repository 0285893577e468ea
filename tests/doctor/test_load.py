"""The command beside the program."""

from __future__ import annotations

import os

import pytest
from support.subjects import is_alive

from graceful._doctor.family import wait_until
from graceful._doctor.load import Load


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
