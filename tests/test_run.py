"""What a run does, in this process: order, isolation, failures, tasks, and everything a running app offers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import threading
import warnings
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graceful
from graceful import App, Cause, Failure, Hooks, HookTimeout, Interrupted, Kind, OrderError, StateError, Verdict
from graceful._runner import Runner


@pytest.fixture
def app():
    return App("test", grace=3)


def test_the_one_road(app):
    """Startup in order, main, cleanup in reverse; hooks may await; run() returns main's result."""
    seen = []

    def note(word):
        async def hook():
            await asyncio.sleep(0)
            seen.append(word)

        return hook

    app.on_startup(note("start 1"))
    app.on_startup(note("start 2"))
    app.on_shutdown(note("stop 1"))
    app.on_shutdown(note("stop 2"))

    @app.resource
    async def resource():
        seen.append("enter")
        yield
        seen.append("exit")

    async def main():
        seen.append("main")
        return 42

    assert 42 == app.run(main())
    assert ["start 1", "start 2", "enter", "main", "exit", "stop 2", "stop 1"] == seen


def test_the_report(app):
    """The report has the cause, each outcome with its verdict and place, and a readable timeline."""

    @app.on_startup
    def start(): ...

    @app.on_shutdown
    async def fails():
        raise RuntimeError("broken")

    assert app.report is None
    with pytest.raises(RuntimeError, match="broken"):
        app.run(asyncio.sleep(0))
    report = app.report
    assert Kind.COMPLETED == report.cause.kind
    assert [("startup", "ok"), ("cleanup", "raised")] == [(o.stage, o.verdict) for o in report.outcomes]
    assert report.outcomes[1].where.startswith("tests/test_run.py:") or "test_run.py:" in report.outcomes[1].where
    assert 1 == report.exit_status
    text = report.text()
    assert "completed: main returned" in text
    assert "fails (" in text and "raised" in text and "RuntimeError: broken" in text
    assert text.splitlines()[-1].endswith("exit status 1")


RAISES = [
    RuntimeError("x"),
    asyncio.CancelledError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException(),
]


@pytest.mark.parametrize("error", RAISES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["sync", "async", "resource"])
def test_hooks_are_isolated(app, error, kind):
    """A hook that raises anything at all costs the others nothing."""
    seen = []
    app.on_shutdown(lambda: seen.append("after"))
    if kind == "resource":

        @app.resource
        async def bad():
            yield
            raise error
    elif kind == "async":

        @app.on_shutdown
        async def bad():
            await asyncio.sleep(0)
            raise error
    else:

        @app.on_shutdown
        def bad():
            raise error

    app.on_shutdown(lambda: seen.append("before"))
    with contextlib.suppress(BaseException):
        app.run(asyncio.sleep(0))
    assert ["before", "after"] == seen
    expected = Verdict.CANCELLED if isinstance(error, asyncio.CancelledError) else Verdict.RAISED
    assert [expected] == [o.verdict for o in app.report.outcomes if o.hook == "bad" and o.stage == "cleanup"]


def test_tasks_that_hooks_leave_behind_are_awaited(app):
    """Tasks of a hook, and tasks that these create, belong to its turn: the next hook starts when they have ended."""
    seen = []

    @app.on_shutdown
    def close():
        seen.append("closed")

    @app.on_shutdown
    async def flush():
        async def child(depth):
            await asyncio.sleep(0.01)
            if depth:
                asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(child(depth - 1)))
                await asyncio.sleep(0)
            seen.append(depth)

        asyncio.create_task(child(2))

    app.run(asyncio.sleep(0))
    assert [2, 1, 0, "closed"] == seen


def test_work_stops_before_what_it_uses_is_closed(app):
    """Main, background and every other task are cancelled and have unwound before the first cleanup hook."""
    seen = []

    def until_cancelled(name):
        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                seen.append(name)

        return work

    app.on_shutdown(lambda: seen.append("cleanup"))
    app.background(until_cancelled("background"))
    held = []

    async def main():
        held.append(asyncio.create_task(until_cancelled("task")()))
        app.create_task(until_cancelled("supervised")())
        asyncio.get_running_loop().call_later(0.01, app.stop)
        await until_cancelled("main")()

    assert app.run(main) is None
    assert ["background", "cleanup", "main", "supervised", "task"] == sorted(seen)
    assert "cleanup" == seen[-1]


