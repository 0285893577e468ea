"""Hooks that are registered while the app runs: they count from then on, or the call is an error with its cure."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading

import pytest
from support.apps import ENTRANCES, lease

from graceful import App, Hooks, OrderError, StateError

# --- on_shutdown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("where", ["startup", "main", "task", "thread", "callback", "resource"])
def test_on_shutdown_registered_late(app, where, entrance):
    """An on_shutdown hook that is registered while the app runs, wherever, runs once, before those registered earlier."""
    seen = []
    app.on_shutdown(lambda: seen.append("early"))

    def register():
        app.on_shutdown(lambda: seen.append("late"))

    async def task():
        register()

    @app.on_startup
    def start():
        if where == "startup":
            register()

    @app.resource
    async def resource():
        if where == "resource":
            register()
        yield

    async def main():
        if where == "main":
            register()
        elif where == "task":
            await asyncio.create_task(task())
        elif where == "thread":
            await asyncio.to_thread(register)
        elif where == "callback":
            asyncio.get_running_loop().call_soon(register)
            await asyncio.sleep(0.01)

    ENTRANCES[entrance](app, main)
    assert ["late", "early"] == seen
    assert 2 == sum(outcome.stage == "cleanup" and "lambda" in outcome.hook for outcome in app.report.outcomes)


def test_late_hooks_and_what_is_acquired_are_released_last_first(app):
    """A late hook uses what was acquired before it: both are released in one order, the last first."""
    seen = []

    async def main():
        app.on_shutdown(lambda: seen.append("1"))
        await app.enter_async_context(lease(seen, "2"))
        app.on_shutdown(lambda: seen.append("3"))
        app.push_async_callback(seen.append, "4")

    app.run(main)
    assert ["+2", "4", "3", "-2", "1"] == seen


def test_registered_late_in_a_cleanup_hook(app):
    """During the shutdown a late hook is run next, when the hook that registered it has ended."""
    seen = []
    app.on_shutdown(lambda: seen.append("first registered"))

    @app.on_shutdown
    async def registers():
        app.on_shutdown(lambda: seen.append("late"))
        await asyncio.sleep(0.01)
        seen.append("registers")

    app.run(asyncio.sleep(0))
    assert ["registers", "late", "first registered"] == seen


@pytest.mark.parametrize("where", ["main", "drain", "cleanup"])
def test_a_late_drain_hook(app, where):
    """A late hook for the drain runs in the drain, or in the cleanup where the drain is over; never is it dropped."""
    seen = []

    def register():
        app.on_shutdown(stage="drain")(late)

    def late():
        seen.append("late")

    @app.on_shutdown(stage="drain")
    def drain():
        seen.append("drain")
        if where == "drain":
            register()

    @app.on_shutdown
    def cleanup():
        seen.append("cleanup")
        if where == "cleanup":
            register()

    async def main():
        if where == "main":
            register()

    app.run(main)
    expected = {"main": "late drain cleanup", "drain": "drain late cleanup", "cleanup": "drain cleanup late"}
    assert expected[where].split() == seen
    stages = {outcome.hook: outcome.stage for outcome in app.report.outcomes}
    assert ("cleanup" if where == "cleanup" else "drain") == stages["late"]


def test_after_of_a_late_hook(app):
    """A late hook with `after=` waits for what it names, early or late, and runs beside the rest."""
    seen = []

    @app.on_shutdown
    async def early():
        await asyncio.sleep(0.02)
        seen.append("early")

    async def main():
        @app.on_shutdown(after=(early, "two"))
        async def three():
            seen.append("three")

        @app.on_shutdown(after=())
        async def at_once():
            seen.append("at once")

        @app.on_shutdown(after=at_once)
        async def then():
            seen.append("then")

    @app.on_shutdown(after=())
    async def two():
        seen.append("two")

    app.run(main)
    assert ["two", "at once", "then", "early", "three"] == seen


def test_after_of_a_late_hook_is_checked_at_once(app):
    """What `after=` of a late hook names must be there; else the call fails, and nothing is registered."""

    async def main():
        with pytest.raises(OrderError, match=r"late .* runs after 'nobody', which is not a hook of this stage"):

            @app.on_shutdown(after="nobody")
            def late(): ...

    app.run(main)
    assert [] == [*app._hooks()]
    assert () == app.report.outcomes


def test_after_of_a_late_hook_that_names_what_has_ended(app):
    """In the cleanup, a late hook that waits for one that has ended starts next; for one that has not, it waits."""
    seen = []

    @app.on_shutdown
    def last():
        seen.append("last")

    @app.on_shutdown
    def second():
        app.on_shutdown(after=last)(lambda: seen.append("after last"))
        app.on_shutdown(after=first)(lambda: seen.append("after first"))
        seen.append("second")

    @app.on_shutdown
    def first():
        seen.append("first")

    app.run(asyncio.sleep(0))
    assert "after first" in seen
    assert ["first", "second", "last", "after last"] == [each for each in seen if each != "after first"]


def test_a_late_hook_that_hangs_does_not_starve_others():
    """Its time is limited like that of every hook."""
    app = App("test", grace=2)
    seen = []
    app.on_shutdown(lambda: seen.append("early"))

    async def main():
        @app.on_shutdown
        async def hangs():
            await asyncio.sleep(60)

        app.on_shutdown(after="hangs")(lambda: seen.append("after"))

    with pytest.raises(Exception, match="hangs timed out"):
        app.run(main)
    assert ["early", "after"] == sorted(seen, reverse=True)


def test_a_late_hook_runs_though_the_start_fails(app):
    """What a startup hook registers before it fails is there to undo what it has done: it runs."""
    seen = []

    @app.on_startup
    def start():
        app.on_shutdown(lambda: seen.append("undone"))
        raise OSError

    with pytest.raises(OSError):
        app.run(asyncio.sleep(0))
    assert ["undone"] == seen


def test_the_next_run_has_them_from_the_start(app):
    """An app that runs again has what was registered late, in the order of registration."""
    seen = []
    app.on_shutdown(lambda: seen.append("early"))

    async def main():
        app.on_shutdown(lambda: seen.append("late"))

    app.run(main)
    app.run(asyncio.sleep(0))
    assert ["late", "early"] * 2 == seen


def test_too_late(app):
    """After the cleanup nothing would run it: an error, from a thread that outlives it too."""
    errors = []

    class Loop(asyncio.SelectorEventLoop):
        def close(self):
            if not self.is_closed():
                try:
                    app.on_shutdown(lambda: None)
                except StateError as error:
                    errors.append(str(error))
            super().close()

    app.run(asyncio.sleep(0), loop_factory=Loop)
    assert 1 == len(errors)
    assert "on_shutdown() came too late for " in errors[0]


# --- on_exception ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_on_exception_registered_late(app, entrance):
    """It is asked about the failures that come then."""
    seen = []

    async def fails():
        raise ValueError("x")

    async def main():
        @app.on_exception(ValueError)
        def handle(failure):
            seen.append(failure.exception)
            return True

        app.create_task(fails())
        await asyncio.sleep(0.01)
        return "went on"

    assert "went on" == ENTRANCES[entrance](app, main)
    assert 1 == len(seen)


# --- on_signal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM])
def test_on_signal_registered_late(app, number):
    """It takes its signal from then on, also one that has stopped the program until then, and it is given back."""
    before, seen = signal.getsignal(number), []

    async def main():
        app.on_signal(number)(lambda: seen.append("heard"))
        for _ in range(2):
            signal.raise_signal(number)
            await asyncio.sleep(0.05)
        return "went on"

    assert "went on" == app.run(main)
    assert ["heard"] * 2 == seen
    assert before == signal.getsignal(number)


def test_a_signal_taken_late_sets_no_deadline(program):
    """The thread that keeps the deadline does not take it for a request to stop."""
    ended = program(
        """
        app = App("late", grace=0.3)
        async def main():
            app.on_signal("HUP")(lambda: say("reload"))
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(1.2)
            say("done")
        app.run(main)
        """
    ).end()

    assert (0, ["reload", "done"], "") == (ended.status, ended.lines, ended.err)


def test_on_signal_in_a_block(app):
    """In `async with app:` a signal that its owner has handled before stays with it: an error, and nothing is registered."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)

    async def main():
        async with app:
            with pytest.raises(StateError, match=r"on_signal\(\) cannot take a signal here, for .*stays with "):
                app.on_signal("USR1")(lambda: None)

    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [] == [*app._hooks()]


