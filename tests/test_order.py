"""Hooks as they are walked, in virtual time: who starts when, who gets how much time, and that nothing costs a turn."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from virtual import run_virtually, walk_hooks

from graceful import App, Hooks, HookTimeout, Outcome, Verdict
from graceful._budget import HURRY, MOMENT, RESERVE
from graceful._hook import Hook
from graceful._pace import Pace
from graceful._turn import adopting

#: Seconds by which sums of floats may be off.
TINY = 1e-6

#: What a hook does that ends by itself, and how that is called.
ENDING = {
    "sync": Verdict.OK,
    "ok": Verdict.OK,
    "spawn": Verdict.OK,
    "raise": Verdict.RAISED,
    "exit": Verdict.RAISED,
    "cancel": Verdict.CANCELLED,
}
#: What one does that does not, and the seconds it takes to end once it was cancelled.
HANGING = {"hang": 0.0, "unwind": MOMENT / 2, "hang on": MOMENT}


@dataclass
class Scripted:
    """A hook that does what it is told; which others it needs is said by their numbers, `None`: it is of the chain."""

    number: int
    after: tuple[int, ...] | None
    kind: str
    takes: float
    timeout: float | None
    by_name: bool = False

    @property
    def name(self) -> str:
        return f"hook{self.number}"


@dataclass
class Walked:
    """What came of it."""

    began: list[tuple[str, float]] = field(default_factory=list)
    remaining: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    over: float = 0.0

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.began]

    @property
    def starts(self) -> dict[str, float]:
        return dict(self.began)


class Stage:
    """Where scripted hooks play: the functions that do what is written, and what was seen of them."""

    def __init__(self) -> None:
        self.walked = Walked()
        self._held: list[asyncio.Future[None]] = []

    def function(self, script: Scripted, note: Callable[[], float] = lambda: 0.0) -> Callable[[], Any]:
        """A hook's function; `note()` is kept as what it was told of its time when it began."""

        def begin() -> None:
            self.walked.began.append((script.name, asyncio.get_running_loop().time()))
            self.walked.remaining[script.name] = note()

        async def play() -> None:
            begin()
            if script.kind == "spawn":
                asyncio.create_task(self._spawned(script.takes))
                return
            if script.kind in HANGING:
                await self._hang(HANGING[script.kind])
            await asyncio.sleep(script.takes)
            if script.kind in ("raise", "exit", "cancel"):
                raise {"raise": RuntimeError, "exit": SystemExit, "cancel": asyncio.CancelledError}[script.kind]

        function = begin if script.kind == "sync" else play
        function.__name__ = function.__qualname__ = script.name
        return function

    async def _spawned(self, takes: float) -> None:
        """What is left behind leaves something behind."""
        await asyncio.sleep(takes / 2)
        asyncio.create_task(asyncio.sleep(takes / 2))

    async def _hang(self, unwinding: float) -> None:
        """For ever; once it was cancelled for so long more, or if that is `MOMENT`, again for ever."""
        future = asyncio.get_running_loop().create_future()
        self._held.append(future)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.sleep(unwinding if unwinding < MOMENT else 0)
            while unwinding == MOMENT and not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise

    async def hang_on(self) -> None:
        """Work that will not be cancelled."""
        await self._hang(MOMENT)

    async def let_go(self) -> None:
        """Whoever hangs on may end: the test is over."""
        for future in self._held:
            if not future.done():
                future.set_result(None)
        await asyncio.sleep(60)  # those that unwind, too

    def register(self, register: Callable[..., Any], scripts: Iterable[Scripted], **how: Any) -> None:
        """Register them by `register(after=, timeout=)(function)`; `how` is passed on to `function`."""
        functions = {script.number: self.function(script, **how) for script in scripts}
        for script in scripts:
            after: Any = script.after
            if after is not None:
                after = [f"hook{number}" if script.by_name else functions[number] for number in after]
                after = after[0] if len(after) == 1 else tuple(after)
            register(after=after, timeout=script.timeout)(functions[script.number])


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
        pace = Pace(loop.time)
        pace.bring_forward(0.0, grace, hurried=False)

        def hurry() -> None:
            pace.bring_forward(loop.time(), loop.time() + HURRY, hurried=True)
            pace.reconsider()

        if hurried_at is not None:
            loop.call_later(hurried_at, hurry)

        def told(outcome: Outcome) -> None:
            assert outcome.hook not in stage.walked.outcomes
            stage.walked.outcomes[outcome.hook] = outcome
            stage.walked.ends[outcome.hook] = loop.time()

        with adopting():
            await walk_hooks(collection, pace, told, acquired)
        stage.walked.over = loop.time()
        await stage.let_go()
        return stage.walked

    return run_virtually(walked)


