"""app.sleep() and app.wait_stopping(): tasks that wait there learn of the shutdown, and have time to end themselves."""

from __future__ import annotations

import asyncio
import math

import pytest
from support.apps import nothing, stop_soon
from support.virtual import run_virtually

from graceful import App


def test_sleep_and_remaining(app):
    """sleep() is True after its time and False in the shutdown; remaining() is inf, then the grace, then a hook's slice."""
    seen = []

    @app.on_shutdown(timeout=0.5)
    def hook():
        seen.append(app.remaining())

    async def main():
        seen.append(await app.sleep(0.01))
        seen.append(app.remaining())
        app.stop()
        seen.append(await app.sleep(60))

    app.run(main)
    slept, running, told, in_hook = seen
    assert (True, math.inf, False) == (slept, running, told)
    assert 0 < in_hook <= 0.5


def test_work_between_two_sleeps_is_notified_too(app):
    """A task that has ever waited in app.sleep() may end by itself, also if the stop came while it worked."""
    seen = []

    async def main():
        while await app.sleep(0.01):
            app.stop()
            await asyncio.sleep(0.05)
            seen.append("worked")
        return "by itself"

    assert "by itself" == app.run(main)
    assert ["worked"] == seen


def test_sleep_ends_when_the_shutdown_begins(app):
    """When the shutdown begins, sleep() returns False at once, however long it was to be."""
    seen = []

    async def sleeps(delay):
        seen.append(await app.sleep(delay))

    async def waits():
        seen.append(await app.wait_stopping())

    async def main():
        seen.append(await app.sleep(0))
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps(60))
            group.create_task(sleeps(math.inf))
            group.create_task(waits())
            stop_soon(app)
        return "by itself"

    assert "by itself" == app.run(main)
    assert [True, False, False, None] == sorted(seen, key=[True, False, None].index)


def test_sleep_during_the_shutdown_returns_at_once(app):
    """In shutdown hooks sleep() is False and wait_stopping() returns, both without a wait."""
    seen = []

    async def hook():
        seen.append([await app.sleep(60), await app.wait_stopping(), app.stopping])

    for stage in ("drain", "cleanup"):
        app.on_shutdown(stage=stage, timeout=1)(hook)
    app.run(nothing)

    assert [[False, None, True]] * 2 == seen


def test_a_notified_task_has_half_of_the_grace():
    """A task in wait_stopping() may go on for half of the grace; one in asyncio.sleep() is cancelled at once."""
    app = App("test", grace=8)
    seen = {}

    async def asked():
        await app.wait_stopping()
        try:
            await asyncio.sleep(60)
        finally:
            seen["asked"] = app.remaining()

    async def did_not_ask():
        try:
            await asyncio.sleep(60)
        finally:
            seen["did not ask"] = app.remaining()

    async def ends_by_itself():
        await app.wait_stopping()
        await asyncio.sleep(3)
        seen["ends by itself"] = app.remaining()

    async def main():
        async with app:
            for work in (asked, did_not_ask, ends_by_itself):
                app.create_task(work())
            await asyncio.sleep(1)

    run_virtually(main)
    assert pytest.approx({"ends by itself": 5, "asked": 4, "did not ask": 4}) == seen


def test_a_resource_that_sleeps_delays_nothing():
    """A hook that uses app.sleep() has its own time slice: the drain does not wait for it."""
    app, took = App("test", grace=60), []

    @app.resource
    async def pool():
        await app.sleep(0.01)
        yield

    async def main():
        async with app:
            pass
        took.append(app.report.took)

    run_virtually(main)
    assert took[0] < 1


def test_a_loop_that_ignores_the_result_does_not_spin():
    """`while True: ... await app.sleep(1)` goes on at its pace until it is cancelled, and does not become a busy loop."""
    app, attempts = App("retries", grace=7), []

    async def retry():
        while True:
            attempts.append(asyncio.get_running_loop().time())
            await app.sleep(1)

    async def main():
        async with app:
            app.create_task(retry())
            await asyncio.sleep(1.5)

    run_virtually(main)
    since = [at - attempts[0] for at in attempts]
    # At 1.5 s it is woken, and goes on at once; it is cancelled after half of the grace.
    assert pytest.approx([0, 1, 1.5, 2.5, 3.5, 4.5], abs=0.01) == since


def test_a_second_wait_for_the_shutdown_returns_at_once(app):
    """wait_stopping() and an infinite sleep() say that the shutdown has begun, as often as they are asked."""
    seen = []

    async def main():
        await app.sleep(0)  # so that it may end by itself
        app.stop()
        for _ in range(3):
            await app.wait_stopping()
            seen.append(await app.sleep(math.inf))

    app.run(main)
    assert [False] * 3 == seen


@pytest.mark.parametrize("delay", [-0.001, -math.inf, 0])
def test_sleep_into_the_past(app, delay):
    """`app.sleep(next_at - now)` a little late returns True after an iteration of the loop, as asyncio.sleep() does."""
    seen = []

    async def main():
        asyncio.get_running_loop().call_soon(seen.append, "others")
        seen.append(await app.sleep(delay))

    app.run(main)
    assert ["others", True] == seen


@pytest.mark.parametrize("levels", [1, 2, 3, 8])
def test_main_may_end_when_the_workers_have(app, new_loop, levels):
    """However many groups there are around the workers: when they have ended by themselves, so may main."""
    ended = []

    async def worker():
        while await app.sleep(1):
            pass
        await asyncio.sleep(0.01)

    async def group(level):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(group(level - 1) if level > 1 else worker())

    async def main():
        asyncio.get_running_loop().call_later(0.1, app.stop)
        await group(levels)
        ended.append(True)

    app.run(main, loop_factory=new_loop)
    assert [True] == ended