def test_startup_rollback(app):
    """If a startup hook fails only what was started is cleaned up, and the failure is raised."""
    seen = []

    @app.resource
    async def first():
        seen.append("enter first")
        yield
        seen.append("exit first")

    @app.on_startup
    def second(): ...

    @app.on_shutdown
    def second_stop():
        seen.append("second stop")

    @app.on_startup
    async def third():
        raise OSError("no")

    @app.on_shutdown
    def third_stop():
        seen.append("never")

    @app.resource
    async def fourth():
        seen.append("never")
        yield

    async def main():
        seen.append("never")

    with pytest.raises(OSError, match="no"):
        app.run(main)
    assert ["enter first", "second stop", "exit first"] == seen
    assert [Verdict.SKIPPED] == [o.verdict for o in app.report.outcomes if o.hook.endswith("third_stop")]


def test_a_resource_lives_in_one_task(app):
    """What is around the yield of a resource is left by the task that entered it: a TaskGroup works there."""

    @app.resource
    async def group():
        async with asyncio.TaskGroup():
            yield

    @app.resource
    async def scope():
        async with asyncio.timeout(60):
            yield

    app.run(asyncio.sleep(0.01))
    assert {Verdict.OK} == {o.verdict for o in app.report.outcomes}


def test_a_group_in_a_resource_that_fails_is_a_failure(app):
    """A child that fails inside a resource's TaskGroup stops the program with the group's exception."""

    @app.resource
    async def group():
        async def child():
            await asyncio.sleep(0.01)
            raise ValueError("child")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child())
            yield

    with pytest.raises(ExceptionGroup) as caught:
        app.run(asyncio.sleep(60))
    assert "child" == str(caught.value.exceptions[0])


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("yields", [0, 2])
def test_a_resource_must_yield_once(app, yields, asynchronous):
    """No yield at all, or two, is an error that says so."""
    if asynchronous:

        @app.resource
        async def odd():
            for _ in range(yields):
                yield
    else:

        @app.resource
        def odd():
            for _ in range(yields):
                yield

    with pytest.raises(graceful.HookError, match="must yield once"):
        app.run(asyncio.sleep(0))


# --- failures


def test_on_exception_hears_and_may_deal_with_it(app):
    """Handlers are chosen by type, take nothing, the Failure or (loop, context); True means go on."""
    seen = []

    @app.on_exception(KeyError)
    async def wrong_type():
        seen.append("never")

    @app.on_exception
    def bare():
        seen.append("bare")

    @app.on_exception(ValueError)
    async def one(failure):
        assert isinstance(failure, Failure)
        seen.append(str(failure.exception))

    @app.on_exception(ValueError, timeout=1)
    def two(loop, context):
        assert loop is asyncio.get_running_loop()
        seen.append(str(context["exception"]))
        return True

    async def fail():
        raise ValueError("v")

    async def main():
        app.create_task(fail())
        await asyncio.sleep(0.05)
        return "went on"

    assert "went on" == app.run(main)
    assert ["bare", "v", "v"] == seen
    assert ["ValueError('v')"] == [repr(f.exception) for f in app.report.failures]


def test_main_failed_and_was_dealt_with(app):
    """Where a handler deals with main's own failure the program ends as if main had returned None."""
    app.on_exception(lambda: True)

    async def main():
        raise ValueError

    assert app.run(main) is None


def test_a_failed_startup_cannot_be_dealt_with(app):
    """A start that failed stops the program, whatever a handler says; but the handler hears of it."""
    seen = []
    app.on_exception(lambda: bool(seen.append("told")) or True)

    @app.on_startup
    def fail():
        raise ValueError

    with pytest.raises(ValueError):
        app.run(asyncio.sleep(0))
    assert ["told"] == seen


