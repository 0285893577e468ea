"""Critical blocks that follow each other in one task: it is cancelled between them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.apps import ENTRANCES


@pytest.mark.parametrize("start", ["create_task", "main"])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_critical_blocks_that_follow_each_other(app, entrance, start):
    """A loop that awaits nothing between its blocks is cancelled between them, too, and so after the one at hand."""
    seen = []

    async def work():
        for number in range(100):
            async with app.critical(f"job {number}"):
                await asyncio.sleep(0.02)
                if number == 1:
                    app.stop()
                await asyncio.sleep(0.02)
                seen.append(number)

    async def main():
        await (work() if start == "main" else app.create_task(work()))

    with contextlib.suppress(asyncio.CancelledError):
        ENTRANCES[entrance](app, main)

    assert [0, 1] == seen
    assert () == app.report.outcomes
