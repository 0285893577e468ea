"""graceful.current_app: the app in which the calling code runs."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading

import pytest
from support.apps import ENTRANCES

from graceful import App, StateError, current_app


def found():
    try:
        return current_app()
    except StateError:
        return None


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_wherever_the_app_runs_code(app, entrance):
    """In main, tasks, hooks, resources, callbacks and threads that asyncio starts."""
    seen = {}

    def note(where):
        seen[where] = found()

    async def task(where):
        note(where)

    app.on_startup(lambda: note("startup"))
    app.on_shutdown(lambda: note("shutdown"))
    app.on_shutdown(stage="drain")(lambda: note("drain"))
    app.on_exception(ValueError)(lambda: note("exception") or True)

    @app.background
    async def background():
        note("background")

    @app.resource
    async def resource():
        note("enter")
        yield
        note("exit")

    async def fail():
        raise ValueError

    async def main():
        note("main")
        await asyncio.create_task(task("task"))
        await app.create_task(task("supervised"))
        await asyncio.to_thread(note, "thread")
        asyncio.get_running_loop().call_soon(note, "callback")
        app.push_async_callback(note, "pushed")
        app.create_task(fail())
        await asyncio.sleep(0.01)

    ENTRANCES[entrance](app, main)
    assert {app} == {*seen.values()}
    assert 13 == len(seen)
    assert found() is None


def test_in_a_signal_hook(app):
    """An on_signal hook runs in the app."""
    seen = []
    app.on_signal("USR1")(lambda: seen.append(current_app()))

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)

    app.run(main)
    assert [app] == seen


def test_outside():
    """Outside there is none: before, beside, after."""
    app, seen = App("test", grace=1), []

    async def beside():
        seen.append(found())

    async def main():
        task = asyncio.create_task(asyncio.sleep(0.01))
        task.add_done_callback(lambda _: seen.append(found()))
        async with app:
            outside = contextvars.Context()
            await asyncio.create_task(beside(), context=outside)
            thread = threading.Thread(target=lambda: seen.append(contextvars.Context().run(found)))
            thread.start()
            thread.join()
            await task
        seen.append(found())

    with pytest.raises(StateError, match=r"current_app\(\) was called outside of an app"):
        current_app()
    asyncio.run(main())
    assert [None] * 4 == seen


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_innermost(app, entrance):
    """Of an app in an app the inner one; when that has ended, the outer one, also for what the inner one has started."""
    inner, go = App("inner", grace=1), asyncio.Event()

    async def outlives():
        assert current_app() is inner
        await go.wait()
        return current_app()

    async def main():
        async with inner:
            assert current_app() is inner
            task = asyncio.create_task(outlives())
            await asyncio.sleep(0)
        assert current_app() is app
        go.set()
        assert await task is app
        assert await asyncio.to_thread(run_other) == (other, app)

    other = App("other", grace=1)

    def run_other():
        async def inside():
            return current_app()

        return other.run(inside), current_app()

    ENTRANCES[entrance](app, main)


def test_a_request_handler_under_a_lifespan():
    """A server starts its handlers outside of the app's context: there it is the app whose lifespan runs."""
    app, other = App("test", grace=1), App("other", grace=1)

    async def main():
        ready, leave = asyncio.Event(), asyncio.Event()

        async def lifespan():
            async with app.lifespan():
                ready.set()
                await leave.wait()

        task = asyncio.create_task(lifespan())
        await ready.wait()
        assert current_app() is app
        assert await asyncio.to_thread(current_app) is app
        async with other:
            assert current_app() is other
        async with other.lifespan():
            assert current_app() is other
            assert await asyncio.create_task(handler(), context=contextvars.Context()) is None  # which of the two?
        leave.set()
        await task
        assert found() is None

    async def handler():
        return found()

    asyncio.run(main())
