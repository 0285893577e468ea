"""explore at each entrance: an ordinary program has no violation there, and a faulty one has."""

from __future__ import annotations

import asyncio

import pytest

from graceful import App
from graceful.testing import Result, explore
from graceful.testing._checks import violations
from graceful.testing._injection import Injected, Injection
from graceful.testing._schedule import Fault, Schedule
from graceful.testing._simulate import Simulation

ENTRANCES = ["run", "block", "lifespan"]


def smallest():
    """An app, and a main that sleeps as long as the app has patience."""
    return App("orders", grace=5), lambda: asyncio.sleep(1)


def unwatched():
    """As that, but a task that fails is watched by nobody."""
    return App("orders", grace=5, patience=None), lambda: asyncio.sleep(1)


def ordinary():
    """A resource, hooks, a background task, and jobs that are not cut short."""
    app = App("orders", grace=5)

    @app.resource
    async def pool():
        await asyncio.sleep(0.01)
        yield
        await asyncio.sleep(0.01)

    @app.on_shutdown
    async def flush() -> None:
        await asyncio.sleep(0.1)

    @app.background
    async def consume() -> None:
        while await app.sleep(0.3):
            async with app.critical():
                await asyncio.sleep(0.1)

    async def main() -> None:
        async with app.critical():
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.5)

    return app, main


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("make", [smallest, unwatched, ordinary])
def test_good_program_passes_with_the_default_faults(make, entrance: str) -> None:
    """Also a task that fails shortly before the block is left, a main that its owner cancels, and a second Ctrl-C."""
    explored = explore(make, entrance=entrance)
    explored.assert_ok()
    assert explored.runs > 400


@pytest.mark.parametrize("entrance", ["block", "lifespan"])
def test_failures_that_a_block_must_notice(entrance: str) -> None:
    """One that nobody supervises, where the block lasts longer than the patience; and any other."""
    told = []

    def look(result: Result) -> None:
        told.append([str(failure.exception) for failure in result.report.failures])

    async def main() -> None:
        for _ in range(30):
            await asyncio.sleep(0.1)

    def make():
        return App("orders", grace=5), main

    tokens = ["task-fails@12", "supervised-task-fails@12", "callback-fails@12"]
    explore(make, entrance=entrance, only=tokens, check=look).assert_ok()
    assert told[1:] == [["task-fails"], ["supervised-task-fails"], ["callback-fails"]]


@pytest.mark.parametrize(("lasts", "said"), [(1.0, 0), (1.1, 1)])
def test_failure_that_is_not_noticed(lasts: float, said: int) -> None:
    """It is a violation as soon as the block has lasted longer than the patience."""
    app = App("orders", grace=5)
    injection = Injection(Schedule(), app, "block")
    injection.raised.append(Injected(Fault.TASK_FAILS, injection._noticed_from(Fault.TASK_FAILS, 0.0)))
    result = Simulation(app, lambda: asyncio.sleep(lasts), [], "block").run()
    assert said == len([*violations(result, [], 5, injection)])


def test_status_that_the_block_decides() -> None:
    """Only where the owner has cancelled the block, what it raises is the owner's."""
    app = App("orders", grace=5)
    result = Simulation(app, _cancelled, [], "block").run()
    injection = Injection(Schedule(), app, "block")
    assert ["the report says exit status 0, and the parent sees 1"] == [*violations(result, [], 5, injection)]
    injection.owner_cancelled = True
    assert [] == [*violations(result, [], 5, injection)]


async def _cancelled() -> None:
    raise asyncio.CancelledError
