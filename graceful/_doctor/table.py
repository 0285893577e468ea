"""The diagnosis as text."""

from __future__ import annotations

import shlex

from graceful._doctor.verdict import Diagnosis, Level, Verdict

__all__ = ["rendered"]

#: The words of the levels, and the colours (ECMA-48, SGR).
WORDS = {Level.OK: ("ok", 32), Level.WARN: ("warn", 33), Level.FAIL: ("FAIL", 31), Level.SKIP: ("skip", 2)}


def rendered(diagnosis: Diagnosis, *, colour: bool = False) -> str:
    """A line for each verdict, its cure below it, and a summary."""
    width = max((len(verdict.title) for verdict in diagnosis.verdicts), default=0)
    lines = [
        shlex.join(diagnosis.command),
        f"ready after {diagnosis.ready_after:.2f} s ({diagnosis.ready}), grace {diagnosis.grace:g} s",
        "",
    ]
    for verdict in diagnosis.verdicts:
        lines += _rows(verdict, width, colour=colour)
    return "\n".join([*lines, "", _summary(diagnosis)])


def _rows(verdict: Verdict, width: int, *, colour: bool) -> list[str]:
    word, code = WORDS[verdict.level]
    word = f"{word:<4}"
    shown = f"\x1b[{code}m{word}\x1b[0m" if colour else word
    figure = "".join(each if each.isprintable() else repr(each)[1:-1] for each in verdict.figure)  # names of files
    rows = [f"{shown}  {verdict.title:<{width}}  {figure}"]
    if verdict.cure:
        rows += [f"      cure: {verdict.cure}", f"      with graceful: {verdict.python}"]
    return rows


def _summary(diagnosis: Diagnosis) -> str:
    counted = [(diagnosis.count(level), WORDS[level][0]) for level in Level]
    return ", ".join(f"{count} {word}" for count, word in counted if count)
