"""The shutdown: drain, cancellation and cleanup, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.apps import stop_soon
from support.scripted import HANGING, TINY, Scripted, Stage, Walked, graphs, longest, quick, reserve
from support.virtual import run_virtually

from graceful import (
    App,
    Interrupted,
    Verdict,
)
from graceful._core.budget import UNWIND

# --- drain -----------------------------------------------------------------------------------------------------------


def test_drain(app):
    """Drain hooks run while tasks still work; tasks with drain=True are waited for; others are cancelled after that."""
    seen = []

    @app.on_shutdown(stage="drain")
    async def stop_accepting():
        seen.append("drain hook")

    @app.background(drain=True)
    async def worker():
        await app.wait_stopping()
        await asyncio.sleep(0.05)
        seen.append("drained")

    @app.background
    async def other():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")

    app.on_shutdown(lambda: seen.append("cleanup"))
    asyncio_stop = lambda: asyncio.get_running_loop().call_later(0.01, app.stop)  # noqa: E731
    app.on_startup(lambda: asyncio_stop() and None)
    app.run()
    assert ["drain hook", "drained", "cancelled", "cleanup"] == seen


def test_drain_delay():
    """After the first signal the program goes on serving for drain_delay; HURRY ends the wait."""
    app = App(grace=5, drain_delay=0.3)
    seen = []

    async def main():
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(0.2)
            seen.append(app.stopping)
            await asyncio.sleep(60)
        finally:
            seen.append(round(app.remaining(), 1))

    with pytest.raises(Interrupted):
        app.run(main)
    assert [True, pytest.approx(4.7, abs=0.15)] == seen


def test_hurry_cuts_the_drain(app):
    """A second Ctrl-C ends a drain hook that hangs, which is no error then, and leaves the cleanup its 2 s."""
    app = App(grace=8, debounce=0.05)
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.5)
        seen.append("closed")

    @app.on_shutdown(stage="drain")
    async def drain():
        asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)
        await asyncio.sleep(60)

    async def main():
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(Interrupted):
        app.run(main)
    assert ["closed"] == seen
    assert app.report.took < 2


def test_main_that_awaits_a_drained_task(app):
    """A main that awaits a drained task can go on before anything is cancelled."""

    async def work():
        await app.wait_stopping()

    async def main():
        asyncio.get_running_loop().call_later(0.01, app.stop)
        await app.create_task(work(), drain=True)
        return "by itself"

    assert "by itself" == app.run(main)


@pytest.mark.parametrize("how", ["background", "create_task"])
@pytest.mark.parametrize("drain", [True, False])
def test_drained_tasks_are_waited_for(app, how, drain):
    """A task with `drain=True` runs to its end before anything is cancelled; another one is cancelled."""
    seen = []

    async def work():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
            seen.append("drained")

    async def main():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("main is cancelled")

    if how == "background":
        app.background(drain=drain)(work)
    else:
        app.on_startup(lambda: seen.append(app.create_task(work(), drain=drain)) or seen.clear())
    app.on_startup(lambda: stop_soon(app))
    app.run(main)

    assert (["drained"] if drain else []) + ["main is cancelled"] == seen


def test_drained_tasks_have_half_of_the_grace():
    """A drained task that does not end is cancelled after half of the grace; one that fails is reported."""
    app = App("test", grace=8)
    seen = []

    async def hangs():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            seen.append(app.remaining())

    async def fails():
        await app.wait_stopping()
        raise ValueError("while draining")

    async def main():
        async with app:
            app.create_task(hangs(), drain=True)
            app.create_task(fails(), drain=True)
            await asyncio.sleep(1)

    with pytest.raises(ValueError, match="while draining"):
        run_virtually(main)
    assert [pytest.approx(3)] == seen
    assert pytest.approx(5) == app.report.took


@pytest.mark.parametrize("way", ["drain=True", "sleep()"])
def test_a_task_that_outlasts_the_drain_is_reported(app, caplog, way):
    """A task that does not end within the drain is named in the log with its stack before it is cancelled."""

    async def work():
        if way == "sleep()":
            await app.sleep(60)
        await asyncio.Event().wait()

    async def main():
        app.create_task(work(), name="jobs", drain=way == "drain=True")
        await asyncio.sleep(0.01)

    app._settings = app._settings._replace(grace=0.4)
    app.run(main)
    (told,) = [outcome for outcome in app.report.outcomes if outcome.stage == "drain"]
    assert ("task 'jobs'", Verdict.TIMED_OUT) == (told.hook, told.verdict)
    assert "in Event.wait" in told.stack[-1]
    assert "task 'jobs' was waited for, and is cancelled now" in caplog.text


# --- cancellation ----------------------------------------------------------------------------------------------------


def test_work_stops_before_what_it_uses_is_closed(app):
    """Main, background and every other task are cancelled and have unwound before the first cleanup hook."""
    seen = []

    def until_cancelled(name):
        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                seen.append(name)

        return work

    app.on_shutdown(lambda: seen.append("cleanup"))
    app.background(until_cancelled("background"))
    held = []

    async def main():
        held.append(asyncio.create_task(until_cancelled("task")()))
        app.create_task(until_cancelled("supervised")())
        asyncio.get_running_loop().call_later(0.01, app.stop)
        await until_cancelled("main")()

    assert app.run(main) is None
    assert ["background", "cleanup", "main", "supervised", "task"] == sorted(seen)
    assert "cleanup" == seen[-1]


# --- the grace of a whole app ----------------------------------------------------------------------------------------


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


def moved(after: tuple[int, ...] | None, by: int) -> tuple[int, ...] | None:
    return None if after is None else tuple(number + by for number in after)


def renumbered(scripts: list[Scripted], by: int) -> list[Scripted]:
    return [replace(each, number=each.number + by, after=moved(each.after, by)) for each in scripts]


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
    """Whatever the hooks and tasks do, every hook runs once, drain hooks first, and the app ends within the grace."""
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
    """Drain hooks that hang and tasks that swallow cancellation leave a quarter of the grace to the cleanup."""
    drains = data.draw(graphs(kinds, most=30, timeouts=False))
    cleanups = renumbered(data.draw(graphs(["quick", *HANGING], most=12, timeouts=False)), 100)
    mine = reserve(grace / 4 - UNWIND * (kinds == ["hang on"]), longest(cleanups))
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
    """If nothing else changes, a hook is cancelled after the time that `remaining()` returned at its begin."""
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
