"""How the grace is divided into time slices: no slice ends after the deadline, and each hook gets a fair share."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.scripted import TINY, fair_share

from graceful._core.budget import HURRY, LAG, RESERVE, UNWIND, drain_until, half_of_rest, slice_of

# --- one slice -------------------------------------------------------------------------------------------------------


def test_numbers() -> None:
    """The numbers that the README names: half a second in reserve, 0.2 s to unwind, 2 s after a second request."""
    assert (0.5, 0.2, 2.0) == (RESERVE, UNWIND, HURRY)
    assert 0 < LAG < UNWIND


@pytest.mark.parametrize(
    ("left", "behind", "expected"),
    [
        (8.0, 0, 7.8),  # alone: all but the moment
        (8.0, 1, 7.3),  # half a second for the one behind
        (8.0, 5, 5.3),
        (1.0, 0, 0.9),  # a tenth is less than the moment
        (1.0, 3, 0.225),  # too short for reserves: a quarter each, of which a tenth to unwind
        (0.0, 3, 0.0),
        (math.inf, 7, math.inf),
    ],
)
def test_slice_examples(left: float, behind: int, expected: float) -> None:
    """A hook may use what is left less a reserve for each one behind it, less a moment to unwind."""
    assert pytest.approx(100 + expected) == slice_of(100, 100 + left, behind).cancel_at


clocks = st.floats(0, 1e6)


spans = st.floats(0, 3600)


queues = st.integers(0, 60)


def unwinding(slice_: float) -> float:
    """The moment after a slice that is `slice_` long: a tenth of what both are together, `UNWIND` at the most."""
    return min(UNWIND, slice_ / 9)


@given(clocks, spans, queues)
def test_slice_ends_within_the_deadline(now: float, left: float, behind: int) -> None:
    """A slice, with the moment to unwind after it, lies between now and the deadline."""
    until = slice_of(now, now + left, behind).cancel_at

    assert now <= until
    assert now + left + TINY >= until + unwinding(until - now)


@given(clocks, spans, queues)
def test_slice_leaves_a_moment(now: float, left: float, behind: int) -> None:
    """While there is time left there is time to unwind: a tenth of the hook's part, at most `UNWIND`."""
    until = slice_of(now, now + left, behind).cancel_at
    part = left - fair_share(left, behind + 1) * behind

    assert pytest.approx(min(UNWIND, part / 10), abs=TINY) == now + part - until


@given(clocks, spans, queues)
def test_slice_is_at_least_a_fair_share(now: float, left: float, behind: int) -> None:
    """No hook gets less than the reserve, or than an equal part where there is less, minus the moment to unwind."""
    share = fair_share(left, behind + 1)

    assert share - min(UNWIND, share / 10) - TINY <= slice_of(now, now + left, behind).cancel_at - now


@given(clocks, spans, spans, queues)
def test_slice_grows_with_the_deadline(now: float, left: float, more: float, behind: int) -> None:
    """A later deadline never makes a slice shorter."""
    assert slice_of(now, now + left, behind).cancel_at <= slice_of(now, now + left + more, behind).cancel_at + TINY


@given(clocks, spans, queues, queues)
def test_slice_shrinks_with_the_queue(now: float, left: float, behind: int, more: int) -> None:
    """More hooks behind never make a slice longer, and with time left one more makes it shorter."""
    deadline = now + left

    assert slice_of(now, deadline, behind).cancel_at + TINY >= slice_of(now, deadline, behind + more).cancel_at
    if left > 1:
        assert slice_of(now, deadline, behind).cancel_at > slice_of(now, deadline, behind + 1).cancel_at


@given(clocks, spans, st.floats(0, 1), queues)
def test_slice_of_a_later_start_ends_no_earlier(now: float, left: float, part: float, behind: int) -> None:
    """A hook that starts later in front of the same queue may run at least as far into the grace."""
    assert (
        slice_of(now, now + left, behind).cancel_at <= slice_of(now + left * part, now + left, behind).cancel_at + TINY
    )


@given(clocks, spans, queues)
@example(5.0, 0.0, 0)
def test_slice_after_the_deadline_is_nothing(now: float, late: float, behind: int) -> None:
    """Where the deadline has passed, a slice ends when it starts: never before, which would reach into the past."""
    assert now == slice_of(now, now - late, behind).cancel_at


# --- a queue of hooks ------------------------------------------------------------------------------------------------


@given(clocks, spans, st.integers(1, 60))
def test_queue_of_hanging_hooks_ends_by_the_deadline(now: float, left: float, hooks: int) -> None:
    """Hooks that all use their slice and the moment after it are over by the deadline, and none gets less than fair."""
    deadline = now + left
    fair = fair_share(left, hooks)
    for behind in reversed(range(hooks)):
        until = slice_of(now, deadline, behind).cancel_at
        assert fair - min(UNWIND, fair / 10) - TINY <= until - now
        now = until + unwinding(until - now)

    assert deadline + TINY >= now


@given(clocks, st.floats(1, 60), st.integers(2, 20))
def test_quick_hooks_leave_what_they_did_not_use(now: float, left: float, hooks: int) -> None:
    """The reserve is kept, not spent: the last of a queue of quick hooks has all that is left but its moment."""
    deadline = now + left

    assert pytest.approx(deadline - min(UNWIND, left / 10)) == slice_of(now, deadline, 0).cancel_at
    assert slice_of(now, deadline, hooks - 1).cancel_at < slice_of(now, deadline, 0).cancel_at


# --- steps of the shutdown -------------------------------------------------------------------------------------------


@given(clocks, spans)
def test_half_of_rest(now: float, left: float) -> None:
    """A step that must leave a share has half of what is left."""
    assert pytest.approx(now + left / 2) == half_of_rest(now, now + left)


@given(clocks, spans)
def test_half_of_rest_after_the_deadline(now: float, late: float) -> None:
    """After the deadline a step ends when it starts."""
    assert now == half_of_rest(now, now - late)


@pytest.mark.parametrize(
    ("delay", "grace", "expected"),
    [(0, 8, 4), (2, 8, 5), (5, 30, 17.5), (8, 8, 8), (10, 8, 8)],
)
def test_drain_examples(delay: float, grace: float, expected: float) -> None:
    """Work may be drained for the delay and half of what is left after it."""
    assert 100 + expected == drain_until(100, delay, 100 + grace, 0.5)


@given(clocks, st.floats(0, 1), spans)
def test_drain_leaves_half(began_at: float, part: float, grace: float) -> None:
    """After the drain there is as much time left as the drain had beyond its delay."""
    delay = grace * part
    until = drain_until(began_at, delay, began_at + grace, 0.5)

    assert pytest.approx(until - (began_at + delay), abs=TINY) == began_at + grace - until


@given(clocks, spans, spans)
def test_drain_ends_within_the_deadline(began_at: float, delay: float, left: float) -> None:
    """No delay makes the drain outlast the grace."""
    assert began_at <= drain_until(began_at, delay, began_at + left, 0.5) <= began_at + left


@given(clocks, spans, spans)
def test_drain_after_the_deadline_is_nothing(began_at: float, delay: float, late: float) -> None:
    """A drain that begins after the deadline has passed is over."""
    assert began_at - late == drain_until(began_at, delay, began_at - late, 0.5)
