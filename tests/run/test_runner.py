"""App.run(): what it takes, when it may be called, and which calls need a running app, from where."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading

import pytest
from support.apps import ENTRANCES, lease

import graceful
from graceful import App, StateError


def test_runs_one_after_another_and_side_by_side(app):
    """An app runs again; two in two threads are independent; run() inside its own run or inside a loop is refused."""
    assert [0, 1, 2] == [app.run(asyncio.sleep(0, i)) for i in range(3)]
    results = []

    def in_thread():
        results.append(App().run(asyncio.sleep(0.05, "thread")))

    thread = threading.Thread(target=in_thread)
    thread.start()
    assert "main" == app.run(asyncio.sleep(0.05, "main"))
    thread.join()
    assert ["thread"] == results

    async def main():
        with pytest.raises(StateError, match="running already"):
            app.run(asyncio.sleep(0))
        with pytest.raises(StateError, match="async with app"):
            App().run(asyncio.sleep(0))

    app.run(main)


@pytest.mark.parametrize("bad", [5, lambda: None, "main"])
def test_a_bad_main_is_refused(app, bad):
    """What is neither a coroutine nor a coroutine function is refused, with the call that works."""
    with pytest.raises(graceful.HookError, match=r"run\(\) takes"):
        app.run(bad)


def test_a_running_app_is_needed(app):
    """A call that needs a running app says so, and leaves no coroutine un-awaited."""
    with pytest.raises(StateError, match="running app"):
        app.create_task(asyncio.sleep(0))
    with pytest.raises(StateError, match="running app"):
        app.push_async_callback(print)
    with pytest.raises(TypeError, match="call the function"):
        app.create_task(asyncio.sleep)
    assert not app.stopping
    assert math.inf == app.remaining()


def test_the_default_app():
    """The module's functions are the default app's."""
    assert graceful.on_shutdown.__self__ is graceful.app
    assert "result" == graceful.run(asyncio.sleep(0, "result"))


# --- from another thread, loop or app --------------------------------------------------------------------------------


async def _enter_critical(app):
    async with app.critical():
        pass


#: What belongs into the app's own loop.
CALLS = {
    "create_task()": lambda app, seen: asyncio.sleep(0, app.create_task(asyncio.sleep(0))),
    "sleep()": lambda app, seen: app.sleep(0),
    "wait_stopping()": lambda app, seen: app.wait_stopping(),
    "critical()": lambda app, seen: _enter_critical(app),
    "enter_async_context()": lambda app, seen: app.enter_async_context(lease(seen, "it")),
    "push_async_callback()": lambda app, seen: asyncio.sleep(0, app.push_async_callback(seen.append, "push")),
}


@pytest.mark.parametrize("where", ["thread", "loop", "app", "guest"])
@pytest.mark.parametrize("call", CALLS)
def test_calls_from_another_thread_loop_or_app_are_refused(app, call, where):
    """A call from another thread, loop or app is refused with the call that works, and has no effect."""
    seen = []
    refused = []

    async def attempt():
        try:
            await CALLS[call](app, seen)
        except StateError as error:
            refused.append(str(error))

    def elsewhere():
        if where == "thread":
            with contextlib.suppress(StopIteration):
                attempt().send(None)
        elif where == "loop":
            asyncio.run(attempt())
        else:
            ENTRANCES["run" if where == "app" else "guest"](App("other"), attempt)

    async def main():
        await asyncio.to_thread(elsewhere)
        return "went on"

    assert "went on" == app.run(main)
    (message,) = refused
    assert message.startswith(f"{call} must be called from the app's own event loop: ")
    assert "loop.call_soon_threadsafe()" in message
    assert "asyncio.run_coroutine_threadsafe()" in message
    assert [] == seen


def test_calls_that_work_from_elsewhere(app):
    """The call that the refusal names works; stop(), stopping, remaining() and report can be used from anywhere."""
    seen = []

    def in_thread(loop):
        seen.append(asyncio.run_coroutine_threadsafe(app.sleep(0), loop).result(5))
        asyncio.run_coroutine_threadsafe(app.enter_async_context(lease(seen, "it")), loop).result(5)
        loop.call_soon_threadsafe(app.push_async_callback, seen.append, "push")
        seen.append((app.stopping, app.remaining(), app.report))
        app.stop()
        return "by itself"

    async def main():
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, in_thread, loop)
        await app.wait_stopping()
        return await job

    assert "by itself" == app.run(main)
    assert [True, "+it", (False, math.inf, None), "push", "-it"] == seen
