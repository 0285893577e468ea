"""The start: what happens when it fails, and the warning about timeouts beyond the grace."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from support.apps import ENTRANCES, nothing

from graceful import App, HookTimeout, Verdict
from graceful.testing import simulate


def test_startup_rollback(app):
    """If a startup hook fails only what was started is cleaned up, and the failure is raised."""
    seen = []

    @app.resource
    async def first():
        seen.append("enter first")
        yield
        seen.append("exit first")

    @app.on_startup
    def second(): ...

    @app.on_shutdown
    def second_stop():
        seen.append("second stop")

    @app.on_startup
    async def third():
        raise OSError("no")

    @app.on_shutdown
    def third_stop():
        seen.append("never")

    @app.resource
    async def fourth():
        seen.append("never")
        yield

    async def main():
        seen.append("never")

    with pytest.raises(OSError, match="no"):
        app.run(main)
    assert ["enter first", "second stop", "exit first"] == seen
    assert [Verdict.SKIPPED] == [o.verdict for o in app.report.outcomes if o.hook.endswith("third_stop")]


def test_remaining_in_a_task_of_a_startup_hook(app):
    """A task that a startup hook created has what is left of the grace, not of that hook's time."""
    seen = []

    @app.on_startup(timeout=0.01)
    async def start():
        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                seen.append(app.remaining())

        start.held = asyncio.create_task(work())

    async def main():
        await asyncio.sleep(0.05)

    app.run(main)
    assert [pytest.approx(3, abs=0.5)] == seen


#: Seconds of grace 3: what is registered, and what it may take together; `None`: there is nothing to warn about.
DECLARED = [
    ([("cleanup", 4, None)], 4),
    ([("cleanup", 2, None), ("cleanup", 2, None)], 4),
    ([("cleanup", 2, ()), ("cleanup", 2, ())], None),
    ([("cleanup", 2, ()), ("cleanup", 1, ()), ("cleanup", 1.5, ("hook0", "hook1"))], 3.5),
    ([("drain", 2, None), ("cleanup", 2, None)], 4),
    ([("drain", 2, ()), ("drain", 1, ()), ("cleanup", 1, None)], None),
    ([("delay", 1, None), ("cleanup", 2.5, None)], 3.5),
    ([("resource", 2, None), ("cleanup", 2, None)], 4),
    ([("cleanup", 1, None), ("cleanup", None, None), ("cleanup", 3, None)], 4),
    ([("cleanup", 1, None), ("cleanup", 2, None)], None),
    ([("startup", 9, None), ("exception", 9, None)], None),
    ([], None),
]


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("registered", "expected"), DECLARED)
def test_timeouts_beyond_the_grace_are_warned_about(caplog, registered, expected, entrance):
    """At the start a warning names the longest path through the timeouts and the grace that is shorter."""
    delay = sum(timeout for kind, timeout, _ in registered if kind == "delay")
    app = App("test", grace=3, drain_delay=delay)
    at_start = []
    app.on_startup(lambda: at_start.extend(warnings()))

    def warnings():
        return [each for each in caplog.records if (each.name, each.levelno) == ("graceful", logging.WARNING)]

    async def resource():
        yield

    for number, (kind, timeout, after) in enumerate(registered):

        def hook(): ...

        hook.__qualname__ = f"hook{number}"
        if kind in ("cleanup", "drain"):
            app.on_shutdown(timeout=timeout, after=after, stage=kind)(hook)
        elif kind == "resource":
            app.resource(timeout=timeout)(resource)
        elif kind == "startup":
            app.on_startup(timeout=timeout)(hook)
        elif kind == "exception":
            app.on_exception(timeout=timeout)(hook)

    ENTRANCES[entrance](app, nothing)

    expected_figures = [] if expected is None else [(expected, 3.0)]
    assert at_start == warnings()
    assert expected_figures == [(record.graceful_declared, record.graceful_grace) for record in at_start]
    for record in at_start:
        assert f"may take {expected:g} s" in record.getMessage()
        assert "grace of 3 s" in record.getMessage()


def test_a_background_task_that_returns_stops_nothing(app):
    """Background tasks start after the startup hooks, in order; one that returns does not stop the program."""
    seen = []
    for number in range(2):

        @app.background
        async def work(number=number):
            seen.append(number)

    app.on_startup(lambda: seen.append("startup"))

    async def main():
        await asyncio.sleep(0.01)
        seen.append("main")
        return "done"

    assert "done" == app.run(main)
    assert ["startup", 0, 1, "main"] == seen


@pytest.mark.parametrize("swallowed", ["asyncio.CancelledError", "BaseException"])
def test_a_startup_that_does_not_let_itself_be_cut_short(program, swallowed):
    """It is named, and abandoned: the process ends, within the grace and a moment."""
    ended = program(
        f"""
        app = App("orders", grace=1)
        @app.on_startup
        async def connect():
            asyncio.get_running_loop().call_soon(app.stop)
            while True:
                try: await asyncio.sleep(60)
                except {swallowed}: pass
        app.run()
        """
    ).end(timeout=5)

    assert (0, []) == (ended.status, ended.lines)
    line = r"startup hook connect \(.*\) did not react to its cancellation, and is abandoned\n"
    assert re.fullmatch(line, ended.err), ended.err


def test_a_resource_that_enters_after_it_was_given_up():
    """It is left like any other, if its turn has not come."""
    app, seen = App("orders", grace=8), []

    @app.on_shutdown(stage="drain")
    async def drain():
        await asyncio.sleep(2)

    @app.resource(timeout=0.1)
    async def pool():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        seen.append("entered")
        yield
        seen.append("left")

    result = simulate(app)
    assert isinstance(result.raised, HookTimeout)
    assert ["entered", "left"] == seen
