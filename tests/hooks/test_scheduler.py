"""Hooks run in order, in virtual time: when each starts, and how much time it gets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.scripted import (
    ENDING,
    HANGING,
    TINY,
    Scripted,
    Stage,
    Walked,
    fair_share,
    finish,
    graphs,
    longest,
    needs,
    quick,
    reserve,
)
from support.virtual import run_hooks, run_virtually

from graceful import Hooks, HookTimeout, Outcome, Verdict
from graceful._core.budget import HURRY, RESERVE, UNWIND
from graceful._core.deadline import Deadline
from graceful._hooks.adoption import adopting
from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._hooks.order import make_plan
from graceful._hooks.scheduler import Additions, Scheduler
from graceful._loop.waiting import Waiting

# --- order -----------------------------------------------------------------------------------------------------------


def play(
    scripts: list[Scripted], grace: float, *, hurried_at: float | None = None, pushed: Iterable[Scripted] = ()
) -> Walked:
    """Walk these hooks inside a grace; `pushed` are those acquired before."""
    stage = Stage()
    collection = Hooks()
    stage.register(collection.on_shutdown, scripts)
    acquired = [Hook(stage.function(script), "cleanup") for script in pushed]

    async def walked() -> Walked:
        loop = asyncio.get_running_loop()
        deadline, waiting = Deadline(grace), Waiting(lambda _: None)
        deadline.begin(0.0)

        def hurry() -> None:
            deadline.hurry(loop.time())
            waiting.reconsider()

        if hurried_at is not None:
            loop.call_later(hurried_at, hurry)

        def told(outcome: Outcome) -> None:
            assert outcome.hook not in stage.walked.outcomes
            stage.walked.outcomes[outcome.hook] = outcome
            stage.walked.ends[outcome.hook] = loop.time()

        with adopting():
            await run_hooks(collection, deadline, waiting, told, acquired)
        stage.walked.over = loop.time()
        await stage.let_go()
        return stage.walked

    return run_virtually(walked)


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_every_hook_starts_the_moment_it_may(scripts: list[Scripted]) -> None:
    """Each hook runs once, as soon as the last of those it needs has ended, however those ended, and not before."""
    walked = play(scripts, grace=1e4)

    waits = needs(scripts)
    assert sorted(waits) == sorted(walked.names)
    ends = walked.ends
    assert {name: max((ends[other] for other in waits[name]), default=0.0) for name in waits} == walked.starts


def expected(script: Scripted) -> tuple[Verdict, float]:
    """How a hook ends that has all the time of the world but for its own timeout, and how long it takes."""
    if script.timeout is None or (script.kind in ENDING and script.takes < script.timeout):
        return ENDING[script.kind], script.takes
    return Verdict.TIMED_OUT, script.timeout + HANGING.get(script.kind, 0.0)


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_the_schedule_is_as_short_as_possible(scripts: list[Scripted]) -> None:
    """Each hook takes what it needs or its timeout, and all together no more than the longest path through them."""
    walked = play(scripts, grace=1e4)

    verdicts = {script.name: expected(script)[0] for script in scripts}
    schedule = finish(scripts, {script.name: expected(script)[1] for script in scripts})
    assert verdicts == {name: outcome.verdict for name, outcome in walked.outcomes.items()}
    assert pytest.approx(schedule, abs=TINY) == walked.ends
    assert pytest.approx(max(schedule.values()), abs=TINY) == walked.over


@settings(deadline=None, max_examples=50)
@given(graphs(most=8), st.lists(st.sampled_from(["ok", "raise", "cancel", "hang on"]), max_size=5))
def test_what_was_acquired_is_released_first(scripts: list[Scripted], kinds: list[str]) -> None:
    """What was acquired while running is released one by one, the last first, before any registered hook starts."""
    pushed = [Scripted(100 + n, None, kind, 0.25, None) for n, kind in enumerate(kinds)]
    walked = play(scripts, grace=1e4, pushed=pushed)

    order = walked.names
    assert [script.name for script in reversed(pushed)] == order[: len(pushed)]
    assert sorted(script.name for script in scripts) == sorted(order[len(pushed) :])
    released = max((walked.ends[script.name] for script in pushed), default=0.0)
    assert {released} >= {walked.starts[name] for name, waits in needs(scripts).items() if not waits}


# --- time slices -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(graphs(["quick", *HANGING], timeouts=False), st.floats(0.5, 40))
def test_no_hook_starves_another(scripts: list[Scripted], grace: float) -> None:
    """Whatever hangs beside and before it, a hook has at least its reserve, and the cleanup ends within the grace."""
    mine = reserve(grace, longest(scripts))
    scripts = quick(scripts, mine)
    walked = play(scripts, grace)

    assert grace + TINY >= walked.over
    for script in scripts:
        outcome = walked.outcomes[script.name]
        if script.kind == "ok":
            assert Verdict.OK == outcome.verdict
        else:
            assert isinstance(outcome.error, HookTimeout)
            assert mine - TINY <= outcome.error.allowed


@settings(deadline=None, max_examples=50)
@given(graphs(), st.floats(0.5, 10))
def test_a_timeout_never_extends_the_grace(scripts: list[Scripted], grace: float) -> None:
    """Whatever the timeouts add up to, every hook runs once, none longer than it may, and all end within the grace."""
    walked = play(scripts, grace)

    assert sorted(needs(scripts)) == sorted(walked.names)
    assert grace + TINY >= walked.over
    for script in scripts:
        error = walked.outcomes[script.name].error
        if isinstance(error, HookTimeout) and script.timeout is not None:
            assert script.timeout + TINY >= error.allowed


@settings(deadline=None, max_examples=50)
@given(graphs(["ok", *HANGING], timeouts=False), st.floats(4, 40), st.floats(0, 1))
def test_a_second_request_leaves_each_hook_a_part_of_2_s(scripts: list[Scripted], grace: float, part: float) -> None:
    """After a second request, whenever it comes, all hooks are over within 2 s, and each has run once."""
    at = part * grace
    walked = play(scripts, grace, hurried_at=at)

    assert sorted(needs(scripts)) == sorted(walked.names)
    assert min(grace, at + HURRY) + TINY >= walked.over


@pytest.mark.parametrize("count", [2, 5, 50])
def test_parallel_hooks_share_the_budget(count: int) -> None:
    """Hooks side by side have the same time, however many there are: the longest path is what is divided."""
    beside = [Scripted(n, (), "hang", 0.0, None) for n in range(count)]
    walked = play(beside, grace=8)
    assert {8 - UNWIND} == {outcome.took for outcome in walked.outcomes.values()}

    last = Scripted(count, tuple(range(count)), "hang", 0.0, None)
    walked = play([*beside, last], grace=8)
    assert pytest.approx([8 - RESERVE - UNWIND] * count) == [walked.ends[script.name] for script in beside]
    assert pytest.approx(8 - RESERVE - UNWIND) == walked.starts[last.name]
    assert 8 - RESERVE < walked.over <= 8


# --- hooks that hang -------------------------------------------------------------------------------------------------


async def hang() -> None:
    """Take the cancellation as one should."""
    await asyncio.get_running_loop().create_future()


HELD: list[asyncio.Future[None]] = []


def clean_up(hooks: list[Callable[[], object]], grace: float) -> tuple[list[Outcome], float]:
    """Walk these cleanup hooks inside a grace, in virtual time; their outcomes, and when it was over."""
    collection = Hooks()
    for hook in hooks:
        collection.on_shutdown(hook)
    outcomes: list[Outcome] = []

    async def walked() -> float:
        loop = asyncio.get_running_loop()
        deadline = Deadline(grace)
        deadline.begin(0.0)
        await run_hooks(collection, deadline, Waiting(lambda _: None), outcomes.append)
        ended = loop.time()
        while HELD:
            HELD.pop().set_result(None)
        return ended

    return outcomes, run_virtually(walked)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 60), st.integers(1, 25))
def test_hanging_hooks_end_by_the_deadline(grace: float, hooks: int) -> None:
    """Hooks that hang are over by the deadline, each timed out after at least its fair share."""
    outcomes, ended = clean_up([hang] * hooks, grace)
    fair = fair_share(grace, hooks)

    assert [Verdict.TIMED_OUT] * hooks == [outcome.verdict for outcome in outcomes]
    assert grace + TINY >= ended
    for outcome in outcomes:
        assert fair - min(UNWIND, fair / 10) - TINY <= outcome.took


async def hang_on() -> None:
    """Swallow every cancellation, until the test lets go."""
    future = asyncio.get_running_loop().create_future()
    HELD.append(future)
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 60), st.integers(1, 25))
@example(8.0, 10)
def test_hooks_that_swallow_cancellation_leave_a_fair_share(grace: float, hooks: int) -> None:
    """Hooks that swallow the cancellation leave those behind them a fair share: the time to unwind is part of it."""
    outcomes, ended = clean_up([hang_on] * hooks, grace)
    fair = fair_share(grace, hooks)
    shares = [error.allowed for outcome in outcomes if (error := outcome.error)]

    assert hooks == len(shares)
    assert grace + TINY >= ended
    assert [] == [share for share in shares if share < fair - min(UNWIND, fair / 10) - TINY]


@settings(deadline=None, max_examples=25)
@given(st.floats(0.5, 60), st.integers(0, 10), st.integers(0, 10))
def test_hanging_hook_does_not_starve_the_others(grace: float, before: int, behind: int) -> None:
    """One hook that hangs among well-behaved ones is the only one that is not ok."""

    async def quick() -> None:
        await asyncio.sleep(min(grace / 100, RESERVE / 2))

    outcomes, ended = clean_up([*[quick] * behind, hang_on, *[quick] * before], grace)

    assert [*["ok"] * before, "timed out", *["ok"] * behind] == [outcome.verdict for outcome in outcomes]
    assert grace + TINY >= ended


def test_an_error_between_two_hooks_costs_at_most_one() -> None:
    """A signal handler that raises while the scheduler itself runs is reported, and the other hooks run."""
    collection = Hooks()
    seen: list[str] = []
    for name in "abc":
        collection.on_shutdown(functools.partial(seen.append, name))
    errors: list[BaseException] = []

    async def walked() -> None:
        deadline, waiting = Deadline(math.inf), Waiting(lambda _: None)
        runs = 0

        def begin(hook: Hook, behind: int, _: object) -> HookRun:
            nonlocal runs
            runs += 1
            if runs == 2:
                raise KeyboardInterrupt
            return HookRun(hook, "cleanup", deadline, behind)

        def ended(run: HookRun) -> None:
            run.finish()
            if runs == 1:
                raise OSError

        async def supervise(run: HookRun) -> None:
            await run.wait_ended(waiting)

        scheduler = Scheduler(waiting, begin=begin, supervise=supervise, on_ended=ended, on_error=errors.append)
        await scheduler.run(make_plan([*collection._hooks()]), Additions())

    asyncio.run(walked())
    assert ["c", "a"] == seen
    eager = [OSError] if sys.version_info >= (3, 12) else []  # where it ends at once, the walk tells so itself
    assert [*eager, KeyboardInterrupt] == [type(error) for error in errors]
