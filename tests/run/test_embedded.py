"""`async with app:` in a loop that the app does not own: what it does, and what it leaves alone."""

from __future__ import annotations

import asyncio
import importlib
import signal

import pytest
from support.apps import enter
from support.failures import LIMIT, SHORT, Mine, fail
from support.programs import LOOPS

from graceful import App, EventKind, Kind, StateError
from graceful.testing import simulate


def test_guest():
    """`async with app:` runs hooks, resources and background tasks in another's loop, whose tasks it leaves alone."""
    app = App(grace=3)
    seen = []

    @app.resource
    async def resource():
        seen.append("enter")
        yield
        seen.append("exit")

    @app.background
    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")

    async def theirs():
        other = asyncio.create_task(asyncio.sleep(60))
        loop = asyncio.get_running_loop()
        before = {*vars(loop)}
        loop.set_exception_handler(handler := lambda *_: None)
        loop.set_task_factory(factory := lambda loop, coro, **kw: asyncio.Task(coro, loop=loop, **kw))
        async with app as same:
            assert same is app
            await asyncio.sleep(0.01)
            seen.append("body")
            assert "graceful" in repr(loop.get_exception_handler())
            assert factory is loop.get_task_factory()
        assert (handler, factory) == (loop.get_exception_handler(), loop.get_task_factory())
        assert before == {*vars(loop)}
        assert not other.done()
        other.cancel()

    handler = signal.getsignal(signal.SIGTERM)
    asyncio.run(theirs())
    assert handler == signal.getsignal(signal.SIGTERM)
    assert ["enter", "body", "cancelled", "exit"] == seen
    assert Kind.COMPLETED == app.report.cause.kind


def test_guest_failures_leave_the_block():
    """A background task that fails cancels the block, and its exception leaves it; stop() ends it quietly."""
    app = App(grace=3)

    @app.background
    async def fail():
        await asyncio.sleep(0.01)
        raise ValueError("background")

    async def failing():
        async with app:
            await asyncio.sleep(60)

    with pytest.raises(ValueError, match="background"):
        asyncio.run(failing())

    async def stopped():
        async with App() as other:
            other.stop()
            await asyncio.sleep(60)
        return "after the block"

    assert "after the block" == asyncio.run(stopped())

    async def body_fails():
        async with App():
            raise KeyError("body")

    with pytest.raises(KeyError):
        asyncio.run(body_fails())


def test_guest_cancelled_from_outside():
    """A block whose task is cancelled shuts down to its end, and is cancelled then."""
    seen = []
    app = App(grace=3)

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.05)
        seen.append("closed")

    async def block():
        async with app:
            seen.append("inside")
            await asyncio.sleep(60)

    async def outer():
        task = asyncio.create_task(block())
        while not seen:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(outer())
    assert ["inside", "closed"] == seen


def test_lifespan():
    """app.lifespan(asgi_app) is a lifespan context manager."""
    seen = []
    app = App()
    app.on_shutdown(lambda: seen.append("closed"))

    async def serve():
        async with app.lifespan(object()):
            seen.append("serving")

    asyncio.run(serve())
    assert ["serving", "closed"] == seen


def test_a_guest_that_stops_at_once(app):
    """A block that stops the app and ends, or leaves a task that is done, is left at once."""

    async def stops():
        app.stop()
        return "left"

    async def leaves_a_task():
        app.create_task(asyncio.sleep(0))
        return "left"

    async def stops_and_waits():
        app.stop()
        await asyncio.sleep(0)
        return "left"

    for body in (stops, leaves_a_task, stops_and_waits):
        assert enter(app, body) in ("left", None)
        assert app.report.took < 1


def test_a_guest_whose_failure_is_dealt_with(app):
    """An on_exception hook deals with what the block raised: it is left, and nothing is raised."""
    app.on_exception(lambda: True)

    async def body():
        raise ConnectionError

    assert enter(app, body) is None


def test_a_guest_that_was_stopped_before(app):
    """If stop() was called before, the block does not begin: that is an error which says so."""
    app.stop()
    with pytest.raises(StateError, match="before the block could begin"):
        enter(app, asyncio.sleep)


def test_a_guest_that_sleeps_is_left_when_it_ends(app):
    """The block that waits in app.sleep() does not wait for itself."""

    async def body():
        asyncio.get_running_loop().call_later(0.05, app.stop)
        while await app.sleep(60):
            pass

    enter(app, body)
    assert app.report.took < 1


def test_a_guests_critical_block(app):
    """The shutdown waits for a critical block inside `async with app:`."""
    seen = []

    async def body():
        async with app.critical():
            app.stop()
            await asyncio.sleep(0.05)
            seen.append("whole")

    enter(app, body)
    assert ["whole"] == seen


def test_ctrl_c_in_a_guests_block(app):
    """A KeyboardInterrupt raised in the block leaves it unchanged, after the cleanup."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    async def body():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        enter(app, body)
    assert KeyboardInterrupt is caught.type
    assert ["closed"] == seen


# --- the loop goes on afterwards -------------------------------------------------------------------------------------


def test_a_failed_task_of_a_guest_can_still_be_awaited():
    """The loop goes on after the block, so a task that failed in it can still be awaited: no failure of the app's."""
    app = App("guest", grace=3)

    async def main():
        async with app:
            task = asyncio.create_task(fail())
            await asyncio.sleep(SHORT)
        with pytest.raises(Mine):
            await task

    asyncio.run(main())
    assert () == app.report.failures


class Boundless(asyncio.Task):
    """A task of a class of the program's."""


