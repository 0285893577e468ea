"""Calls of an app that cannot work: each says what was expected, what it got and what to write, and closes what it got."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import types
import warnings

import pytest
from support.apps import ENTRANCES

from graceful import App, HookError, Interrupted, StateError


@contextlib.contextmanager
def no_warnings():
    """Nothing warns: no coroutine that was never awaited, no task that was destroyed."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [] == [str(each.message) for each in warned]


async def work(): ...


async def needs_db(db): ...


def plain():
    return 5


async def numbers():
    yield 1


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (
            5,
            "got 5: write run(main), where main is an `async def`; a plain function that is called there has run already",
        ),
        (plain, "which has run now, returned 5"),
        (needs_db, "missing a required argument: 'db': write run(needs_db(...)), or bind it with functools.partial"),
        (numbers, "returned <async_generator object numbers"),
    ],
    ids=["number", "plain", "argument", "generator"],
)
def test_what_main_must_be(app, main, message):
    """A main that cannot be run is refused with a run() that can."""
    with pytest.raises(HookError) as raised:
        app.run(main)
    assert message in str(raised.value)
    assert "bound" == app.run(functools.partial(asyncio.sleep, 0, "bound"))


def test_debug_is_a_bool(app):
    """`debug="yes"` is refused, and main closed."""
    with no_warnings(), pytest.raises(TypeError, match="debug must be True or False, got 'yes'"):
        app.run(work(), debug="yes")


class Slots:
    """A loop whose objects take no attributes."""

    __slots__ = ("_loop",)

    def __init__(self):
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        return getattr(self._loop, name)


def closed_loop():
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        (asyncio, TypeError, "such as uvloop.new_event_loop, without (); got <module 'asyncio'"),
        ("uvloop", TypeError, "loop_factory must be a function that makes a loop"),
        (types.SimpleNamespace(), TypeError, "got namespace()"),
        (lambda: None, TypeError, "loop_factory returned None, which is not an event loop"),
        (lambda: asyncio, TypeError, "loop_factory returned <module 'asyncio'"),
        (asyncio.Runner, TypeError, "which is not an event loop"),
        (closed_loop, StateError, "which is closed: it must make a new loop for each run"),
        (Slots, TypeError, "it takes no attributes (its class has __slots__)"),
    ],
    ids=["module", "name", "object", "None", "returns module", "runner", "closed", "slots"],
)
def test_what_loop_factory_must_be(app, factory, error, message):
    """A factory that makes no loop is refused before anything is started; main is closed, signals are given back."""
    before = signal.getsignal(signal.SIGTERM)
    made = []

    def make():
        made.append(factory())
        return made[-1]

    with no_warnings(), pytest.raises(error) as raised:
        app.run(work(), loop_factory=make if callable(factory) else factory)
    assert message in str(raised.value)
    assert before == signal.getsignal(signal.SIGTERM)
    if factory is Slots:
        assert made[0].is_closed()
    assert "went on" == app.run(asyncio.sleep(0, "went on"))


def test_a_loop_that_runs_already(app):
    """A factory that returns the loop of another thread is refused."""

    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(StateError, match="which is already running: it must make a new loop"):
            await asyncio.to_thread(App("other").run, work, loop_factory=lambda: loop)

    app.run(main)


def test_what_loop_factory_raises_is_raised(app):
    """An error of the factory leaves run() as it is."""

    def factory():
        raise OSError("no loop")

    with no_warnings(), pytest.raises(OSError, match="no loop"):
        app.run(work(), loop_factory=factory)


def test_run_of_the_class():
    """`App.run(main)` lacks an app."""
    with pytest.raises(TypeError, match=r"write App\(\)\.run\(main\)"):
        App.run(work)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_run_inside_itself(app, entrance):
    """Inside the app, the message shows what runs a coroutine there."""

    async def main():
        with no_warnings(), pytest.raises(StateError) as raised:
            app.run(work())
        assert "this code runs in it: write `await work()` or app.create_task(work())" in str(raised.value)
        with pytest.raises(StateError, match="is running already, and this code runs in it: write `await work"):
            async with app:
                pass

    ENTRANCES[entrance](app, main)


@pytest.mark.parametrize("main", [None, work], ids=["block", "run"])
def test_run_beside_itself(app, main):
    """In another thread, the message shows that a second app is needed."""

    async def inside():
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: None).result()
            future = pool.submit(app.run, main)
            with pytest.raises(StateError, match="make a second App for a second run"):
                await asyncio.wrap_future(future)

    app.run(inside)


