"""`on_shutdown(stage="flush")`: what sends the last logs and spans runs when all else is over, and has time left for it."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import ENTRANCES, nothing

from graceful import App, EventKind, HookTimeout, StateError, Verdict
from graceful.testing import explore


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_it_runs_when_all_else_is_over(app, entrance):
    """After every cleanup hook in whatever order, after the tasks of a startup hook, and after what was acquired."""
    seen = []

    @app.on_shutdown(stage="flush")
    async def flush():
        seen.append("flush")

    async def serve():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("server")

    @app.on_startup
    async def start():
        app.kept = asyncio.create_task(serve())
        await asyncio.sleep(0)

    @app.on_shutdown(after=())
    async def beside():
        await asyncio.sleep(0.02)
        seen.append("beside")

    @app.on_shutdown
    async def cleanup():
        app.push_async_callback(lambda: seen.append("acquired"))
        seen.append("cleanup")

    ENTRANCES[entrance](app, nothing)

    if entrance == "guest":
        seen.remove("server")  # the owner of the loop cancels it
    assert ["acquired", "beside", "cleanup"] == sorted({*seen[:-1]} - {"server"})
    assert "flush" == seen[-1]
    assert ("flush", Verdict.OK) == (app.report.outcomes[-1].stage, app.report.outcomes[-1].verdict)


def test_the_order_of_several(app):
    """As everywhere: the last registered runs first, `after=` names others, and one registered late is run first."""
    seen = []

    @app.on_shutdown(stage="flush")
    def first():
        seen.append("first")

    @app.on_shutdown(stage="flush")
    def second():
        seen.append("second")

    @app.on_shutdown(stage="flush", after=first)
    def behind():
        seen.append("behind")

    async def main():
        @app.on_shutdown(stage="flush")
        def late():
            seen.append("late")

        @app.on_shutdown(stage="flush", after=late)
        def behind_late():
            seen.append("behind late")

    app.run(main)

    assert ["late", "second", "first"] == [each for each in seen if "behind" not in each]
    assert seen.index("first") < seen.index("behind")
    assert seen.index("late") < seen.index("behind late")


def test_it_runs_whatever_was_started(app):
    """Also if the start failed: what was logged of that is to be sent."""
    seen = []

    @app.on_startup
    def connect():
        raise OSError("refused")

    app.on_shutdown(stage="flush")(lambda: seen.append("flush"))

    with pytest.raises(OSError, match="refused"):
        app.run(nothing)

    assert ["flush"] == seen


def test_a_hook_that_hangs_leaves_time_for_it():
    """A cleanup hook that uses all the time that it may does not leave the flush without any."""
    app = App("test", grace=2)
    left = []

    @app.on_shutdown(stage="flush")
    async def flush():
        left.append(app.remaining())
        await asyncio.sleep(0.1)

    @app.on_shutdown
    async def hangs():
        await asyncio.sleep(60)

    with pytest.raises(HookTimeout):
        app.run(nothing)

    assert {"flush": Verdict.OK, "hangs": Verdict.TIMED_OUT} == {
        each.hook: each.verdict for each in app.report.outcomes
    }
    assert 0.3 < left[0] < 0.6


def test_it_is_told_with_the_exit_status(app):
    """The stage is told where there are hooks for it, with the exit status as things stand, and so is the end."""
    events = []
    app.add_observer(events.append)

    @app.on_shutdown
    def fails():
        raise OSError("cannot close")

    app.on_shutdown(stage="flush")(lambda: None)

    with pytest.raises(OSError, match="cannot close"):
        app.run(nothing)
    told = [(event.kind, event.exit_status) for event in events if event.exit_status is not None]

    assert [(EventKind.STAGE_BEGAN, 1), (EventKind.OVER, 1)] == told
    assert ["flush"] == [each.stage for each in events if each.exit_status is not None and each.stage]


def test_nothing_can_be_acquired_in_it(app):
    """The cleanup is over: nothing would release it."""
    refused = []

    @app.on_shutdown(stage="flush")
    def flush():
        for call in (lambda: app.push_async_callback(nothing), lambda: app.on_shutdown(stage="flush")(lambda: None)):
            try:
                call()
            except StateError as error:
                refused.append(str(error))

    app.run(nothing)

    assert 2 == len(refused)
    assert all("too late" in each for each in refused)


def test_a_failure_is_told_as_the_cause(app):
    """`stopping` says which failure began it, with the task that failed; other causes have none."""
    events = []
    app.add_observer(events.append)

    async def main():
        app.create_task(fail(), name="worker")
        await asyncio.sleep(60)

    async def fail():
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        app.run(main)
    app.run(nothing)
    failed, fine = (event.failure for event in events if event.kind is EventKind.STOPPING)

    assert ("worker", "task 'worker' failed") == (failed.task.get_name(), failed.message)
    assert fine is None


def make():
    app, seen = App("test", grace=3), []

    @app.resource
    async def pool():
        yield
        await asyncio.sleep(0.01)
        seen.append("pool")

    @app.on_shutdown(stage="flush")
    async def flush():
        seen.append("flush")
        await asyncio.sleep(0.01)

    async def main():
        await asyncio.sleep(0.1)

    return app, main, seen


def test_whatever_happens():
    """With every fault at every step: it runs once, after all others, within the grace."""
    found = explore(make, check=lambda result: f"seen: {result.state}" if "pool" in result.state[1:] else "")

    found.assert_ok()
    assert any("flush" in place for place in found.places), found.places