def test_a_handler_that_fails_or_hangs(app):
    """A handler that fails deals with nothing; one that hangs is limited; both are in the report."""

    @app.on_exception
    def fails():
        raise RuntimeError("handler")

    @app.on_exception(timeout=0.05)
    async def hangs():
        await asyncio.sleep(60)

    async def main():
        raise ValueError("v")

    with pytest.raises(ValueError):
        app.run(main)
    assert [("raised"), ("timed out")] == [o.verdict for o in app.report.outcomes if o.stage == "on_exception"]


def test_what_is_awaited_in_time_is_no_failure(app):
    """A failed task whose exception is retrieved within the patience is nobody's business."""

    async def fail():
        raise ValueError

    async def main():
        late = asyncio.create_task(fail())
        await asyncio.gather(asyncio.create_task(fail()), return_exceptions=True)
        await asyncio.sleep(0.1)
        with contextlib.suppress(ValueError):
            await late
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        await asyncio.wait([task := asyncio.create_task(fail())])
        assert task.exception()
        return "fine"

    assert "fine" == app.run(main)
    assert () == app.report.failures


def test_a_failure_that_nobody_looked_at_when_it_all_ended(app):
    """The end of the program is the end of the patience: what nobody retrieved by then is raised."""

    async def fail():
        raise ValueError("unseen")

    async def main():
        main.held = asyncio.create_task(fail())
        await asyncio.sleep(0.01)

    with pytest.raises(ValueError, match="unseen"):
        app.run(main)


def test_patience_none_watches_no_task():
    """patience=None adds nothing to any task."""
    app = App(patience=None)

    async def main():
        return "create_task" in vars(asyncio.get_running_loop())

    assert app.run(main) is False


def test_a_task_that_ended_well_is_not_kept_alive(app):
    """Watching a task does not keep it alive."""

    async def main():
        reference = weakref.ref(asyncio.create_task(asyncio.sleep(0)))
        await asyncio.sleep(0.01)
        gc.collect()
        return reference()

    assert app.run(main) is None


def test_one_connection_of_many_is_no_failure(app, caplog):
    """A protocol that raises in data_received is logged as ever, is in the report, and the program goes on."""

    class Bad(asyncio.Protocol):
        def data_received(self, data):
            raise ValueError("one connection")

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Bad, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert b"" == await reader.read()
        writer.close()
        server.close()
        return "went on"

    assert "went on" == app.run(main)
    assert ["one connection"] == [str(f.exception) for f in app.report.failures]
    assert "asyncio" in {record.name for record in caplog.records}


def test_the_loops_own_report_of_a_collected_task_is_a_failure():
    """Without patience, what asyncio reports when a failed task is collected stops the program."""
    app = App(patience=None)

    async def fail():
        raise ValueError("collected")

    async def main():
        asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        gc.collect()
        await asyncio.sleep(60)

    with pytest.raises(ValueError, match="collected"):
        app.run(main)


# --- stop, drain, critical


def test_stop_before_run(app):
    """stop() before run(): startup and main are skipped; the next run is a run again."""
    seen = []
    app.on_startup(lambda: seen.append("start"))
    app.stop()
    assert app.run(asyncio.sleep(0, "never")) is None
    assert [] == seen
    assert "now" == app.run(asyncio.sleep(0, "now"))
    assert ["start"] == seen


def test_stop_from_a_thread_and_more_than_once(app):
    """stop() from any thread, as often as one likes."""
    ready = threading.Event()

    def call():
        ready.wait()
        for _ in range(10):
            app.stop()

    thread = threading.Thread(target=call)
    thread.start()

    async def main():
        ready.set()
        await asyncio.sleep(60)

    assert app.run(main) is None
    thread.join()
    assert [Kind.REQUESTED] == [cause.kind for cause in app.report.causes]


def test_loop_stop_is_a_request(app):
    """loop.stop() anywhere stops the program after its cleanup, not before."""
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.01)
        seen.append("closed")

    async def main():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    assert app.run(main) is None
    assert ["closed"] == seen


def test_whoever_cancels_every_task_asks_to_stop(app):
    """`for task in all_tasks(): task.cancel()` does not reach the heart: the hooks still run to their end."""
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


