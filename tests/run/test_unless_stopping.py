"""App.unless_stopping: the result of an awaitable, or a default as soon as the shutdown begins."""

from __future__ import annotations

import asyncio
import gc
import signal
import warnings

import pytest
from support.apps import ENTRANCES, stop_soon

from graceful import App
from graceful.testing import simulate


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_worker(app, entrance):
    """A worker takes jobs until the shutdown begins, and then ends by itself, without being cancelled."""
    done, queue = [], asyncio.Queue()

    async def main():
        for job in range(1, 4):
            queue.put_nowait(job)
        while job := await app.unless_stopping(queue.get()):
            done.append(job)
            if job == 3:
                stop_soon(app)
        done.append("left")

    ENTRANCES[entrance](app, main)
    assert [1, 2, 3, "left"] == done


@pytest.mark.parametrize("default", [None, "none"])
def test_the_awaitable_is_cancelled_and_awaited(app, default):
    """What waits is cancelled, and has ended when the default is returned."""
    seen = []

    async def waits():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            seen.append("ended")

    async def main():
        stop_soon(app)
        seen.append(await app.unless_stopping(waits(), default))
        seen.append(asyncio.current_task().cancelling())

    app.run(main)
    assert ["ended", default, 0] == seen


def test_results_and_errors_pass(app):
    """A result is returned, an error raised, whatever kind of awaitable; no trace is left on the task."""

    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "object"

    async def fails():
        raise ValueError("x")

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_result("future")
        assert "future" == await app.unless_stopping(future)
        assert "object" == await app.unless_stopping(Awaitable())
        assert "task" == await app.unless_stopping(loop.create_task(asyncio.sleep(0, "task")))
        assert "coroutine" == await app.unless_stopping(asyncio.sleep(0, "coroutine"))
        with pytest.raises(ValueError, match="x"):
            await app.unless_stopping(fails())
        with pytest.raises(TypeError, match="takes an awaitable, got <function"):
            await app.unless_stopping(fails)

    app.run(main)


@pytest.mark.parametrize("kind", ["coroutine", "task", "future"])
def test_what_has_completed_is_not_lost(app, kind):
    """Where the result and the shutdown come at once, the result is returned, or stays in the queue."""
    seen, queue = [], asyncio.Queue()

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def both():
            app.stop()
            future.set_result("item") if kind == "future" else queue.put_nowait("item")

        loop.call_later(0.01, both)
        waits = {"coroutine": queue.get(), "task": loop.create_task(queue.get()), "future": future}
        given = waits.pop(kind)
        for other in waits.values():
            other.close() if hasattr(other, "close") else other.cancel()
        seen.append(await app.unless_stopping(given, "default"))
        seen.extend(queue.get_nowait() for _ in range(queue.qsize()))

    app.run(main)
    assert 1 == seen.count("item")


def test_nothing_is_lost_over_many_rounds():
    """Every item that is put in at the very step of the shutdown, before it or after, is got or still there."""
    for steps in range(12):
        app, got, queue = App("test", grace=2), [], asyncio.Queue()

        async def take():
            item = await queue.get()
            got.append(item)
            return item

        async def main():
            async def put():
                for _ in range(steps):
                    await asyncio.sleep(0)
                queue.put_nowait("item")

            asyncio.get_running_loop().call_soon(app.stop)
            task = asyncio.create_task(put())
            result = await app.unless_stopping(take())
            await task
            assert (result is None) == (got == [])
            assert 1 == len(got) + queue.qsize()

        app.run(main)


def test_an_awaitable_that_ends_with_a_result_all_the_same(app):
    """What catches the cancellation and returns something has completed: that is the result."""

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "saved"

    async def main():
        stop_soon(app)
        return await app.unless_stopping(stubborn(), "default"), asyncio.current_task().cancelling()

    assert ("saved", 0) == app.run(main)


def test_a_cancellation_from_elsewhere_passes(app):
    """A caller that is cancelled, or times out, is: also if the shutdown begins in the same step."""

    async def waits():
        return await app.unless_stopping(asyncio.sleep(60), "default")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await waits()
        task = asyncio.create_task(waits())
        await asyncio.sleep(0.01)
        app.stop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    app.run(main)


def test_once_the_shutdown_has_begun(app):
    """Then nothing is started: a coroutine is closed, a task cancelled and awaited, a result that is there is returned."""
    seen = []

    async def starts():
        seen.append("started")

    async def main():
        app.stop()
        loop = asyncio.get_running_loop()
        task, future = loop.create_task(asyncio.sleep(60)), loop.create_future()
        future.set_result("there")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert "default" == await app.unless_stopping(starts(), "default")
            gc.collect()
        assert [] == warned
        assert "default" == await app.unless_stopping(task, "default")
        assert task.cancelled()
        assert "there" == await app.unless_stopping(future)

    app.run(main)
    assert [] == seen


def test_the_caller_asked_to_be_told(app):
    """After the default, the task is given its share of the grace to end by itself."""
    seen = []

    @app.background
    async def worker():
        await app.unless_stopping(asyncio.sleep(60))
        await asyncio.sleep(0.1)
        seen.append("ended by itself")

    async def main():
        await asyncio.sleep(0.01)

    app.run(main)
    assert ["ended by itself"] == seen


def test_in_a_hook(app):
    """A cleanup hook is in the shutdown already; a startup hook is told when it begins."""
    seen = []

    @app.on_startup
    async def start():
        stop_soon(app)
        seen.append(await app.unless_stopping(asyncio.sleep(60), "default"))

    @app.on_shutdown
    async def close():
        seen.append(await app.unless_stopping(asyncio.sleep(0), "default"))

    app.run(lambda: asyncio.sleep(60))
    assert "default" == seen[-1]


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_a_gather(return_exceptions):
    """What is gathered is cancelled, and the default is returned."""
    app, seen = App("orders", grace=8), []

    async def main():
        waits = asyncio.gather(asyncio.sleep(60), asyncio.sleep(60), return_exceptions=return_exceptions)
        seen.append(await app.unless_stopping(waits, "default"))

    simulate(app, main, at={1: signal.SIGTERM}).assert_exit(0)
    assert ["default"] == seen