def test_on_signal_in_another_thread(app):
    """Handlers are set in the main thread; so in another one it is an error, wherever the app runs."""

    def register():
        app.on_signal("USR1")(lambda: None)

    async def main():
        with pytest.raises(StateError, match="main thread"):
            await asyncio.to_thread(register)

    app.run(main)
    thread = threading.Thread(target=lambda: app.run(main))
    thread.start()
    thread.join()
    assert [] == [*app._hooks()]


# --- what belongs to the start ---------------------------------------------------------------------------------------


async def connect(): ...


def connect_now(): ...


async def pool():
    yield


def sync_pool():
    yield


async def consume(): ...


CURES = [
    ("on_startup", connect, "write `await connect()` instead"),
    ("on_startup", connect_now, "write `connect_now()` instead"),
    ("resource", pool, "write `await app.enter_async_context(contextlib.asynccontextmanager(pool)())` instead"),
    ("resource", sync_pool, "write it as an `async def`, and `await app.enter_async_context("),
    ("background", consume, "write `app.create_task(consume())` instead"),
]


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("decorator", "function", "cure"), CURES)
@pytest.mark.parametrize("way", ["decorated", "collection", "included"])
def test_what_belongs_to_the_start_is_refused(app, decorator, function, cure, way, entrance):
    """A startup hook, a resource or a background task that comes too late is an error that shows what to call."""
    collection = Hooks()
    if way == "collection":
        app.include(collection)

    async def main():
        with pytest.raises(StateError) as raised:
            if way == "decorated":
                getattr(app, decorator)(function)
            elif way == "collection":
                getattr(collection, decorator)(function)
            else:
                getattr(collection, decorator)(function)
                app.include(collection)
        assert f"{decorator}() came too late for {function.__name__} (" in str(raised.value)
        assert "<graceful.App 'test'> is running already" in str(raised.value)
        assert cure in str(raised.value)

    ENTRANCES[entrance](app, main)
    assert [] == [*app._hooks()]


def test_cures_work(app):
    """The calls that the messages show do what was meant."""
    seen = []

    async def pool():
        seen.append("opened")
        yield
        seen.append("closed")

    async def consume():
        seen.append("consumes")

    async def main():
        await app.enter_async_context(contextlib.asynccontextmanager(pool)())
        await app.create_task(consume())

    app.run(main)
    assert ["opened", "consumes", "closed"] == seen