def test_drain(app):
    """Drain hooks run while tasks still work; tasks with drain=True are waited for; others are cancelled after that."""
    seen = []

    @app.on_shutdown(stage="drain")
    async def stop_accepting():
        seen.append("drain hook")

    @app.background(drain=True)
    async def worker():
        await app.wait_stopping()
        await asyncio.sleep(0.05)
        seen.append("drained")

    @app.background
    async def other():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")

    app.on_shutdown(lambda: seen.append("cleanup"))
    asyncio_stop = lambda: asyncio.get_running_loop().call_later(0.01, app.stop)  # noqa: E731
    app.on_startup(lambda: asyncio_stop() and None)
    app.run()
    assert ["drain hook", "drained", "cancelled", "cleanup"] == seen


def test_drain_delay():
    """After the first signal the program goes on serving for drain_delay; HURRY ends the wait."""
    app = App(grace=5, drain_delay=0.3)
    seen = []

    async def main():
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(0.2)
            seen.append(app.stopping)
            await asyncio.sleep(60)
        finally:
            seen.append(round(app.remaining(), 1))

    with pytest.raises(Interrupted):
        app.run(main)
    assert [True, pytest.approx(4.7, abs=0.15)] == seen


def test_critical(app):
    """Cancellation by the shutdown waits until the critical block ends; nested ones count; what follows is cancelled."""
    seen = []

    async def main():
        async with app.critical("outer"):
            async with app.critical():
                app.stop()
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)
            seen.append("whole")
        await asyncio.sleep(0)
        seen.append("never")

    assert app.run(main) is None
    assert ["whole"] == seen


def test_sleep_and_remaining(app):
    """sleep() is True after its time and False when told; remaining() is inf, then the grace, then a hook's slice."""
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


def test_after(app):
    """`after=` takes a hook out of the chain: it waits for those it names, beside whatever else runs."""
    seen = []

    @app.on_shutdown
    async def chain_last():
        seen.append("chain_last")

    @app.on_shutdown
    async def chain_first():
        await asyncio.sleep(0.03)
        seen.append("chain_first")

    @app.on_shutdown(after=())
    async def at_once():
        seen.append("at_once")

    @app.on_shutdown(after=["at_once", chain_first])
    def both():
        seen.append("both")

    app.run(asyncio.sleep(0))
    assert ["at_once", "chain_first"] == seen[:2]
    assert {"both", "chain_last"} == set(seen[2:])


def test_bad_order_is_refused_before_anything_runs(app):
    """An unknown name in `after=` raises when the app starts, and main was not started."""
    app.on_shutdown(after="nobody")(lambda: None)
    with pytest.raises(OrderError, match="nobody"):
        app.run(asyncio.sleep(0))


def test_on_signal(app):
    """on_signal() runs instead of stopping, one at a time, once more for what arrived meanwhile."""
    seen = []

    @app.on_signal(signal.SIGHUP, "USR1")
    async def reload(number):
        seen.append(number)
        await asyncio.sleep(0.03)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        for _ in range(3):
            signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.1)
        return "done"

    assert "done" == app.run(main)
    assert [signal.SIGUSR1] * 2 == seen


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with 3.12")
def test_eager_tasks(app):
    """With an eager task factory: the same road, tasks of hooks are awaited, a failed task that is held is noticed."""
    seen = []

    def factory():
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    app.on_shutdown(lambda: seen.append("closed"))

    @app.on_shutdown
    async def flush():
        async def child():
            await asyncio.sleep(0.01)
            seen.append("flushed")

        asyncio.create_task(child())

    async def fail():
        raise ValueError("eager")

    async def main():
        main.held = asyncio.create_task(fail())
        assert main.held.done()
        await asyncio.sleep(60)

    app._settings.patience = 0.05
    with pytest.raises(ValueError, match="eager"):
        app.run(main, loop_factory=factory)
    assert ["flushed", "closed"] == seen


# --- entrances


def test_again_and_beside(app):
    """An app runs again; two in two threads are independent; one inside itself or inside a loop is refused."""
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
    """What needs a running app says so, and leaves no coroutine un-awaited."""
    with pytest.raises(StateError, match="running app"):
        app.create_task(asyncio.sleep(0))
    with pytest.raises(StateError, match="running app"):
        app.push_async_callback(print)
    with pytest.raises(TypeError, match="call the function"):
        app.create_task(asyncio.sleep)
    assert not app.stopping
    assert math.inf == app.remaining()