def task_of_own_class(loop, coro, **options):
    return Boundless(coro, loop=loop, **{name: value for name, value in options.items() if value is not None})


async def guest(app, entered, leave, left):
    """A block of an app that is left when its event is set."""
    try:
        async with app:
            entered.set()
            await leave.wait()
    finally:
        left.set()


@pytest.mark.parametrize("first_to_leave", [0, 1])
@pytest.mark.parametrize("supervised", [True, False])
def test_two_guests_in_one_loop(new_loop, first_to_leave, supervised):
    """Two apps in one loop, whichever ends first: each notices its failures, and the loop is as it was in the end."""
    apps = [App("first", grace=3, patience=SHORT), App("second", grace=3, patience=SHORT)]

    async def owner():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handler := lambda *_: None)
        loop.set_task_factory(task_of_own_class)
        before = {*vars(loop)}
        events = [[asyncio.Event() for _ in range(3)] for _ in apps]
        blocks = []
        for app, (entered, leave, left) in zip(apps, events, strict=True):
            blocks.append(asyncio.create_task(guest(app, entered, leave, left)))
            await entered.wait()
        held = []
        for index in (first_to_leave, 1 - first_to_leave):
            with pytest.raises(Mine):
                if not supervised and index == first_to_leave:  # a plain task is everybody's: it would stop both
                    raise Mine
                held.append(apps[index].create_task(fail()) if supervised else asyncio.create_task(fail()))
                await asyncio.wait_for(blocks[index], LIMIT)
            events[index][1].set()
            await asyncio.wait([blocks[index]])
        assert (handler, task_of_own_class) == (loop.get_exception_handler(), loop.get_task_factory())
        assert before == {*vars(loop)}

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(owner())
    kinds = [app.report.cause.kind for app in apps]
    assert [Kind.EXCEPTION] * (1 + supervised) == [kind for kind in kinds if kind is not Kind.COMPLETED]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_guest_leaves_the_signal_handlers_alone(loop):
    """In the block every signal handler and the wakeup fd stay as they are, whatever set them."""

    SPARED = {signal.SIGKILL, signal.SIGINT, signal.SIGALRM}

    def handlers():
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        return fd, [signal.getsignal(number) for number in sorted(signal.valid_signals() - SPARED)]

    seen, interrupt = [], []
    app = App(grace=3)
    app.on_startup(lambda: seen.append(handlers()))
    app.on_shutdown(lambda: seen.append(handlers()))

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            seen.append(handlers())
            interrupt.append(signal.getsignal(signal.SIGINT))
            async with app:
                interrupt.append(signal.getsignal(signal.SIGINT))
                app.create_task(asyncio.sleep(0))
                app.stop()
            seen.append(handlers())
            interrupt.append(signal.getsignal(signal.SIGINT))
        finally:
            signal.signal(signal.SIGTERM, before)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

    factory = None if loop == "asyncio" else importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert [seen[0]] * 2 == [seen[0], seen[-1]]
    assert [interrupt[0]] * 3 == interrupt


@pytest.mark.parametrize("loop", LOOPS)
def test_the_block_closes_the_loops_async_generators(program, loop):
    """`loop.shutdown_asyncgens()` inside the block returns: it does not wait for the app, which waits for the block."""
    ended = program(
        """
        app = App(grace=3)
        app.on_shutdown(lambda: say("closed"))
        async def main():
            async with app:
                await asyncio.get_running_loop().shutdown_asyncgens()
                say("went on")
        with asyncio.Runner(loop_factory=LOOP) as runner:
            runner.run(main())
        """,
        loop=loop,
    ).end(timeout=20)
    assert (0, ["went on", "closed"], "") == (ended.status, ended.lines, ended.err)


def test_a_lifespan_whose_owner_handles_no_signal(app):
    """There is no server to ask: `stop()` ends the block at once, and the report knows of no signal."""
    app.on_startup(lambda: asyncio.get_running_loop().call_later(0.05, app.stop))

    async def main():
        async with app.lifespan():
            await asyncio.sleep(60)

    asyncio.run(main())
    assert [Kind.REQUESTED] == [cause.kind for cause in app.report.causes]
    assert app.report.took < 1


def test_a_lifespan_has_no_task_that_code_could_wait_for(app):
    """Code that gathers all other tasks would wait for itself."""
    others = []

    async def main():
        async with app.lifespan():
            others.extend(asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(main())
    assert [] == others


def test_under_a_server_that_has_left():
    """`drain_delay` is for what still serves, and a SIGTERM that was announced is one request, not two."""
    app = App("orders", grace=8, drain_delay=2)

    @app.on_shutdown
    def close(): ...

    result = simulate(app, at={1: signal.SIGTERM}, main=lambda: asyncio.sleep(2), entrance="lifespan")
    assert [2] == [
        event.at for event in result.events if event.kind is EventKind.HOOK_BEGAN and event.stage == "cleanup"
    ]
    assert [signal.SIGTERM] == [cause.signal for cause in result.report.causes]


def test_drain_hooks_that_an_announcement_starts():
    """What one has left behind has ended before the next one begins, as in a run."""
    app, seen = App("orders", grace=8), []

    @app.on_shutdown(stage="drain")
    async def second():
        seen.append("second")

    @app.on_shutdown(stage="drain")
    async def first():
        async def rest():
            await asyncio.sleep(0.5)
            seen.append("first")

        asyncio.create_task(rest())  # noqa: RUF006 - what is tested

    simulate(app, at={1: signal.SIGTERM}, main=lambda: asyncio.sleep(3), entrance="lifespan")
    assert ["first", "second"] == seen