# --- what there can be -------------------------------------------------------------------------------------------------


@st.composite
def graphs(
    draw: st.DrawFn, kinds: Iterable[str] = (*ENDING, *HANGING), most: int = 50, *, timeouts: bool = True
) -> list[Scripted]:
    """Hooks in the chain or beside it, which wait for earlier or later ones, without a cycle."""
    count = draw(st.integers(1, most))
    # Who waits for whom: those of the chain for each other; the others for those, and for their like of a lower rank.
    rank = draw(st.permutations(range(count)))
    chained = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    scripts = []
    for me in range(count):
        eligible = [n for n in range(count) if chained[n] or rank[n] < rank[me]]
        chosen = draw(st.lists(st.sampled_from(eligible), max_size=4)) if eligible and not chained[me] else []
        kind = draw(st.sampled_from([*kinds]))
        # Eighths and sixteenths, so that no hook ends at the very moment in which its time is up.
        takes = draw(st.integers(0, 40)) / 8 if kind in ENDING and kind != "sync" else 0.0
        limit = draw(st.integers(0, 40)) / 8 + 1 / 16
        limited = timeouts and (kind in HANGING or draw(st.booleans()))
        after = None if chained[me] else tuple(chosen)
        scripts.append(Scripted(me, after, kind, takes, limit if limited else None, draw(st.booleans())))
    return scripts


def needs(scripts: list[Scripted]) -> dict[str, set[str]]:
    """What the registrations say, read in the plainest way."""
    chain = [script.name for script in scripts if script.after is None]
    waits = {name: {*chain[place + 1 : place + 2]} for place, name in enumerate(chain)}
    return waits | {script.name: {f"hook{n}" for n in script.after} for script in scripts if script.after is not None}


def finish(scripts: list[Scripted], took: dict[str, float]) -> dict[str, float]:
    """When each has ended, if each starts as soon as those it needs have, and takes so long."""
    waits = needs(scripts)
    ends: dict[str, float] = {}
    while len(ends) < len(scripts):
        for name in waits.keys() - ends.keys():
            if waits[name] <= ends.keys():
                ends[name] = max((ends[other] for other in waits[name]), default=0.0) + took[name]
    return ends


def longest(scripts: list[Scripted]) -> int:
    """How many hooks there are on the longest way through them."""
    return round(max(finish(scripts, dict.fromkeys(needs(scripts), 1.0)).values()))


def expected(script: Scripted) -> tuple[Verdict, float]:
    """How a hook ends that has all the time of the world but for its own timeout, and how long it takes."""
    if script.timeout is None or (script.kind in ENDING and script.takes < script.timeout):
        return ENDING[script.kind], script.takes
    return Verdict.TIMED_OUT, script.timeout + HANGING.get(script.kind, 0.0)


def quick(scripts: list[Scripted], takes: float) -> list[Scripted]:
    """The same, where those that are `quick` are well within the time that they can count on."""
    return [replace(script, kind="ok", takes=takes * 0.99) if script.kind == "quick" else script for script in scripts]


def reserve(grace: float, hooks: int) -> float:
    """What each of so many hooks, one behind the other, can count on, whatever the others do."""
    share = min(RESERVE, grace / hooks)
    return share - min(MOMENT, share / 10)


# --- order -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_every_hook_starts_the_moment_it_may(scripts: list[Scripted]) -> None:
    """Each hook runs once, the moment the last of those it needs has ended, however those ended, and not before."""
    walked = play(scripts, grace=1e4)

    waits = needs(scripts)
    assert sorted(waits) == sorted(walked.names)
    ends = walked.ends
    assert {name: max((ends[other] for other in waits[name]), default=0.0) for name in waits} == walked.starts


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_the_schedule_is_the_shortest_there_can_be(scripts: list[Scripted]) -> None:
    """Each hook takes what it needs or its timeout, and all together no more than the longest way through them."""
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