def test_guest():
    """`async with app:` in somebody else's loop: hooks, resources and background tasks; their tasks are left alone."""
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
            assert (handler, factory) == (loop.get_exception_handler(), loop.get_task_factory())
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


def test_the_default_app():
    """The module's functions are the default app's."""
    assert graceful.on_shutdown.__self__ is graceful.app
    assert "result" == graceful.run(asyncio.sleep(0, "result"))


def test_a_hundred_runs_leave_nothing_behind(app):
    """Descriptors, threads and objects are the same after a hundred runs as after a few."""
    app.on_shutdown(lambda: None)

    def measure():
        gc.collect()
        runners = sum(type(each) is Runner for each in gc.get_objects())
        return len(os.listdir("/proc/self/fd")), threading.active_count(), runners

    for _ in range(3):
        app.run(asyncio.sleep(0))
    before = measure()
    for _ in range(100):
        app.run(asyncio.sleep(0))
    assert before == measure()


def test_logging(app, caplog):
    """One event a line at the logger `graceful`, with fields; nothing is printed by a handler of ours."""
    with caplog.at_level(logging.INFO, logger="graceful"):
        app.run(asyncio.sleep(0))
    (record,) = [each for each in caplog.records if each.name == "graceful"]
    assert "test stops: main returned" in record.getMessage()
    assert 3.0 == record.graceful_grace
    assert [] == logging.getLogger("graceful").handlers


def test_hook_timeout(app):
    """A hook with a timeout is cancelled after it, and the error says how long it had and where it stood."""

    @app.on_shutdown(timeout=0.1)
    async def slow():
        await asyncio.sleep(60)

    with pytest.raises(HookTimeout) as caught:
        app.run(asyncio.sleep(0))
    assert caught.value.hook.endswith("slow")
    assert 0.1 <= caught.value.allowed < 1
    assert "asyncio/tasks.py" in caught.value.stack[-1]
    assert "test_run.py" in str(caught.value)
    (outcome,) = app.report.outcomes
    assert (Verdict.TIMED_OUT, caught.value.stack) == (outcome.verdict, outcome.stack)


def test_include(app):
    """Hooks of a module run as if registered where they were included; twice is harmless."""
    seen = []
    module = Hooks()
    app.on_shutdown(lambda: seen.append(1))
    app.include(module)
    app.on_shutdown(lambda: seen.append(3))
    module.on_shutdown(lambda: seen.append(2))
    app.include(module)
    app.run(asyncio.sleep(0))
    assert [3, 2, 1] == seen


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "raise", "cancel", "exit", "spawn", "sync"]), max_size=12), st.sampled_from(["end", "fail", "stop", "signal"]))  # fmt: skip
def test_every_hook_runs_exactly_once_in_order(kinds, cause):
    """Whatever the hooks do and whatever ends the program: each runs once, the last registered first."""
    app = App(grace=30)
    seen = []

    def hook(index, kind):
        async def run():
            seen.append(index)
            if kind == "raise":
                raise RuntimeError
            if kind == "cancel":
                raise asyncio.CancelledError
            if kind == "exit":
                raise SystemExit(2)
            if kind == "spawn":
                asyncio.create_task(asyncio.sleep(0))

        return (lambda: seen.append(index)) if kind == "sync" else run

    for index, kind in enumerate(kinds):
        app.on_shutdown(hook(index, kind))

    async def main():
        if cause == "fail":
            raise ValueError
        if cause == "stop":
            app.stop()
        if cause == "signal":
            signal.raise_signal(signal.SIGTERM)

    with contextlib.suppress(BaseException), warnings.catch_warnings():
        app.run(main)
    assert [*reversed(range(len(kinds)))] == seen
    assert isinstance(app.report.cause, Cause)


# --- what tried to break it


def run_guest(app, body):
    async def main():
        async with app:
            return await body()

    return asyncio.run(asyncio.wait_for(main(), 10))


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
        assert run_guest(app, body) in ("left", None)
        assert app.report.took < 1