def test_a_block_without_asyncio(app):
    """Under trio there is no asyncio loop: the block says so."""
    entering = app.__aenter__()
    with no_warnings(), pytest.raises(StateError, match="graceful runs on asyncio, not on trio"):
        entering.send(None)


# --- on a running app ------------------------------------------------------------------------------------------------


def test_create_task_takes_a_coroutine(app):
    """What runs already, or is to be iterated, is refused with what to do with it."""

    async def main():
        loop = asyncio.get_running_loop()
        task, generator = loop.create_task(work()), numbers()
        for given, cure in [
            (task, "it runs already; await it, or watch it with add_done_callback()"),
            (asyncio.gather(task), "it runs already"),
            (generator, "iterate it in an `async def`, and pass that"),
            (work, "call the function, create_task(work())"),
            (5, "got 5"),
        ]:
            with pytest.raises(TypeError) as raised:
                app.create_task(given)
            assert "create_task() takes a coroutine" in str(raised.value)
            assert cure in str(raised.value)
        await task

    app.run(main)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"context": 5}, "context must be a contextvars.Context, got 5 (int)"),
        ({"name": 5}, "name must be a string, got 5 (int)"),
        ({"drain": "yes"}, "drain must be True or False, got 'yes' (str)"),
    ],
    ids=["context", "name", "drain"],
)
def test_options_of_create_task(app, option, message):
    """A bad option is refused at the call, and the coroutine closed."""

    async def main():
        with no_warnings(), pytest.raises(TypeError) as raised:
            app.create_task(work(), **option)
        assert message == str(raised.value)

    app.run(main)


def test_push_async_callback_takes_what_can_be_called(app):
    """The call is checked when it is made, not in the cleanup; nothing is registered."""
    seen = []

    def note(what, *, loud=False):
        seen.append(what)

    async def main():
        with no_warnings():
            for args, options, message in [
                ((work(),), {}, "got the coroutine object work(): write push_async_callback(work), without calling it"),
                ((5,), {}, "takes a function and its arguments, got 5"),
                ((note,), {}, "missing a required argument: 'what'"),
                ((note, 1), {"timeout": 5}, "got an unexpected keyword argument 'timeout'"),
            ]:
                with pytest.raises(TypeError) as raised:
                    app.push_async_callback(*args, **options)
                assert message in str(raised.value)
        app.push_async_callback(note, "right", loud=True)
        app.push_async_callback(seen.append, "builtin")

    app.run(main)
    assert ["builtin", "right"] == seen


def test_enter_async_context_takes_a_context_manager(app):
    """A class, a function that was not called, or a synchronous one: refused, with what to write."""

    async def main():
        for given, message in [
            (contextlib.AsyncExitStack, "got the class AsyncExitStack: write enter_async_context(AsyncExitStack(...))"),
            (contextlib.asynccontextmanager(numbers), "call it, enter_async_context(numbers(...))"),
            (contextlib.suppress(), "it is a synchronous one; use push_async_callback() for what closes it"),
            (work(), "takes an async context manager, got <coroutine"),
            (5, "takes an async context manager, got 5"),
        ]:
            with no_warnings(), pytest.raises(TypeError) as raised:
                await app.enter_async_context(given)
            assert message in str(raised.value)
            del given

    app.run(main)


def test_names_of_calls_that_need_a_running_app(app):
    """The message names the call that was made."""
    for call in ("wait_stopping", "sleep", "unless_stopping"):
        args = {"sleep": (0,), "unless_stopping": (work,)}.get(call, ())
        args = tuple(each() if each is work else each for each in args)
        with no_warnings(), pytest.raises(StateError, match=rf"^{call}\(\) needs a running app"):
            getattr(app, call)(*args).send(None)


@pytest.mark.parametrize(("value", "meant"), [(8, "grace=8"), (0.5, "grace=0.5")])
def test_a_grace_without_its_name(value, meant):
    """`App(8)` shows what was meant."""
    with pytest.raises(TypeError, match=rf"did you mean App\({meant}\)\?$"):
        App(value)


def test_interrupted_is_not_misuse(app):
    """What run() checks costs no signal: it still ends the program."""

    async def main():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    with pytest.raises(Interrupted):
        app.run(main)