# --- budget ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(graphs(["quick", *HANGING], timeouts=False), st.floats(0.5, 40))
def test_no_hook_starves_another(scripts: list[Scripted], grace: float) -> None:
    """Whatever hangs beside and before it, a hook has at least its reserve, and all is over within the grace."""
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
    """Timeouts of whatever sum: every hook runs once, none longer than it may, and all is over within the grace."""
    walked = play(scripts, grace)

    assert sorted(needs(scripts)) == sorted(walked.names)
    assert grace + TINY >= walked.over
    for script in scripts:
        error = walked.outcomes[script.name].error
        if isinstance(error, HookTimeout) and script.timeout is not None:
            assert script.timeout + TINY >= error.allowed


@settings(deadline=None, max_examples=50)
@given(graphs(["ok", *HANGING], timeouts=False), st.floats(4, 40), st.floats(0, 1))
def test_a_hurry_gives_each_its_part_of_what_is_left(scripts: list[Scripted], grace: float, part: float) -> None:
    """A second request, whenever it comes: what still runs and what has not begun is over 2 s later, each hook once."""
    at = part * grace
    walked = play(scripts, grace, hurried_at=at)

    assert sorted(needs(scripts)) == sorted(walked.names)
    assert min(grace, at + HURRY) + TINY >= walked.over


@pytest.mark.parametrize("count", [2, 5, 50])
def test_parallel_hooks_share_the_budget(count: int) -> None:
    """Hooks side by side have the same time and no less for being many: it is the longest way that is divided."""
    beside = [Scripted(n, (), "hang", 0.0, None) for n in range(count)]
    walked = play(beside, grace=8)
    assert {8 - MOMENT} == {outcome.took for outcome in walked.outcomes.values()}

    last = Scripted(count, tuple(range(count)), "hang", 0.0, None)
    walked = play([*beside, last], grace=8)
    assert pytest.approx([8 - RESERVE - MOMENT] * count) == [walked.ends[script.name] for script in beside]
    assert pytest.approx(8 - RESERVE - MOMENT) == walked.starts[last.name]
    assert 8 - RESERVE < walked.over <= 8


# --- a whole app -------------------------------------------------------------------------------------------------------


def play_app(
    drains: list[Scripted], cleanups: list[Scripted], grace: float, work: Iterable[str], *, drain: bool = False
) -> Walked:
    """An app with these hooks, stopped while so many tasks hang (`hang`) or hang on (`hang on`)."""
    stage = Stage()
    app = App("virtual", grace=grace)
    stage.register(lambda **how: app.on_shutdown(stage="drain", **how), drains, note=app.remaining)
    stage.register(app.on_shutdown, cleanups, note=app.remaining)

    async def lived() -> None:
        async with app:
            for kind in work:
                app.create_task(stage.hang_on() if kind == "hang on" else asyncio.sleep(1e6), drain=drain)
            await asyncio.sleep(1)

    async def main() -> None:
        with contextlib.suppress(BaseException):
            await lived()
        await stage.let_go()

    run_virtually(main)
    assert app.report is not None
    for outcome in app.report.outcomes:
        if not outcome.hook.startswith("task "):
            assert outcome.hook not in stage.walked.outcomes
            stage.walked.outcomes[outcome.hook] = outcome
    stage.walked.over = app.report.took
    return stage.walked


def renumbered(scripts: list[Scripted], by: int) -> list[Scripted]:
    return [replace(each, number=each.number + by, after=moved(each.after, by)) for each in scripts]


def moved(after: tuple[int, ...] | None, by: int) -> tuple[int, ...] | None:
    return None if after is None else tuple(number + by for number in after)