def test_a_guest_whose_failure_is_dealt_with(app):
    """An on_exception hook deals with what the block raised: it is left, and nothing is raised."""
    app.on_exception(lambda: True)

    async def body():
        raise ConnectionError

    assert run_guest(app, body) is None


def test_a_guest_that_was_stopped_before(app):
    """A block is not begun if the app was told to stop before: that is an error which says so."""
    app.stop()
    with pytest.raises(StateError, match="before the block could begin"):
        run_guest(app, asyncio.sleep)


def test_a_guest_that_asks_to_be_told_is_left_when_it_ends(app):
    """The block that waits in app.sleep() does not wait for itself."""

    async def body():
        asyncio.get_running_loop().call_later(0.05, app.stop)
        while await app.sleep(60):
            pass

    run_guest(app, body)
    assert app.report.took < 1


def test_a_guests_critical_block(app):
    """critical() is honoured in a guest's block."""
    seen = []

    async def body():
        async with app.critical():
            app.stop()
            await asyncio.sleep(0.05)
            seen.append("whole")

    run_guest(app, body)
    assert ["whole"] == seen


def test_a_failure_that_main_awaited_and_a_hook_dealt_with(app):
    """Main that ended by the failure of a task it awaited is over, though the failure was dealt with."""
    app.on_exception(lambda: True)

    async def work():
        raise ConnectionError

    async def main():
        await app.create_task(work())

    assert app.run(main) is None


def test_main_that_gathers_all_tasks(app):
    """Whoever gathers all other tasks does not wait for the one that waits for him."""

    async def main():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others), 5)
        return "done"

    assert "done" == app.run(main)


def test_an_exception_in_a_circle(app):
    """`raise e from e`, beside a hook that fails: raised, and no endless walk along its causes."""

    @app.on_shutdown
    def fails():
        raise KeyError

    @app.on_shutdown
    def raises_the_same(cause):
        raise cause.exception

    async def main():
        try:
            raise ValueError
        except ValueError as error:
            raise error from error

    with pytest.raises(ValueError):
        app.run(main)


class Frozen(Exception):
    """As a frozen dataclass that is an exception: it refuses to be changed, and to be shown."""

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __str__(self):
        raise AttributeError


def test_exceptions_that_refuse_everything(app):
    """An exception that can be neither noted nor shown costs no hook its turn."""
    seen = []
    app.on_shutdown(lambda: seen.append("last"))

    @app.on_shutdown
    def fails():
        raise Frozen

    @app.on_shutdown
    def fails_too():
        raise KeyError

    async def main():
        raise Frozen

    with pytest.raises(Frozen):
        app.run(main)
    assert ["last"] == seen
    assert app.report.text()


def test_logging_that_fails(app):
    """A log handler that raises costs no hook its turn."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("disk full")

    logger = logging.getLogger("graceful")
    logger.addHandler(broken := Broken())
    logger.setLevel(logging.DEBUG)
    try:
        app.run(asyncio.sleep(0))
    finally:
        logger.removeHandler(broken)
        logger.setLevel(logging.NOTSET)
    assert ["closed"] == seen


def test_no_working_directory(app, tmp_path, monkeypatch):
    """A working directory that is gone, or an odd sys.path, costs no hook its turn."""
    seen = []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.path", [tmp_path, *__import__("sys").path])
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    app.on_shutdown(lambda: seen.append("last"))
    app.on_shutdown(lambda: seen.append("first"))
    app.run(asyncio.sleep(0))
    assert ["first", "last"] == seen


def test_a_task_factory_that_takes_no_context(app):
    """A program's own task factory need not take more than asyncio gives it."""

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
        await asyncio.create_task(asyncio.sleep(0))
        return "done"

    app.on_shutdown(lambda: None)
    assert "done" == app.run(main)
    assert [Verdict.OK] == [o.verdict for o in app.report.outcomes]


def test_hurry_cuts_the_drain(app):
    """A second request ends a drain hook that hangs, and leaves the cleanup its 2 s."""
    app = App(grace=8, debounce=0.05)
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.5)
        seen.append("closed")

    @app.on_shutdown(stage="drain")
    async def drain():
        asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGTERM)
        await asyncio.sleep(60)

    async def main():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    with pytest.raises(HookTimeout):
        app.run(main)
    assert ["closed"] == seen
    assert app.report.took < 2


