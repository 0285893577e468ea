"""How a grace is cut into slices: no arithmetic makes a program late, and no hook takes what another one needs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import sys
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from virtual import VirtualLoop, walk_hooks

from graceful._budget import HURRY, LAG, MOMENT, RESERVE, drain_until, half_of_rest, slice_of
from graceful._hook import Hook
from graceful._hooks import Hooks
from graceful._model import Outcome, Verdict
from graceful._pace import Pace
from graceful._plan import plan
from graceful._turn import Turn, take_turn
from graceful._walk import walk

#: Seconds by which sums of floats may be off. No loop is that punctual.
TINY = 1e-6

clocks = st.floats(0, 1e6)
spans = st.floats(0, 3600)
queues = st.integers(0, 60)


def unwinding(slice_: float) -> float:
    """The moment after a slice that is `slice_` long: a tenth of what both are together, `MOMENT` at the most."""
    return min(MOMENT, slice_ / 9)


def fair_share(left: float, hooks: int) -> float:
    """What each of so many hooks can count on, however long those before it take."""
    return min(RESERVE, left / hooks)


# --- a slice -----------------------------------------------------------------------------------------------------------


def test_numbers() -> None:
    """The numbers that README names: half a second in reserve, 0.2 s to unwind, 2 s in a hurry."""
    assert (0.5, 0.2, 2.0) == (RESERVE, MOMENT, HURRY)
    assert 0 < LAG < MOMENT


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
    assert pytest.approx(100 + expected) == slice_of(100, 100 + left, behind).until


@given(clocks, spans, queues)
def test_slice_ends_within_the_deadline(now: float, left: float, behind: int) -> None:
    """A slice, with the moment to unwind after it, lies between now and the deadline."""
    until = slice_of(now, now + left, behind).until

    assert now <= until
    assert now + left + TINY >= until + unwinding(until - now)


@given(clocks, spans, queues)
def test_slice_leaves_a_moment(now: float, left: float, behind: int) -> None:
    """The moment to unwind is never nothing while there is time: a tenth of the hook's part, `MOMENT` at the most."""
    until = slice_of(now, now + left, behind).until
    part = left - fair_share(left, behind + 1) * behind

    assert pytest.approx(min(MOMENT, part / 10), abs=TINY) == now + part - until


@given(clocks, spans, queues)
def test_slice_is_at_least_a_fair_share(now: float, left: float, behind: int) -> None:
    """Nobody gets less than the reserve, or an equal part where there is less, less the moment to unwind."""
    share = fair_share(left, behind + 1)

    assert share - min(MOMENT, share / 10) - TINY <= slice_of(now, now + left, behind).until - now


@given(clocks, spans, spans, queues)
def test_slice_grows_with_the_deadline(now: float, left: float, more: float, behind: int) -> None:
    """A later deadline never makes a slice shorter."""
    assert slice_of(now, now + left, behind).until <= slice_of(now, now + left + more, behind).until + TINY


@given(clocks, spans, queues, queues)
def test_slice_shrinks_with_the_queue(now: float, left: float, behind: int, more: int) -> None:
    """More hooks behind never make a slice longer, and with time left one more makes it shorter."""
    deadline = now + left

    assert slice_of(now, deadline, behind).until + TINY >= slice_of(now, deadline, behind + more).until
    if left > 1:
        assert slice_of(now, deadline, behind).until > slice_of(now, deadline, behind + 1).until


@given(clocks, spans, st.floats(0, 1), queues)
def test_slice_of_a_later_start_ends_no_earlier(now: float, left: float, part: float, behind: int) -> None:
    """Who starts later in front of the same queue may run at least as far into the grace."""
    assert slice_of(now, now + left, behind).until <= slice_of(now + left * part, now + left, behind).until + TINY


@given(clocks, spans, queues)
@example(5.0, 0.0, 0)
def test_slice_after_the_deadline_is_nothing(now: float, late: float, behind: int) -> None:
    """Where the deadline has passed, a slice ends when it starts: never before, which would reach into the past."""
    assert now == slice_of(now, now - late, behind).until


# --- a queue of hooks that hang ----------------------------------------------------------------------------------------


@given(clocks, spans, st.integers(1, 60))
def test_queue_of_hanging_hooks_ends_by_the_deadline(now: float, left: float, hooks: int) -> None:
    """Hooks that all use their slice and the moment after it are over by the deadline, and none gets less than fair."""
    deadline = now + left
    fair = fair_share(left, hooks)
    for behind in reversed(range(hooks)):
        until = slice_of(now, deadline, behind).until
        assert fair - min(MOMENT, fair / 10) - TINY <= until - now
        now = until + unwinding(until - now)

    assert deadline + TINY >= now


@given(clocks, st.floats(1, 60), st.integers(2, 20))
def test_quick_hooks_leave_what_they_did_not_use(now: float, left: float, hooks: int) -> None:
    """The reserve is kept, not spent: the last of a queue of quick hooks has all that is left but its moment."""
    deadline = now + left

    assert pytest.approx(deadline - min(MOMENT, left / 10)) == slice_of(now, deadline, 0).until
    assert slice_of(now, deadline, hooks - 1).until < slice_of(now, deadline, 0).until


async def hang() -> None:
    """Take the cancellation as one should."""
    await asyncio.get_running_loop().create_future()


async def hang_on() -> None:
    """Swallow every cancellation, until the test lets go."""
    future = asyncio.get_running_loop().create_future()
    HELD.append(future)
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])


HELD: list[asyncio.Future[None]] = []


