"""`python -m graceful`: the commands, each imported only where it is asked for, and the streams that they write to."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["main"]

COMMANDS = {
    "doctor": "stop a program in many ways, and say what is wrong with how it ends",
    "plan": "show the shutdown of an app without running it, and check the files that deploy it",
}
USAGE = 2
#: What a shell has in `$?` after a command that SIGPIPE ended: `head` has read enough, and no check has failed. The signal
#: itself would not do, because the doctor has to end what it has started first.
BROKEN_PIPE = 128 + 13


def main(argv: Sequence[str]) -> int:
    """
    Run one command.

    Args:
        argv: The name of the command and its arguments; none: the help is shown.

    Returns:
        The exit status.
    """
    closed = _opened()
    try:
        if "stdout" in closed:
            raise _OutputError("it is closed")
        try:
            return _run(argv)
        finally:
            _show("")  # what argparse has written
    except BrokenPipeError:
        _discard(sys.stdout, sys.stderr)
        return BROKEN_PIPE
    except _OutputError as error:
        _discard(sys.stdout)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"python -m graceful: cannot write to stdout: {error}\n")
        return USAGE
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # at its end Python would make 120 of the status
            _discard(sys.stderr)


def _run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m graceful",
        description="Graceful shutdown for asyncio.",
        epilog="\n".join(["commands:", *(f"  {name:<10}{text}" for name, text in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=[*COMMANDS], help="its own --help says more")
    name = parser.parse_args(argv[:1]).command
    if name == "doctor":
        if sys.platform != "linux":
            parser.error("the doctor needs Linux: it asks /proc which processes a program has, and what they use")
        from graceful._doctor.command import main as doctor  # saves its import where another command is asked for

        return doctor(argv[1:], _show)
    if name == "plan":
        from graceful._plan.command import main as plan  # saves its import, as above

        return plan(argv[1:], _show)
    parser.print_help()
    return 0


# --- the streams -------------------------------------------------------------------------------------------------------


class _OutputError(Exception):
    """Stdout takes nothing; the message says why. A reader that has gone is a `BrokenPipeError` instead."""


def _opened() -> list[str]:
    """
    Open each standard stream that is closed on the null device; else the next file that is opened would take its place.

    What a stream cannot encode is written as an escape sequence of Python from now on.

    Returns:
        The names of those that were closed.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return closed


def _show(text: str) -> None:
    """
    Write to stdout, and do not keep it in a buffer.

    Raises:
        BrokenPipeError: Nobody reads it.
        _OutputError: It cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror or str(error)) from error


def _discard(*streams: TextIO) -> None:
    """Let what is still in the buffers of these streams go nowhere. Python would fail to flush them at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(null, stream.fileno())
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
