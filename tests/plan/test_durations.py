"""Durations of systemd and of Compose."""

from __future__ import annotations

import math

import pytest

from graceful._plan.durations import compose_seconds, systemd_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20),
        ("1min 30s", 90),
        ("1min30", 90),
        ("2 hours", 7200),
        ("500ms", 0.5),
        ("0", 0),
        ("1.5s", 1.5),
        ("1d 1h", 90000),
        ("3 m", 180),
        ("infinity", math.inf),
        ("5M", 13149000),
    ],
)
def test_systemd(text: str, seconds: float) -> None:
    """As systemd.time(7) says."""
    assert pytest.approx(seconds) == systemd_seconds(text)


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-5", "1min -2s", "nan", "1e3", "5."])
def test_no_span_of_systemd(text: str) -> None:
    """What was expected is told."""
    with pytest.raises(ValueError, match="expected a time span"):
        systemd_seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("20s", 20), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5), ("250ms", 0.25), ("0s", 0)]
)
def test_compose(text: str, seconds: float) -> None:
    """As Go writes them."""
    assert pytest.approx(seconds) == compose_seconds(text)


@pytest.mark.parametrize("text", ["20", 20, "", "1 m", "1d", "-5s", None])
def test_no_duration_of_compose(text: object) -> None:
    """A number needs its unit."""
    with pytest.raises(ValueError, match="expected a duration such as 20s"):
        compose_seconds(text)
