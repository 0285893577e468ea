"""The streams that programs write to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from graceful._doctor.output import Output


@pytest.fixture
def pipe() -> Iterator[tuple[Output, int]]:
    """A pipe that is read, and a program's copy of its writing end."""
    output = Output()
    copy = os.dup(output.write_end)
    output.begin()
    yield output, copy
    os.close(copy)
    output.close()


def test_what_is_written_arrives() -> None:
    """All of it, and the end is noticed."""
    output = Output()
    copy = os.dup(output.write_end)
    output.begin()
    began = output.wrote_at()

    os.write(copy, "grüß dich\n".encode() + b"\xff")
    os.close(copy)
    output.wait(10)

    assert "grüß dich\n\N{REPLACEMENT CHARACTER}" == output.text()
    assert output.wrote_at() > began
    output.close()


def test_a_terminal() -> None:
    """A program on it finds a terminal, and what it writes arrives with its newlines as they were."""
    output = Output(terminal=True)
    copy = os.dup(output.write_end)
    output.begin()

    assert os.isatty(copy)
    os.write(copy, b"one\ntwo\n")
    os.close(copy)
    output.wait(10)
    assert "one\ntwo\n" == output.text()
    output.close()


def test_shut(pipe: tuple[Output, int]) -> None:
    """Who writes then has no reader."""
    output, copy = pipe
    output.close_reader()

    with pytest.raises(BrokenPipeError):
        os.write(copy, b"x")


def test_clogged(pipe: tuple[Output, int]) -> None:
    """Who writes then waits for ever; the descriptor itself stays as it was."""
    output, copy = pipe
    output.fill()

    assert os.get_blocking(copy)
    os.set_blocking(copy, False)
    with pytest.raises(BlockingIOError):
        os.write(copy, b"x")


@pytest.mark.parametrize("terminal", [False, True])
def test_no_descriptor_is_left(terminal: bool) -> None:
    """Not even by one that nobody ever began to read."""
    before = os.listdir("/proc/self/fd")
    Output(terminal=terminal).close()

    assert before == os.listdir("/proc/self/fd")
