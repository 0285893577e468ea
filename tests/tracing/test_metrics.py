"""graceful.opentelemetry: what is measured."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import nothing

from graceful import App


def test_shutdowns_and_hooks_are_measured(memory):
    """How many and why, how long they took, and how long each hook took, by how it ended."""
    app = App("orders", grace=3)
    memory.instrument(app)

    @app.on_startup
    async def connect():
        pass

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(0.05)
        raise OSError("cannot flush")

    with pytest.raises(OSError, match="cannot flush"):
        app.run(nothing)
    points = memory.points()
    (count,), (took,) = points["graceful.shutdowns"], points["graceful.shutdown.duration"]
    hooks = {point.attributes["graceful.hook"]: point for point in points["graceful.hook.duration"]}

    assert (1, {"graceful.app": "orders", "graceful.cause": "completed"}) == (count.value, dict(count.attributes))
    assert count.attributes == took.attributes
    assert 0.05 <= took.sum < 1
    assert {"connect", "disconnect"} == {*hooks}
    assert {
        "graceful.app": "orders",
        "graceful.stage": "cleanup",
        "graceful.hook": "disconnect",
        "graceful.verdict": "raised",
    } == dict(hooks["disconnect"].attributes)
    assert 0.05 <= hooks["disconnect"].sum < 1
    assert 1.0 in took.explicit_bounds  # seconds, not milliseconds


def test_a_hook_that_did_not_run_took_no_time(app, memory):
    """A skipped one is in no histogram."""
    memory.instrument(app)

    @app.on_startup
    def connect():
        raise OSError

    app.on_shutdown(lambda: None)

    with pytest.raises(OSError):
        app.run(nothing)

    assert ["startup"] == [point.attributes["graceful.stage"] for point in memory.points()["graceful.hook.duration"]]
