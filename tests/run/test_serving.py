"""Background tasks that end while the program goes on are told, in one line."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

ENDED = "background task work has ended, and the program goes on"


def told(caplog):
    records = [record for record in caplog.records if "has ended" in record.getMessage()]
    return [(record.levelno, re.sub(r" \(.*?\)", "", record.getMessage())) for record in records]


def add_work(app, failing):
    @app.background
    async def work():
        if failing:
            raise ValueError("of the background task")


@pytest.mark.parametrize("failing", [True, False])
def test_one_that_leaves_nothing_behind(app, caplog, failing):
    """It has returned, or its failure was dealt with, and nothing that is supervised is left: a warning."""
    add_work(app, failing)
    app.on_exception(lambda: True)
    app.on_startup(lambda: asyncio.get_running_loop().call_later(0.05, app.stop))

    app.run()

    assert [(logging.WARNING, ENDED)] == told(caplog)


def test_one_beside_others(app, caplog):
    """While main runs, it is told on a lower level."""
    add_work(app, failing=False)
    caplog.set_level(logging.INFO, "graceful")

    async def main():
        await app.sleep(0.05)

    app.run(main)

    assert [(logging.INFO, ENDED)] == told(caplog)


@pytest.mark.parametrize("dealt_with", [None, False])
def test_one_that_ends_the_program(app, caplog, dealt_with):
    """Its failure ends the program: nobody is told that it goes on."""
    add_work(app, failing=True)
    if dealt_with is not None:
        app.on_exception(lambda: dealt_with)

    with pytest.raises(ValueError, match="of the background task"):
        app.run()

    assert [] == told(caplog)
