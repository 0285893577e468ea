"""background(essential=True): when it returns, the program ends as if main had returned."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import ENTRANCES

from graceful import App, Kind


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_program_ends_with_it(app, entrance):
    """Main is cancelled, the cleanup runs, and nothing is raised."""
    seen = []
    app.on_shutdown(lambda cause: seen.append(cause))

    @app.background(essential=True)
    async def serve():
        await asyncio.sleep(0.01)

    async def main():
        await asyncio.sleep(60)

    assert ENTRANCES[entrance](app, main) is None
    assert [(Kind.COMPLETED, "serve", "serve returned")] == [(each.kind, each.task, str(each)) for each in seen]
    assert 0 == app.report.exit_status


def test_it_may_return_at_once(app):
    """Before main has begun, too."""

    @app.background(essential=True)
    async def serve(): ...

    assert app.run(lambda: asyncio.sleep(60)) is None


def test_others_go_on(app):
    """A background task that is not essential may return."""

    @app.background
    async def once(): ...

    async def main():
        await asyncio.sleep(0.02)
        return "main"

    assert "main" == app.run(main)
    assert app.report.cause.task is None


@pytest.mark.parametrize("dealt_with", [True, False])
def test_its_failure(app, dealt_with):
    """It fails like every task; if a hook deals with that, the program ends all the same, without an error."""
    app.on_exception(ValueError)(lambda: dealt_with)

    @app.background(essential=True)
    async def serve():
        raise ValueError("x")

    if dealt_with:
        assert app.run(lambda: asyncio.sleep(60)) is None
        assert Kind.COMPLETED is app.report.cause.kind
    else:
        with pytest.raises(ValueError, match="x"):
            app.run(lambda: asyncio.sleep(60))


def test_a_process(program):
    """Exit status 0, and nothing on stderr."""
    ended = program(
        """
        app = App("worker")
        @app.background(essential=True)
        async def serve():
            say("served")
        app.on_shutdown(lambda: say("closed"))
        app.run()
        """
    ).end()

    assert (0, ["served", "closed"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_essential_is_a_bool(value):
    """Anything else is refused at decoration."""
    with pytest.raises(TypeError, match="^essential must be True or False, got "):
        App().background(essential=value)


def test_it_is_cancelled(app):
    """By whoever: the program ends, as if it had returned."""

    @app.background(essential=True)
    async def serve():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await asyncio.sleep(60)

    assert app.run(lambda: asyncio.sleep(60)) is None
    assert (Kind.COMPLETED, "serve") == (app.report.cause.kind, app.report.cause.task)


def test_it_is_cancelled_and_nobody_asked(app):
    """That is a failure, as of any supervised task, and the cause."""

    @app.background(essential=True)
    async def serve():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        app.run(lambda: asyncio.sleep(60))
    assert Kind.EXCEPTION == app.report.cause.kind
