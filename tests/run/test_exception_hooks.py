"""on_exception hooks: which failures they are asked about, in which order, and what their answer means."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.failures import FAILING, SHORT, Mine, main_that, stopped_by_failure
from support.virtual import run_virtually

from graceful import App, Failure, HookTimeout, Kind, Verdict

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


def test_on_exception_hooks_may_deal_with_a_failure(app):
    """Hooks are chosen by type and take nothing, the Failure or (loop, context); True lets the program go on."""
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
    """A failed start stops the program, whatever an on_exception hook returns; but the hook is called."""
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


@pytest.mark.parametrize("way", FAILING)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("arity", [0, 1, 2])
def test_every_kind_of_exception_hook_and_of_failure(app, new_loop, way, asynchronous, arity):
    """A sync or async hook with 0, 1 or 2 parameters is called once for any kind of failure; True deals with it."""
    heard = []

    def deal(*arguments):
        heard.append(arguments)
        main.heard.set()
        return True

    async def deal_later(*arguments):
        await asyncio.sleep(0)
        return deal(*arguments)

    does = deal_later if asynchronous else deal
    app.on_exception([lambda: does(), lambda failure: does(failure), lambda loop, context: does(loop, context)][arity])
    main = main_that(app, way)
    assert (None if way == "main" else "went on") == app.run(main, loop_factory=new_loop)
    (arguments,) = heard
    (failure,) = app.report.failures
    assert (arity, Mine) == (len(arguments), type(failure.exception))
    if arity == 1:
        assert (failure,) == arguments
        assert (way in ("main", "supervised", "plain", "future")) == (failure.task is not None)
        assert way not in ("supervised", "plain") or main.held is failure.task
        assert failure.message == failure.context["message"]
    if arity == 2:
        assert ({**failure.context}, failure.exception) == (arguments[1], arguments[1]["exception"])


@pytest.mark.parametrize("way", FAILING)
def test_a_handler_may_call_asyncios_default_handler(app, new_loop, way, caplog):
    """A handler written for asyncio may pass the context on to asyncio's default one, which knows what to do with it."""
    app.on_exception(lambda loop, context: loop.default_exception_handler(context))
    with contextlib.suppress(Mine):
        app.run(main_that(app, way), loop_factory=new_loop)
    assert [Mine] == [record.exc_info[0] for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("value", [1, "yes", [True], object()])
def test_only_true_means_dealt_with(app, value):
    """Only True deals with a failure, not another true value, which a function may return by accident."""
    app.on_exception(lambda: value)
    stopped_by_failure(app, main_that(app, "supervised"))


@pytest.mark.parametrize("types", [(Mine,), (Exception,), (KeyError, Mine), (BaseException,), (OSError, KeyError)])
def test_exception_hooks_are_chosen_by_type(app, types):
    """A hook is called for the exception types it names and their subclasses."""
    heard = []
    app.on_exception(*types)(lambda: heard.append("heard"))
    stopped_by_failure(app, main_that(app, "supervised"))
    assert ["heard"] * issubclass(Mine, types) == heard


@pytest.mark.parametrize("deals", [0, 1, 2])
def test_all_handlers_are_asked(app, new_loop, deals):
    """All hooks are called in the order of registration; one True is enough, even if other hooks fail."""
    asked = []

    @app.on_exception
    def fails():
        asked.append(0)
        raise RuntimeError

    if deals == 1:
        app.on_exception(lambda: asked.append(1) or True)

    @app.on_exception(timeout=0.05)
    async def hangs():
        asked.append(2)
        await asyncio.sleep(60)

    if deals == 2:
        app.on_exception(lambda: asked.append(3) or True)
    app.on_exception(lambda: asked.append(4))
    main = main_that(app, "supervised")
    if deals:
        assert "went on" == app.run(main, loop_factory=new_loop)
    else:
        stopped_by_failure(app, main, new_loop)
    assert [0, *[1] * (deals == 1), 2, *[3] * (deals == 2), 4] == asked
    verdicts = [each.verdict for each in app.report.outcomes if each.hook in ("fails", "hangs")]
    assert [Verdict.RAISED, Verdict.TIMED_OUT] == verdicts


@pytest.mark.parametrize("deals", [True, False])
def test_a_handler_that_stops_the_app(app, new_loop, deals):
    """A handler may call stop(): the program ends by that if the failure is dealt with, and else raises it as well."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    @app.on_exception
    def stop():
        app.stop()
        return deals

    with contextlib.nullcontext() if deals else pytest.raises(Mine):
        assert app.run(main_that(app, "supervised"), loop_factory=new_loop) is None
    assert (Kind.REQUESTED, [True], 0 if deals else 1) == (app.report.cause.kind, closed, app.report.exit_status)


def test_a_failure_that_main_awaited_and_a_hook_dealt_with(app):
    """Main that ended by the failure of a task it awaited is over, though the failure was dealt with."""
    app.on_exception(lambda: True)

    async def work():
        raise ConnectionError

    async def main():
        await app.create_task(work())

    assert app.run(main) is None


# --- what a hook may do to the others --------------------------------------------------------------------------------


def test_a_worker_that_an_exception_hook_restarts_goes_on(app):
    """While the program runs, a task that an on_exception hook starts is not part of the hook."""
    seen = []

    async def consume(again):
        if not again:
            raise ConnectionError
        await asyncio.sleep(0.05)
        seen.append("consumed")

    @app.on_exception(ConnectionError)
    def restart():
        app.create_task(consume(True))
        return True

    async def main():
        app.create_task(consume(False))
        while not seen:
            await asyncio.sleep(0.01)

    app.run(main)
    assert ["consumed"] == seen
    assert ["ok"] == [outcome.verdict for outcome in app.report.outcomes]


def test_a_handler_that_hangs_leaves_time_for_the_next():
    """An on_exception hook that hangs leaves the next one time to report."""
    app = App("test", grace=8)
    seen = []

    @app.on_exception
    async def hangs():
        await asyncio.sleep(60)

    @app.on_exception
    async def reports():
        await asyncio.sleep(0.25)
        seen.append("reported")

    async def main():
        async with app:
            raise ValueError

    with contextlib.suppress(ValueError, HookTimeout, ExceptionGroup):
        run_virtually(main)
    assert ["reported"] == seen


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


def test_an_exception_that_is_raised_again(app):
    """
    A client that has lost its connection raises one exception from each call.

    When it was dealt with, and another task fails with it, that is another failure.
    """
    lost = ConnectionError("lost")
    started = []

    async def work():
        started.append(None)
        await asyncio.sleep(0.01)
        raise lost

    @app.on_exception(ConnectionError)
    async def restart():
        if len(started) < 3:
            app.create_task(work())
        return len(started) < 3

    async def main():
        app.create_task(work())
        await asyncio.sleep(60)

    with pytest.raises(ConnectionError) as raised:
        app.run(main)
    assert lost is raised.value
    assert [lost] * 3 == [failure.exception for failure in app.report.failures]


def test_a_failed_task_is_awaited_later(app):
    """Its exception is raised again by that, in main and in a hook: the failure was dealt with, and there is no other."""
    asked, tasks = [], []

    @app.on_exception
    async def deal():
        asked.append(None)
        return True

    @app.on_shutdown
    async def close():
        await tasks[0]

    async def fail():
        raise ValueError("once")

    async def main():
        tasks.append(app.create_task(fail()))
        try:
            await tasks[0]
        finally:
            await asyncio.sleep(0.1)

    assert app.run(main) is None
    assert 1 == len(asked) == len(app.report.failures)
    assert 0 == app.report.exit_status
