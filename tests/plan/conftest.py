"""Deployment files are written into a folder and compared with the plan of an app."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from graceful import App
from graceful._plan.deployed import Finding, Level, UnreadableError
from graceful._plan.fits import compare
from graceful._plan.target import Target


@pytest.fixture
def fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """
    What there is to say about a file: `fits("orders.service", text)`.

    `app`: another one than `App("orders", grace=8)`; `others`: further files, by their names.
    """
    monkeypatch.chdir(tmp_path)

    def found(name: str, text: str, *, app: App | None = None, others: Mapping[str, str] = {}) -> list[Finding]:
        for each, content in {name: text, **others}.items():
            Path(each).parent.mkdir(parents=True, exist_ok=True)
            Path(each).write_text(textwrap.dedent(content))
        findings, unreadable = compare(Target(app or App("orders", grace=8), "orders"), [name])
        if unreadable:
            raise UnreadableError(*unreadable)
        return findings

    return found


@pytest.fixture
def misfits(fits: Callable[..., list[Finding]]) -> Callable[..., list[str]]:
    """The same, but only what does not fit, a line each: the place, what is wrong, and the cure."""

    def compare(name: str, text: str, **options: object) -> list[str]:
        found = fits(name, text, **options)
        return [f"{each.place}: {each.what} -> {each.cure}" for each in found if each.level is Level.MISFIT]

    return compare