@settings(deadline=None, max_examples=40)
@given(
    graphs(most=6),
    graphs(most=20),
    st.floats(1, 30),
    st.lists(st.sampled_from(["hang", "hang on"]), max_size=3),
    st.booleans(),
)
def test_an_app_is_over_within_its_grace(
    drains: list[Scripted], cleanups: list[Scripted], grace: float, work: list[str], drain: bool
) -> None:
    """Hooks and tasks of any kind: every hook of both stages runs once, drains first, and it is over within the grace."""
    walked = play_app(drains, renumbered(cleanups, 100), grace, work, drain=drain)

    order = [int(name.removeprefix("hook")) >= 100 for name in walked.names]
    assert [False] * len(drains) + [True] * len(cleanups) == order
    assert len(order) == len(walked.starts) == len(walked.outcomes)
    assert grace + TINY >= walked.over


@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.generate])
@given(st.data(), st.floats(2, 30), st.lists(st.sampled_from(["hang", "hang on"]), max_size=3), st.booleans())
@pytest.mark.parametrize(
    "kinds",
    [
        ["ok", "hang"],
        ["hang on"],
    ],
    ids=["hang", "hang on"],
)
def test_neither_drain_nor_tasks_starve_the_cleanup(
    kinds: list[str], data: st.DataObject, grace: float, work: list[str], drain: bool
) -> None:
    """Drain hooks that hang and tasks that will not be cancelled leave a quarter of the grace to the cleanup."""
    drains = data.draw(graphs(kinds, most=30, timeouts=False))
    cleanups = renumbered(data.draw(graphs(["quick", *HANGING], most=12, timeouts=False)), 100)
    mine = reserve(grace / 4 - MOMENT * (kinds == ["hang on"]), longest(cleanups))
    cleanups = quick(cleanups, mine)
    walked = play_app(drains, cleanups, grace, work, drain=drain)

    assert grace + TINY >= walked.over
    for script in cleanups:
        outcome = walked.outcomes[script.name]
        assert (Verdict.OK if script.kind == "ok" else Verdict.TIMED_OUT) == outcome.verdict
        assert mine * 0.99 - TINY <= outcome.took


@settings(deadline=None, max_examples=40)
@given(graphs([*HANGING], most=12), st.booleans(), st.floats(1, 30))
def test_remaining_is_what_a_hook_is_given(scripts: list[Scripted], timeouts: bool, grace: float) -> None:
    """What `remaining()` says when a hook begins is when it is cancelled, if nothing else changes meanwhile."""
    scripts = scripts if timeouts else [replace(script, timeout=None) for script in scripts]
    walked = play_app([], scripts, grace, [])

    given_ = {name: outcome.error.allowed for name, outcome in walked.outcomes.items()}
    assert pytest.approx(walked.remaining, abs=TINY) == given_


@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.generate])
@given(graphs(["quick", *HANGING], most=8, timeouts=False), st.floats(1, 30))
@example([Scripted(0, None, "quick", 0, None), Scripted(1, None, "hang", 0, None)], 8.0)
def test_no_drain_hook_starves_another(scripts: list[Scripted], grace: float) -> None:
    """Of the drain's half of the grace, too, each hook has its reserve, whatever hangs before it."""
    mine = reserve(grace / 2, longest(scripts))
    scripts = quick(scripts, mine)
    walked = play_app(scripts, [], grace, [])

    given_ = {script.name: walked.outcomes[script.name].took for script in scripts}
    assert {} == {name: took for name, took in given_.items() if took < mine * 0.99 - TINY}


# --- in real time -----------------------------------------------------------------------------------------------------


def test_who_blocks_within_its_time_is_not_interrupted() -> None:
    """A hook that blocks the loop ends if it has the time, though that of another one is up meanwhile."""
    app = App("test", grace=8)

    @app.on_shutdown(after=(), timeout=0.2)
    async def hangs() -> None:
        await asyncio.sleep(60)

    @app.on_shutdown(after=())
    async def blocks() -> None:
        await asyncio.sleep(0)
        time.sleep(0.8)

    with pytest.raises(HookTimeout, match="hangs"):
        app.run(asyncio.sleep(0))
    assert app.report is not None
    verdicts = {outcome.hook: outcome.verdict for outcome in app.report.outcomes}
    assert {"hangs": Verdict.TIMED_OUT, "blocks": Verdict.OK} == verdicts
