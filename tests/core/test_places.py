"""Where code is defined: what is remembered of call sites."""

from __future__ import annotations

from graceful._core import places


def test_code_made_at_run_time_is_not_kept_for_ever():
    """Call sites in code that is compiled again and again, as by `exec`, use no more and more memory."""
    for _ in range(3 * places._KEPT):
        exec("site = places.call_site(0)", {"places": places})

    assert len(places._call_sites) <= places._KEPT


def test_the_same_call_site_is_the_same_text():
    """A site that is met a million times costs one string."""
    first, second = (places.call_site(0) for _ in range(2))

    assert first is second
    assert "test_places.py:" in first
