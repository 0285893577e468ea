"""The logger `graceful`: one event a line, with fields, and a handler that fails costs nothing."""

from __future__ import annotations

import asyncio
import logging


def test_logging(app, caplog):
    """Each event is one record of the logger `graceful`, with fields; the package adds no handler that prints it."""
    with caplog.at_level(logging.INFO, logger="graceful"):
        app.run(asyncio.sleep(0))
    (record,) = [each for each in caplog.records if each.name == "graceful"]
    assert "test is shutting down (main returned)" in record.getMessage()
    assert 3.0 == record.graceful_grace
    assert [] == logging.getLogger("graceful").handlers


def test_logging_that_fails(app):
    """A log handler that raises does not keep a hook from running."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("disk full")

    logger = logging.getLogger("graceful")
    logger.addHandler(broken := Broken())
    logger.setLevel(logging.DEBUG)
    try:
        app.run(asyncio.sleep(0))
    finally:
        logger.removeHandler(broken)
        logger.setLevel(logging.NOTSET)
    assert ["closed"] == seen
