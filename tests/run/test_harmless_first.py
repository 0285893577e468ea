"""An exception that was reported as harmless before, and then ends something: it counts like any other."""

from __future__ import annotations

import asyncio

import pytest

from graceful import App
from graceful.testing import simulate

LOST = "the connection was lost"


async def hear_harmless(error: Exception) -> None:
    """As asyncio reports what a protocol's `data_received` raises, before it calls `connection_lost` with the same."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Fatal error: protocol.data_received() call failed.", "exception": error, "protocol": None}
    )


async def awaits_lost_connection() -> None:
    await hear_harmless(error := ConnectionError(LOST))
    raise error


@pytest.fixture
def app():
    return App("test", grace=4)


def test_main_fails_with_it(app):
    """A protocol raises, and main awaits what `connection_lost` has set: main has failed."""
    result = simulate(app, awaits_lost_connection)

    assert (1, LOST) == (result.exit_status, str(result.raised))


def test_startup_hook_fails_with_it(app):
    """Main does not start."""
    app.on_startup(awaits_lost_connection)
    started = []

    async def main():
        started.append(True)

    result = simulate(app, main)

    assert (1, LOST) == (result.exit_status, str(result.raised))
    assert [] == started


def test_background_task_fails_with_it(app):
    """The program stops, as after any failure of a background task."""
    app.background(awaits_lost_connection)

    async def main():
        await asyncio.sleep(60)

    result = simulate(app, main)

    assert (1, LOST) == (result.exit_status, str(result.raised))
    assert result.took < 60


def test_cleanup_hook_fails_with_it(app):
    """The hook's error is raised."""
    app.on_shutdown(awaits_lost_connection)

    async def main():
        pass

    result = simulate(app, main)

    assert 1 == result.exit_status
    assert LOST in repr(result.raised)


def test_main_awaits_a_task_that_fails_during_the_shutdown(app):
    """What a task raises that was cancelled changes no status; but if main awaits it, main has failed."""

    async def writer():
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("not written")

    async def main():
        task = asyncio.create_task(writer())
        await asyncio.sleep(0)
        app.stop()
        try:
            await asyncio.sleep(60)
        finally:
            task.cancel()
            await asyncio.sleep(1.5)
            await task

    result = simulate(app, main)

    assert (1, "not written") == (result.exit_status, str(result.raised))
