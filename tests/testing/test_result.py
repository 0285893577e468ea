"""A result is a record: what happens later changes nothing in it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from graceful import App
from graceful.testing import simulate


async def work() -> None:
    await asyncio.sleep(10)


def test_report_of_each_run() -> None:
    """It is that of its own run, also when the app has run again."""
    app = App("orders")
    first = simulate(app, work, at={1: signal.SIGTERM})
    second = simulate(app, work)
    assert [-signal.SIGTERM, 0] == [each.report.exit_status for each in (first, second)]


@pytest.mark.parametrize("first", [{}, {2: signal.SIGTERM}], ids=["completed", "terminated"])
def test_no_report_of_the_run_before(first: dict[float, int]) -> None:
    """A process that was killed has written none."""
    app = App("orders")
    assert simulate(app, work, at=first).report is not None
    assert simulate(app, work, at={1: signal.SIGKILL}).report is None


def test_report_where_a_signal_comes_after_the_run() -> None:
    """It was written before."""
    app = App("orders")
    result = simulate(app, work, entrance="lifespan", at={1: signal.SIGTERM})
    assert result.report is app.report is not None
