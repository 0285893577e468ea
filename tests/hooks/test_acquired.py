"""What is acquired while the app runs, by enter_async_context() and push_async_callback(), is released first."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal

import pytest
from support.apps import lease

from graceful import App, StateError


def test_acquired_while_running(app):
    """Context managers and callbacks acquired while running are released first, the last acquired first."""
    seen = []
    app.on_shutdown(lambda: seen.append("hook"))

    @contextlib.asynccontextmanager
    async def connection():
        seen.append("enter")
        yield "value"
        seen.append("exit")

    async def late():
        seen.append("callback")
        app.push_async_callback(later, 3)

    async def later(number):
        seen.append(number)

    async def main():
        assert "value" == await app.enter_async_context(connection())
        assert late is app.push_async_callback(late)

    app.run(main)
    assert ["enter", "callback", 3, "exit", "hook"] == seen


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("startup", "+it -it push hook2 hook1"),
        ("main", "+it -it push hook2 hook1"),
        ("on_exception", "+it -it push hook2 hook1"),
        ("on_signal", "+it -it push hook2 hook1"),
        ("drain", "+it -it push hook2 hook1"),
        ("cancelled", "+it -it push hook2 hook1"),
        ("cleanup", "hook2 +it -it push hook1"),
        ("released", "+it -it push hook2 hook1"),
        ("stray", "hook2 hook1 +it -it push"),
    ],
)
def test_what_is_acquired_is_released_next(app, where, expected):
    """What is acquired while the app runs or stops is released next, the last one first."""
    seen = []

    async def acquire():
        app.push_async_callback(seen.append, "push")
        assert "it" == await app.enter_async_context(lease(seen, "it"))

    async def stray():
        try:
            await asyncio.sleep(60)
        finally:
            await acquire()

    @app.on_shutdown
    async def hook1():
        seen.append("hook1")

    @app.on_shutdown
    async def hook2():
        seen.append("hook2")
        if where == "cleanup":
            await acquire()
        if where == "stray":  # not part of a hook, so it goes on until all that is left is cancelled
            app.held = asyncio.get_running_loop().create_task(stray(), context=contextvars.Context())
            await asyncio.sleep(0)

    async def main():
        if where == "main":
            await acquire()
        elif where == "on_exception":
            raise ValueError
        elif where == "on_signal":
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0.01)
        elif where == "cancelled":
            app.stop()
            await stray()
        elif where == "released":
            app.push_async_callback(acquire)

    if where == "startup":
        app.on_startup(acquire)
    elif where == "on_exception":
        app.on_exception(ValueError)(acquire)
    elif where == "on_signal":
        app.on_signal("USR1")(acquire)
    elif where == "drain":
        app.on_shutdown(stage="drain")(acquire)
    with contextlib.suppress(ValueError):
        app.run(main)

    assert expected.split() == seen


def test_a_release_that_fails_is_raised(app):
    """A callback or context manager that fails when it is released does not stop the others; its error is raised."""
    seen = []

    @contextlib.asynccontextmanager
    async def broken():
        yield
        raise OSError("context")

    async def callback():
        raise KeyError("callback")

    async def main():
        app.push_async_callback(seen.append, "first")
        await app.enter_async_context(broken())
        app.push_async_callback(callback)

    app.on_shutdown(lambda: seen.append("hook"))
    with pytest.raises(ExceptionGroup) as raised:
        app.run(main)

    assert ["KeyError('callback')", "OSError('context')"] == [repr(each) for each in raised.value.exceptions]
    assert ["first", "hook"] == seen


@pytest.mark.parametrize("after", [None, ()])
@pytest.mark.parametrize("suspends", [False, True])
def test_what_a_hook_acquires_stays_open_while_it_runs(app, suspends, after):
    """What is acquired in a hook is released when that has ended, before the next one, whatever runs beside it."""
    seen = []

    @contextlib.asynccontextmanager
    async def connection():
        seen.append("opened")
        yield
        seen.append("closed")

    @app.on_shutdown
    def last():
        seen.append("last")

    @app.on_shutdown(after=after)
    async def use():
        if suspends:
            await asyncio.sleep(0)
        await app.enter_async_context(connection())
        await asyncio.sleep(0.01)
        seen.append("used")

    @app.on_shutdown(after=())
    async def beside():
        await asyncio.sleep(0.03)
        seen.append("beside")

    app.run(asyncio.sleep(0))
    if after is None:
        assert ["opened", "used", "closed", "last", "beside"] == seen
    else:
        assert ["opened", "used", "closed"] == [each for each in seen if each not in ("last", "beside")]


# --- too late --------------------------------------------------------------------------------------------------------


def test_acquired_too_late(app):
    """After the cleanup nothing is acquired, because nothing would release it: StateError, and nothing was entered."""
    seen = []
    errors = []

    async def lines():
        try:
            yield 1
        finally:
            for acquire in (
                lambda: app.enter_async_context(lease(seen, "it")),
                lambda: asyncio.sleep(0, app.push_async_callback(seen.append, "push")),
            ):
                try:
                    await acquire()
                except StateError as error:
                    errors.append(str(error))

    async def main():
        main.generator = lines()
        await anext(main.generator)

    app.run(main)
    assert [] == seen
    assert ["enter_async_context() came too late", "push_async_callback() came too late"] == [
        error.partition(":")[0] for error in errors
    ]


def test_a_context_that_was_entered_too_late_is_left_again():
    """A context manager that is entered only after the cleanup is left at once by its caller: StateError."""
    app = App("test", grace=0.5)
    seen = []

    @contextlib.asynccontextmanager
    async def slow():
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        seen.append("entered")
        yield
        seen.append("left")
        done.set()

    async def acquire():
        with pytest.raises(StateError, match="too late"):
            await app.enter_async_context(slow())
        seen.append("told")

    async def lines():
        try:
            yield 1
        finally:
            over.set()
            await done.wait()
            await asyncio.sleep(0)

    over, done = asyncio.Event(), asyncio.Event()

    async def main():
        main.held = asyncio.create_task(acquire()), lines()
        await anext(main.held[1])

    app.run(main)
    assert ["entered", "left", "told"] == seen


def test_a_context_manager_is_called_by_the_name_of_its_function(app):
    """Not by that of contextlib's class, which all of them share; a class of the program's by its own."""

    @contextlib.asynccontextmanager
    async def broker():
        yield

    class Cache(contextlib.AsyncExitStack):
        async def __aexit__(self, *exception):
            return await super().__aexit__(*exception)

    async def main():
        await app.enter_async_context(broker())
        await app.enter_async_context(Cache())

    app.run(main)
    assert ["Cache.__aexit__", "broker"] == [each.hook.rpartition("<locals>.")[2] for each in app.report.outcomes]
    assert all("test_acquired.py:" in each.where for each in app.report.outcomes)
