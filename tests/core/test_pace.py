"""What is done again and again takes no more than its share of the time."""

from __future__ import annotations

import pytest

from graceful._core import clock
from graceful._core.pace import Pace


def test_the_pause_after_it(monkeypatch):
    """At first there is none; after a second, with a fifth of the time as its share, there are four seconds of pause."""
    now = 100.0
    monkeypatch.setattr(clock, "now", lambda: now)
    pace = Pace(0.2)
    assert 0 == pace.pause()
    with pace.measured():
        now += 1
    assert pytest.approx(4) == pace.pause()
    now += 3
    assert pytest.approx(1) == pace.pause()
    now += 2
    assert 0 == pace.pause()
