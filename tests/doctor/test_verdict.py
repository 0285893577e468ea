"""Verdicts, the diagnosis and its JSON."""

from __future__ import annotations

import json

import pytest

from graceful._doctor.verdict import Diagnosis, Level, Verdict


def diagnosis(*levels: Level) -> Diagnosis:
    verdicts = tuple(
        Verdict(f"check{n}", f"Check {n}", level, "0.1 s", "cure", "App()") for n, level in enumerate(levels)
    )
    return Diagnosis(("prog", "--x"), "SIGTERM", 3.0, "port 80 accepts", 0.25, verdicts)


@pytest.mark.parametrize(
    ("levels", "status"),
    [((), 0), ((Level.OK, Level.WARN, Level.SKIP), 0), ((Level.OK, Level.FAIL), 1), ((Level.FAIL, Level.FAIL), 1)],
)
def test_exit_status(levels: tuple[Level, ...], status: int) -> None:
    """Only a FAIL counts."""
    assert status == diagnosis(*levels).exit_status


def test_json() -> None:
    """The schema, version 1: a change here is one for everybody who reads it."""
    assert {
        "schema": "graceful.doctor",
        "version": 1,
        "command": ["prog", "--x"],
        "signal": "SIGTERM",
        "grace": 3.0,
        "ready": "port 80 accepts",
        "ready_after": 0.25,
        "verdicts": [
            {
                "check": "check0",
                "title": "Check 0",
                "level": "fail",
                "figure": "0.1 s",
                "cure": "cure",
                "python": "App()",
            }
        ],
        "counts": {"ok": 0, "warn": 0, "fail": 1, "skip": 0},
        "exit_status": 1,
    } == json.loads(diagnosis(Level.FAIL).as_json())
