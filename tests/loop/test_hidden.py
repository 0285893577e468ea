"""Tasks of the package are not in asyncio.all_tasks(): cancelling or gathering all tasks does not reach them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest


def test_cancelling_all_tasks_stops_the_app(app):
    """Cancelling everything in all_tasks() stops the app, and the hooks still run to their end."""
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.01)
        seen.append("closed")

    async def main():
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(60)

    with contextlib.suppress(asyncio.CancelledError):
        app.run(main)
    assert ["closed"] == seen


def test_main_that_gathers_all_tasks(app):
    """A main that gathers all other tasks does not deadlock: the package's own tasks are not among them."""

    async def main():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others), 5)
        return "done"

    assert "done" == app.run(main)


@pytest.mark.parametrize("entrance", ["app.run(main)", "asyncio.run(guest())"])
def test_hooks_that_gather_all_tasks(program, entrance):
    """Hooks side by side that wait for all other tasks do not wait for each other or for a task of the package."""
    running = program(
        """
        app = App("gathers", grace=2)
        theirs = set()  # the task that runs a guest's block, which waits for the hooks

        async def flush():
            others = asyncio.all_tasks() - {asyncio.current_task()} - theirs
            say(len(others))
            await asyncio.gather(*others)

        app.on_startup(lambda: theirs.update(asyncio.all_tasks()))
        app.on_startup(flush)
        app.on_shutdown(after=())(flush)
        app.on_shutdown(after=())(flush)
        app.on_shutdown(after=(), stage="drain")(flush)

        async def main(): ...

        async def guest():
            async with app: ...

        ENTRANCE
        say(*(outcome.verdict for outcome in app.report.outcomes))
        """.replace("ENTRANCE", entrance)
    )
    ended = running.end()

    assert ["0"] * 4 + ["ok ok ok ok ok"] == ended.lines
    assert 0 == ended.status
