"""explore: a run for each step with a fault before it, and what the checks say of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings

from graceful import App
from graceful.testing import Exploration, Fault, Schedule, explore, schedules


def make():
    """An app with a resource and a hook, and a main that works a little."""
    app = App("orders", grace=3)

    @app.resource
    async def pool():
        await asyncio.sleep(0.01)
        yield
        await asyncio.sleep(0.01)

    @app.on_shutdown
    async def flush() -> None:
        await asyncio.sleep(0.01)

    async def main() -> None:
        for _ in range(3):
            await asyncio.sleep(0.01)

    return app, main, {"sold": 3}


def test_good_program_passes_all_faults() -> None:
    """Each fault at each step, and pairs; and it says where they fell."""
    exploration = explore(make, pairs=50)

    exploration.assert_ok()
    assert exploration.runs > 7 * exploration.steps
    assert any("`main` waited" in place for place in exploration.places)
    assert exploration.text().startswith(f"{exploration.runs} runs of {exploration.steps} steps")


def test_good_program_passes_under_a_server() -> None:
    explore(make, entrance="lifespan", faults=[Fault.SIGTERM, Fault.SIGINT], pairs=0).assert_ok()


@pytest.mark.parametrize("entrance", ["block", "lifespan"])
def test_good_program_passes_at_other_entrances(entrance: str) -> None:
    """stop() and both signals, at each step: as the block begins, and when the app is over."""
    explore(make, entrance=entrance, faults=[Fault.STOP, Fault.SIGTERM, Fault.SIGINT], pairs=0).assert_ok()


def fail(result) -> None:
    raise ValueError("mine")


def hold(result) -> None:
    assert result.state == {"sold": 3}
    assert result.app is not None


VERDICTS = {
    "None": (lambda result: None, ()),
    "True": (lambda result: True, ()),
    "empty text": (lambda result: "", ()),
    "assertions that hold": (hold, ()),
    "False": (lambda result: False, ("check returned False",)),
    "text": (lambda result: "sold 3 of 4", ("sold 3 of 4",)),
    "raises": (fail, ("check: ValueError: mine",)),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdicts_of_the_check(verdict: str) -> None:
    """What it raises, False and a text are violations; all else is not."""
    check, messages = VERDICTS[verdict]
    exploration = explore(make, check=check, only=["none"])
    assert sum((each.messages for each in exploration.violations), ()) == messages


def test_violation_is_told_and_replayed() -> None:
    """As a story with a token, which runs that schedule again."""

    def check(result) -> str:
        return "cut short" if result.exit_status == -15 else ""

    exploration = explore(make, check=check, faults=[Fault.SIGTERM], pairs=0)
    violation = exploration.violations[0]
    again = explore(make, check=check, only=[violation.token])

    assert [each.text() for each in again.violations] == [violation.text()]
    assert "steps, SIGTERM" in violation.story
    with pytest.raises(AssertionError) as caught:
        exploration.assert_ok()
    for part in (violation.story, "cut short", f"replay: {violation.token}", "stopping (SIGTERM)"):
        assert part in str(caught.value)


def test_one_kind_is_told_once() -> None:
    """With the earliest step."""
    exploration = explore(make, check=lambda result: f"step {result.steps}", faults=[Fault.STOP], pairs=0)
    assert exploration.failed == exploration.runs
    assert [each.token for each in exploration.violations] == ["none"]


def test_hook_that_hangs_blocks_or_raises_is_isolated() -> None:
    faults = [Fault.HOOK_RAISES, Fault.HOOK_HANGS, Fault.HOOK_SWALLOWS, Fault.HOOK_BLOCKS, Fault.STARTUP_FAILS]
    exploration = explore(make, faults=faults, pairs=20)
    assert exploration.runs > 9
    bad = [each for each in exploration.violations if "left behind: task" not in each.messages[0]]
    assert bad == []  # a hook that swallows its cancellation is left behind, and it says so


def told(exploration: Exploration):
    return (
        exploration.runs,
        exploration.steps,
        exploration.failed,
        exploration.places,
        [(each.token, each.story, each.messages, each.timeline) for each in exploration.violations],
    )


def test_two_processes_give_the_same_as_one() -> None:
    def check(result) -> str:
        return f"died by {-result.exit_status}" if result.exit_status < 0 else ""

    one, two = (
        explore(make, check=check, faults=[Fault.SIGTERM, Fault.SIGINT], pairs=20, processes=processes)
        for processes in (1, 2)
    )
    assert told(one) == told(two)
    assert one.violations


@settings(max_examples=25, deadline=None)
@given(schedules(steps=25, hooks=2, faults=[Fault.SIGTERM, Fault.SIGINT, Fault.STOP, Fault.HOOK_RAISES]))
def test_schedules_of_hypothesis(schedule: Schedule) -> None:
    explore(make, only=[schedule]).assert_ok()


MISUSE = {
    "make": (
        lambda: explore(lambda: 3),
        TypeError,
        "make() must return an App, (app, main) or (app, main, state), got 3",
    ),
    "four": (lambda: explore(lambda: (App("x"), None, None, None)), TypeError, "make() must return"),
    "token": (lambda: explore(make, only=["SIGTERM"]), ValueError, "is not a token such as SIGTERM@41"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    call, kind, message = MISUSE[name]
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
