"""One run from start to end: startup, main, cleanup; and what can stop it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceful import App, Cause, Kind, current_app
from graceful.testing import simulate


def test_startup_main_and_cleanup(app):
    """Startup in order, main, cleanup in reverse; hooks may await; run() returns main's result."""
    seen = []

    def note(word):
        async def hook():
            await asyncio.sleep(0)
            seen.append(word)

        return hook

    app.on_startup(note("start 1"))
    app.on_startup(note("start 2"))
    app.on_shutdown(note("stop 1"))
    app.on_shutdown(note("stop 2"))

    @app.resource
    async def resource():
        seen.append("enter")
        yield
        seen.append("exit")

    async def main():
        seen.append("main")
        return 42

    assert 42 == app.run(main())
    assert ["start 1", "start 2", "enter", "main", "exit", "stop 2", "stop 1"] == seen


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with 3.12")
def test_eager_tasks(app):
    """With an eager task factory hooks run, their tasks are awaited, and a failed task that is held is noticed."""
    seen = []

    def factory():
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    app.on_shutdown(lambda: seen.append("closed"))

    @app.on_shutdown
    async def flush():
        async def child():
            await asyncio.sleep(0.01)
            seen.append("flushed")

        asyncio.create_task(child())

    async def fail():
        raise ValueError("eager")

    async def main():
        main.held = asyncio.create_task(fail())
        assert main.held.done()
        await asyncio.sleep(60)

    app._settings = app._settings._replace(patience=0.05)
    with pytest.raises(ValueError, match="eager"):
        app.run(main, loop_factory=factory)
    assert ["flushed", "closed"] == seen


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "raise", "cancel", "exit", "spawn", "sync"]), max_size=12), st.sampled_from(["end", "fail", "stop", "signal"]))  # fmt: skip
def test_every_hook_runs_exactly_once_in_order(kinds, cause):
    """Whatever the hooks do and whatever ends the program: each runs once, the last registered first."""
    app = App(grace=30)
    seen = []

    def hook(index, kind):
        async def run():
            seen.append(index)
            if kind == "raise":
                raise RuntimeError
            if kind == "cancel":
                raise asyncio.CancelledError
            if kind == "exit":
                raise SystemExit(2)
            if kind == "spawn":
                asyncio.create_task(asyncio.sleep(0))

        return (lambda: seen.append(index)) if kind == "sync" else run

    for index, kind in enumerate(kinds):
        app.on_shutdown(hook(index, kind))

    async def main():
        if cause == "fail":
            raise ValueError
        if cause == "stop":
            app.stop()
        if cause == "signal":
            signal.raise_signal(signal.SIGTERM)

    with contextlib.suppress(BaseException), warnings.catch_warnings():
        app.run(main)
    assert [*reversed(range(len(kinds)))] == seen
    assert isinstance(app.report.cause, Cause)


# --- what stops a run ------------------------------------------------------------------------------------------------


def test_stop_before_run(app):
    """stop() before run(): startup and main are skipped; the next run is a run again."""
    seen = []
    app.on_startup(lambda: seen.append("start"))
    app.stop()
    assert app.run(asyncio.sleep(0, "never")) is None
    assert [] == seen
    assert "now" == app.run(asyncio.sleep(0, "now"))
    assert ["start"] == seen


def test_stop_from_a_thread_and_more_than_once(app):
    """stop() may be called from any thread and any number of times."""
    ready = threading.Event()

    def call():
        ready.wait()
        for _ in range(10):
            app.stop()

    thread = threading.Thread(target=call)
    thread.start()

    async def main():
        ready.set()
        await asyncio.sleep(60)

    assert app.run(main) is None
    thread.join()
    assert [Kind.REQUESTED] == [cause.kind for cause in app.report.causes]


def test_loop_stop_is_a_request(app):
    """loop.stop() anywhere stops the program after its cleanup, not before."""
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.01)
        seen.append("closed")

    async def main():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    assert app.run(main) is None
    assert ["closed"] == seen


def test_stopping_when_the_run_is_over(app):
    """A thread that looks now and then sees it, however short the shutdown was."""
    assert not app.stopping
    assert app.run(during) is False
    assert app.stopping
    assert app.run(during) is False


async def during():
    return current_app().stopping


def test_no_delay_where_nothing_serves():
    """`drain_delay` is not waited for if the startup was cut short."""
    app = App("orders", grace=8, drain_delay=3)
    app.on_startup(lambda: asyncio.sleep(60))

    simulate(app, at={1: signal.SIGTERM}).assert_took(1)