def clean_up(hooks: list[Callable[[], object]], grace: float) -> tuple[list[Outcome], float]:
    """Walk these cleanup hooks inside a grace, in virtual time; their outcomes, and when it was over."""
    collection = Hooks()
    for hook in hooks:
        collection.on_shutdown(hook)
    outcomes: list[Outcome] = []

    async def walked() -> float:
        loop = asyncio.get_running_loop()
        pace = Pace(loop.time)
        pace.bring_forward(0.0, grace, hurried=False)
        await walk_hooks(collection, pace, outcomes.append)
        ended = loop.time()
        while HELD:
            HELD.pop().set_result(None)
        return ended

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return outcomes, runner.run(walked())


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 60), st.integers(1, 25))
def test_hanging_hooks_walked(grace: float, hooks: int) -> None:
    """Hooks that hang are over by the deadline when they are really run, each timed out with its fair share used."""
    outcomes, ended = clean_up([hang] * hooks, grace)
    fair = fair_share(grace, hooks)

    assert [Verdict.TIMED_OUT] * hooks == [outcome.verdict for outcome in outcomes]
    assert grace + TINY >= ended
    for outcome in outcomes:
        assert fair - min(MOMENT, fair / 10) - TINY <= outcome.took


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 60), st.integers(1, 25))
@example(8.0, 10)
def test_hooks_that_will_not_end_walked(grace: float, hooks: int) -> None:
    """Hooks that swallow the cancellation leave those behind them a fair share: the moment to unwind is reckoned in."""
    outcomes, ended = clean_up([hang_on] * hooks, grace)
    fair = fair_share(grace, hooks)
    shares = [error.allowed for outcome in outcomes if (error := outcome.error)]

    assert hooks == len(shares)
    assert grace + TINY >= ended
    assert [] == [share for share in shares if share < fair - min(MOMENT, fair / 10) - TINY]


@settings(deadline=None, max_examples=25)
@given(st.floats(0.5, 60), st.integers(0, 10), st.integers(0, 10))
def test_hanging_hook_does_not_starve_the_others(grace: float, before: int, behind: int) -> None:
    """One hook that hangs among well-behaved ones is the only one that is not ok."""

    async def quick() -> None:
        await asyncio.sleep(min(grace / 100, RESERVE / 2))

    outcomes, ended = clean_up([*[quick] * behind, hang_on, *[quick] * before], grace)

    assert [*["ok"] * before, "timed out", *["ok"] * behind] == [outcome.verdict for outcome in outcomes]
    assert grace + TINY >= ended


# --- steps -------------------------------------------------------------------------------------------------------------


@given(clocks, spans)
def test_half_of_rest(now: float, left: float) -> None:
    """A step that must leave a share has half of what is left."""
    assert pytest.approx(now + left / 2) == half_of_rest(now, now + left)


@given(clocks, spans)
def test_half_of_nothing(now: float, late: float) -> None:
    """After the deadline a step ends when it starts."""
    assert now == half_of_rest(now, now - late)


@pytest.mark.parametrize(
    ("delay", "grace", "expected"),
    [(0, 8, 4), (2, 8, 5), (5, 30, 17.5), (8, 8, 8), (10, 8, 8)],
)
def test_drain_examples(delay: float, grace: float, expected: float) -> None:
    """Work may be drained for the delay and half of what is left after it."""
    assert 100 + expected == drain_until(100, delay, 100 + grace)


@given(clocks, st.floats(0, 1), spans)
def test_drain_leaves_half(began_at: float, part: float, grace: float) -> None:
    """After the drain there is as much time left as the drain had beyond its delay."""
    delay = grace * part
    until = drain_until(began_at, delay, began_at + grace)

    assert pytest.approx(until - (began_at + delay), abs=TINY) == began_at + grace - until


@given(clocks, spans, spans)
def test_drain_ends_within_the_deadline(began_at: float, delay: float, left: float) -> None:
    """No delay makes the drain outlast the grace."""
    assert began_at <= drain_until(began_at, delay, began_at + left) <= began_at + left


@given(clocks, spans, spans)
def test_drain_after_the_deadline_is_nothing(began_at: float, delay: float, late: float) -> None:
    """A drain that begins after the deadline has passed is over."""
    assert began_at - late == drain_until(began_at, delay, began_at - late)


def test_what_goes_wrong_between_two_hooks_costs_at_most_one() -> None:
    """Somebody's signal handler may raise while the walk itself is at work: it is told, and the other hooks run."""
    collection = Hooks()
    seen: list[str] = []
    for name in "abc":
        collection.on_shutdown(functools.partial(seen.append, name))
    spoilt: list[BaseException] = []

    async def walked() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(loop.time)
        turns = 0

        def begin(hook: Hook, behind: int) -> Turn:
            nonlocal turns
            turns += 1
            if turns == 2:
                raise KeyboardInterrupt
            return Turn(hook, pace, "cleanup", behind)

        def ended(turn: Turn) -> None:
            turn.end()
            if turns == 1:
                raise OSError

        async def watch(turn: Turn) -> None:
            await take_turn(turn, turn.task, pace)

        hooks = plan([*collection._hooks()])
        await walk(hooks, deque(), pace, begin=begin, watch=watch, ended=ended, spoilt=spoilt.append)

    asyncio.run(walked())
    assert ["c", "a"] == seen
    eager = [OSError] if sys.version_info >= (3, 12) else []  # where it ends at once, the walk tells so itself
    assert [*eager, KeyboardInterrupt] == [type(error) for error in spoilt]
