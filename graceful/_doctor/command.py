"""`python -m graceful doctor`: its arguments, its output and its exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import NoReturn, TypeVar

from graceful._core.arguments import seconds, signal_from
from graceful._core.errors import Interrupted
from graceful._doctor.catalogue import CHECKS, Check
from graceful._doctor.family import adopting
from graceful._doctor.load import missing_command
from graceful._doctor.readiness import Port, ready_from
from graceful._doctor.request import Request
from graceful._doctor.runs import Runs
from graceful._doctor.subject import CannotStartError, NotPermittedError, NotReadyError
from graceful._doctor.table import rendered
from graceful._doctor.verdict import SCHEMA, VERSION, Diagnosis, Verdict
from graceful._process.exit import die_by

__all__ = ["main"]

T = TypeVar("T")

USAGE = 2
DESCRIPTION = """\
Start COMMAND, stop it in a different way each time, and say what is wrong with how it ends. COMMAND is a program in any
language. It is started about twenty times and is killed if it does not end, so do not give it production data."""
READY = """\
it is ready when a line of its output contains TEXT, when PORT accepts connections or when FILE (with a /) exists; the
prefix text:, port: or file: says which one is meant. Default: when its output has come to rest"""
EPILOG = """\
FAIL is harm that was seen, warn is a risk, skip is what could not be tried or does not apply. The exit status is 1 if a
check failed, 2 if COMMAND cannot be started, does not become ready or may not be signalled, and 0 otherwise."""


def main(argv: Sequence[str], show: Callable[[str], None]) -> int:
    """
    Examine a program, and print the diagnosis on stdout and everything else on stderr.

    Args:
        argv: What follows `doctor` on the command line.
        show: Writes a text to stdout.

    Returns:
        The exit status. On Ctrl-C, SIGTERM and SIGHUP it ends what it has started and dies by that signal instead.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    request = _request(options)
    if isinstance(request.ready, Port) and request.ready.accepts():
        parser.error(f"port {request.ready.number} is in use already, by another program")
    missing = None if request.load is None else missing_command(request.load)
    if missing is not None:
        parser.error(f"argument --load: there is no command {missing!r}")
    checks = [check for check in CHECKS if not options.only or check.name in options.only]
    try:
        with _interruptible(), adopting():
            diagnosis = _examined(request, checks)
    except (CannotStartError, NotReadyError, NotPermittedError) as error:
        parser.exit(USAGE, f"{parser.prog}: {error}\n")
    except Interrupted as interrupted:
        die_by(interrupted.signal)
    show((diagnosis.as_json() if options.json else rendered(diagnosis, colour=_coloured())) + "\n")
    return diagnosis.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graceful doctor",
        usage="%(prog)s [options] -- COMMAND ...",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    _add_program(parser.add_argument)
    names = ",".join(_all_names())
    add = parser.add_argument
    add("--only", metavar="NAMES", type=_checked(_names), help=f"only these checks, separated by commas: {names}")
    add("--json", action="store_true", help=f"print JSON, schema {SCHEMA}, version {VERSION}")
    return parser


def _add_program(add: Callable[..., object]) -> None:
    """What is to be known about the program."""
    grace = "seconds that it may take to end (default: 10)"
    stop = "the signal that asks it to stop (default: TERM)"
    timeout = "seconds that it may take to become ready (default: 30)"
    load = "a shell command to run beside it, from a second before the signal on; exits with 0 if no work was lost"
    add("--grace", metavar="S", type=_checked(_duration), default=10.0, help=grace)
    add("--signal", metavar="NAME", type=_checked(_signal), default=signal.SIGTERM, help=stop)
    add("--ready", metavar="TEXT|PORT|FILE", type=_checked(ready_from), default=ready_from(None), help=READY)
    add("--ready-timeout", metavar="S", type=_checked(_duration), default=30.0, help=timeout)
    add("--load", metavar="COMMAND", help=load)
    add("command", metavar="COMMAND", nargs="+", help="the program and its arguments")


def _request(options: argparse.Namespace) -> Request:
    return Request(
        command=tuple(options.command),
        signal=options.signal,
        grace=options.grace,
        ready=options.ready,
        ready_timeout=options.ready_timeout,
        load=options.load,
    )


def _examined(request: Request, checks: Sequence[Check]) -> Diagnosis:
    """
    Make the checks, and print on stderr which one is being made.

    Raises:
        CannotStartError, NotReadyError, NotPermittedError: The program cannot be examined.
    """
    runs = Runs(request)
    ready_after = runs.ready_after()
    verdicts: list[Verdict] = []
    for check in checks:
        _say(f"doctor: {check.titled(request.signal)} ...\n")
        verdicts.append(check.verdict(runs))
    return Diagnosis(
        command=request.command,
        signal=request.signal.name,
        grace=request.grace,
        ready=request.ready.described(),
        ready_after=ready_after,
        verdicts=tuple(verdicts),
    )


def _say(text: str) -> None:
    """
    Write to stderr. A progress that cannot be written, because the disk is full, is no reason to stop.

    Raises:
        BrokenPipeError: Nobody reads it, as in `2>&1 | head -1`.
    """
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        pass


@contextlib.contextmanager
def _interruptible() -> Generator[None]:
    """
    Raise `Interrupted` at SIGINT, SIGTERM and SIGHUP, so that what was started is ended.

    It also keeps the programs from inheriting an ignored signal, such as SIGINT in a background job of a shell: a signal
    that has a handler here has its default action there.
    """

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        for each in before:  # a second one must not interrupt the cleanup
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number))

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for each in before:
            signal.signal(each, interrupt)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _coloured() -> bool:
    """Whether stdout shows colours: see https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    """The same function, whose `ValueError` argparse shows with its text."""

    def converted(text: str) -> T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def _duration(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"expected a number of seconds, got {text!r}") from None
    return seconds("it", number, positive=True)


def _signal(text: str) -> signal.Signals:
    try:
        return signal_from("it", int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("it: ")) from None  # argparse names the option


def _names(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    unknown = sorted(names - {*_all_names()})
    if unknown:
        raise ValueError(f"no check is called {unknown[0]!r}; there are {', '.join(_all_names())}")
    return names


def _all_names() -> list[str]:
    return [check.name for check in CHECKS]