def test_failures_and_a_hanging_handler_leave_a_share(app):
    """Two failures and a handler that hangs together have half the grace: the cleanup has the rest."""
    app = App(grace=2)
    seen = []

    @app.on_exception
    async def hangs():
        await asyncio.sleep(60)

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.3)
        seen.append("closed")

    async def fail():
        raise ValueError

    async def main():
        app.create_task(fail())
        app.create_task(fail())
        await asyncio.sleep(60)

    with contextlib.suppress(ValueError, ExceptionGroup):
        app.run(main)
    assert ["closed"] == seen


def test_an_async_generator_may_use_the_executor(app):
    """The finalizer of an async generator finds the default executor open, as under asyncio.run."""
    seen = []

    async def lines():
        try:
            yield 1
        finally:
            await asyncio.to_thread(seen.append, "flushed")

    async def main():
        main.generator = lines()
        await anext(main.generator)

    app.run(main)
    assert ["flushed"] == seen


def test_two_signals_for_one_hook(app):
    """A hook for two signals hears of each, also of the one that came while it ran."""
    seen = []

    @app.on_signal("USR1", "USR2")
    async def note(number):
        seen.append(number.name)
        await asyncio.sleep(0.02)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGUSR2)
        await asyncio.sleep(0.1)

    app.run(main)
    assert ["SIGUSR1", "SIGUSR2"] == seen


def test_a_signal_for_a_hook_before_the_loop(app):
    """What arrives before the loop runs is not lost."""
    seen = []
    app.on_signal("USR1")(lambda: seen.append("heard"))

    def factory():
        signal.raise_signal(signal.SIGUSR1)
        return asyncio.new_event_loop()

    app.run(asyncio.sleep(0.05), loop_factory=factory)
    assert ["heard"] == seen


def test_work_between_two_sleeps_is_told_too(app):
    """A task that has ever waited in app.sleep() may end by itself, also if it was told while it worked."""
    seen = []

    async def main():
        while await app.sleep(0.01):
            app.stop()
            await asyncio.sleep(0.05)
            seen.append("worked")
        return "by itself"

    assert "by itself" == app.run(main)
    assert ["worked"] == seen


def test_main_that_awaits_a_drained_task(app):
    """Who awaits a task that was drained comes to its turn before anything is cancelled."""

    async def work():
        await app.wait_stopping()

    async def main():
        asyncio.get_running_loop().call_later(0.01, app.stop)
        await app.create_task(work(), drain=True)
        return "by itself"

    assert "by itself" == app.run(main)


def test_a_service_keeps_no_more_than_the_last_failures(app):
    """Failures that were dealt with do not pile up."""
    app.on_exception(lambda: True)

    async def fail():
        raise ValueError

    async def main():
        for _ in range(300):
            app.create_task(fail())
            await asyncio.sleep(0)

    app.run(main)
    assert 100 == len(app.report.failures)
    assert [Kind.COMPLETED] == [cause.kind for cause in app.report.causes]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with 3.12")
def test_sys_exit_in_an_eager_first_step(app):
    """An eager main that calls sys.exit in its first step does not take the cleanup with it."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    def factory():
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    async def main():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        app.run(main, loop_factory=factory)
    assert (3, ["closed"]) == (caught.value.code, seen)


def test_ctrl_c_in_a_guests_block(app):
    """KeyboardInterrupt leaves a guest's block as it is: what follows is its owner's business."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    async def body():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run_guest(app, body)
    assert KeyboardInterrupt is caught.type
    assert ["closed"] == seen


def test_remaining_in_a_task_of_a_startup_hook(app):
    """A task that a startup hook created has what is left of the grace, not of that hook's time."""
    seen = []

    @app.on_startup(timeout=0.01)
    async def start():
        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                seen.append(app.remaining())

        start.held = asyncio.create_task(work())

    async def main():
        await asyncio.sleep(0.05)

    app.run(main)
    assert [pytest.approx(3, abs=0.5)] == seen
