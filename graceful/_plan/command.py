"""`python -m graceful plan`: its arguments, its output and its exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence

from graceful._core.errors import OrderError
from graceful._observe.plan import Plan
from graceful._observe.plan_formats import SCHEMA, VERSION, as_document
from graceful._plan.deployed import Finding, Level
from graceful._plan.fits import compare, plan_with
from graceful._plan.target import TargetError, load

__all__ = ["main"]

USAGE = 2
DESCRIPTION = """\
Show the shutdown of an app without running it: the order of the hooks, how long each may take, and the numbers that its
supervisor needs. The module is imported from the working directory, which registers the hooks; nothing is run."""
TARGET = """\
where the app is: module:app, or module:make() where a function makes it; a module alone means its app, else the only App
in it, else the default app"""
FITS = """\
compare it with files that deploy the app: service units of systemd, manifests of Kubernetes, Compose files, Dockerfiles; -
is JSON or YAML on stdin, as from `kubectl get deployment NAME -o json`"""
EPILOG = """\
The exit status is 1 if a file does not fit (with --strict also for a note), 2 if there is no such app or a file cannot be read, and 0 otherwise."""
_COLOURS = {Level.OK: "32", Level.NOTE: "33", Level.MISFIT: "31"}


def main(argv: Sequence[str], show: Callable[[str], None]) -> int:
    """
    Print the plan on stdout, and errors on stderr.

    Args:
        argv: What follows `plan` on the command line.
        show: Writes a text to stdout.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        target = load(options.target)
        plan = plan_with(target.app, {})
    except (TargetError, OrderError, ValueError) as error:
        parser.exit(USAGE, f"{parser.prog}: {error}\n")
    findings, unreadable = compare(target, options.fits or [])
    if options.svg is not None:
        try:
            with open(options.svg, "w", encoding="utf-8") as file:
                file.write(plan.svg())
        except OSError as error:
            parser.exit(USAGE, f"{parser.prog}: {options.svg}: {error.strerror}\n")
    show(_output(plan, findings, options))
    for each in unreadable:
        _say(f"{parser.prog}: {each}")
    levels = {each.level for each in findings}
    if Level.NOTE in levels and Level.MISFIT not in levels and not (options.strict or unreadable):
        _say(f"{parser.prog}: a note leaves the exit status at 0; --strict makes it 1")
    bad = {Level.MISFIT, Level.NOTE} if options.strict else {Level.MISFIT}
    return USAGE if unreadable else int(bool(levels & bad))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graceful plan", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("target", metavar="module:app", help=TARGET)
    parser.add_argument("--fits", metavar="FILE", nargs="+", action="extend", help=FITS)
    parser.add_argument("--strict", action="store_true", help="a note is a reason for exit status 1, too")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help=f"print JSON, schema {SCHEMA}, version {VERSION}")
    formats.add_argument("--mermaid", action="store_true", help="print a gantt chart for Mermaid")
    formats.add_argument("--svg", metavar="FILE", help="write a picture to FILE")
    return parser


# --- the output --------------------------------------------------------------------------------------------------------


def _output(plan: Plan, findings: Sequence[Finding], options: argparse.Namespace) -> str:
    """What is printed on stdout. The findings go to stderr where stdout is a chart."""
    lines = _coloured(findings) if _shows_colours() and not options.mermaid else _plain(findings)
    if options.json:
        document = as_document(plan)
        if options.fits is not None:
            document["fits"] = [
                {"level": str(each.level), "place": each.place, "what": each.what, "cure": each.cure}
                for each in findings
            ]
        return f"{json.dumps(document, indent=2)}\n"
    if options.mermaid:
        _say(*lines)
        return f"{plan.mermaid()}\n"
    if options.svg is None:
        lines = [plan.text(), *([""] if lines else []), *lines]
    return "".join(f"{line}\n" for line in lines)


def _say(*lines: str) -> None:
    """Write lines to stderr. Whether they arrive changes nothing in the exit status."""
    with contextlib.suppress(OSError):
        sys.stderr.writelines(f"{line}\n" for line in lines)


def _plain(findings: Sequence[Finding]) -> list[str]:
    return [line for each in findings for line in _told(each, str(each.level).ljust(6))]


def _coloured(findings: Sequence[Finding]) -> list[str]:
    return [line for each in findings for line in _told(each, f"\033[{_COLOURS[each.level]}m{each.level:<6}\033[0m")]


def _told(finding: Finding, level: str) -> list[str]:
    cure = [f"{'':7} cure: {finding.cure}"] if finding.cure else []
    return [f"{level}  {finding.place}  {finding.what}", *cure]


def _shows_colours() -> bool:
    """Whether stdout shows colours: see https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
