"""The streams that programs write to."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from graceful._doctor.output import Output, plain


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


@pytest.mark.parametrize("end", [Output.close_reader, Output.fill])
def test_what_was_written_just_before_arrives(pipe: tuple[Output, int], end: Callable[[Output], None]) -> None:
    """Nothing is lost of what the program had written when the reading stopped."""
    output, copy = pipe
    os.write(copy, b"first\n")
    os.write(copy, b"last\n")
    end(output)

    assert "first\nlast" == output.text().rstrip("\n")


@pytest.mark.parametrize("end", [Output.close_reader, Output.fill])
def test_a_program_that_never_stops_writing(end: Callable[[Output], None]) -> None:
    """Its pipe is full again as soon as it has been read."""
    output = Output()
    with subprocess.Popen(["yes"], stdout=output.write_end, stderr=subprocess.DEVNULL) as program:
        output.begin()
        while not output.text():
            time.sleep(0.001)
        end(output)
        program.kill()

    assert output.text().startswith("y\ny\n")
    output.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_no_descriptor_is_left(terminal: bool) -> None:
    """Not even by one that nobody ever began to read."""
    before = os.listdir("/proc/self/fd")
    Output(terminal=terminal).close()

    assert before == os.listdir("/proc/self/fd")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1mserver ready\x1b[0m\n", "server ready\n"),
        ("\x1b[38;5;196;4mred\x1b[K\x1b[?25h", "red"),
        ("x\x1b]0;title\x07y\x1b]8;;http://a\x1b\\z", "xyz"),
        ("\x1b7\x1b(B\x1b=kept\x1b8", "kept"),
        ("a\x00b\x07c\x9bd\x7f", "abcd"),
        ("\tübrig\r\n", "\tübrig\r\n"),
        ("\x1b[3", "[3"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    """Without codes for a terminal, and without control characters."""
    assert shown == plain(text)


def test_codes_of_a_program() -> None:
    """They are taken away from what was read."""
    output = Output()
    os.write(output.write_end, b"\x1b[1mserver ready\x1b[0m\n")
    output.begin()
    output.wait(10)

    assert "server ready\n" == output.text()
    output.close()
