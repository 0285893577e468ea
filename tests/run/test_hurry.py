"""The second Ctrl-C: nothing is waited for any more, and the cleanup hooks have most of the two seconds."""

from __future__ import annotations

import asyncio
import re
import signal
import time

import pytest

from graceful import App
from graceful.testing import simulate

#: A Ctrl-C, and another one.
TWICE = {1: signal.SIGINT, 2: signal.SIGINT}


async def rows():
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(60)


async def iterate():
    async for _ in rows():
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("drain_delay", [0, 5])
@pytest.mark.parametrize("work", ["generator", "main", "task"])
def test_work_that_takes_long_to_end(work, drain_delay):
    """The cleanup hook has the time it needs, and the process dies by SIGINT."""
    app, seen = App("orders", grace=10, drain_delay=drain_delay), []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.5)
        seen.append("closed")

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    async def main():
        if work == "task":
            app.create_task(slow())
            await asyncio.sleep(60)
        await (iterate() if work == "generator" else slow())

    result = simulate(app, main, at=TWICE)
    result.assert_exit(-signal.SIGINT)
    result.assert_took(2 + 2)
    assert ["closed"] == seen


@pytest.mark.parametrize("kind", ["on_startup", "resource"])
def test_a_startup_that_takes_long_to_end(kind):
    """What was started before is cleaned up."""
    app, seen = App("orders", grace=8), []

    @app.resource
    async def pool():
        yield
        seen.append("closed")

    async def migrate():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    async def database():
        await migrate()
        yield

    app.on_startup(migrate) if kind == "on_startup" else app.resource(database)
    result = simulate(app, at=TWICE)
    result.assert_exit(-signal.SIGINT)
    assert ["closed"] == seen


@pytest.mark.parametrize("drain_delay", [0, 3])
def test_a_job_in_a_thread(program, drain_delay):
    """It is named at once, and not waited for."""
    running = program(
        f"""
        app = App("photos", grace=10, drain_delay={drain_delay})
        @app.on_shutdown
        async def close():
            await asyncio.sleep(0.3)
            say("closed")
        def develop():
            say("developing")
            time.sleep(2)
            say("developed")
        app.run(lambda: asyncio.to_thread(develop))
        """
    )
    running.wait_for("developing").send(signal.SIGINT)
    time.sleep(0.6)  # longer than the debounce
    ended = running.send(signal.SIGINT).end()

    assert (-signal.SIGINT, ["developing", "closed", "developed"]) == (ended.status, ended.lines)
    assert re.match(r"job develop \(.*\) is still running, and is not waited for any longer", ended.err), ended.err
