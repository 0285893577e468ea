"""The one clock."""

from __future__ import annotations

import time

from graceful import App
from graceful._core import clock


def test_it_is_the_monotonic_clock() -> None:
    """Times that users see are on the clock of `time.monotonic`."""
    assert time.monotonic() <= clock.now() <= time.monotonic()


def test_replaced_once_it_is_replaced_everywhere() -> None:
    """Within the block the time comes from elsewhere, also in a report; after it everything is as before."""
    app = App("elsewhere", grace=3)
    with clock.replaced(lambda: 1e6 + time.monotonic()):
        app.run(_nothing())
        assert 1e6 <= clock.now()
    assert app.report is not None
    assert 1e6 <= app.report.cause.at
    assert 1e6 > clock.now()


async def _nothing() -> None: ...
