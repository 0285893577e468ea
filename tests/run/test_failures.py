"""Failures that come together, during the shutdown, or in great numbers: each is handled once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import traceback

import pytest
from support.failures import FAILING, LIMIT, SHORT, Mine, fail, main_that, stopped_by_failure

from graceful import App, HookTimeout, Kind

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


@pytest.mark.parametrize("deals", [True, False])
def test_a_failure_while_handlers_run(app, new_loop, deals):
    """A failure during an on_exception hook is handled next, one at a time; if none is dealt with, both are raised."""
    heard, at_once = [], []

    @app.on_exception
    async def handle(failure):
        assert not at_once
        at_once.append(failure)
        if not heard:
            app.create_task(fail())
        await asyncio.sleep(0.02)
        heard.append(at_once.pop().exception)
        return deals

    if deals:
        assert "went on" == app.run(main_that(app, "supervised"), loop_factory=new_loop)
    else:
        raised = stopped_by_failure(app, main_that(app, "supervised"), new_loop)
        assert heard == [raised, raised.__context__]
    assert (2, heard) == (len({*heard}), [each.exception for each in app.report.failures])
    assert [Kind.COMPLETED if deals else Kind.EXCEPTION] == [cause.kind for cause in app.report.causes]


@pytest.mark.parametrize("deals", [True, False])
@pytest.mark.parametrize("way", ["supervised", "plain", "callback", "future"])
def test_a_hundred_failures_at_once(app, new_loop, way, deals):
    """Of a hundred failures at once each is handled once and reported once, and the program stops at most once."""
    heard, closed, full = [], [], asyncio.Event()
    app.on_shutdown(lambda: closed.append(True))

    @app.on_exception
    def handle(failure):
        heard.append(failure)
        if len(heard) == 100:
            full.set()
        return deals

    async def main():
        held = [FAILING[way](app) for _ in range(100)]
        async with asyncio.timeout(LIMIT):
            await full.wait()
        if not deals:  # what stops it is soon to come
            await asyncio.sleep(LIMIT)
        return len(held)

    if deals:
        assert 100 == app.run(main, loop_factory=new_loop)
    else:
        raised = stopped_by_failure(app, main, new_loop)
        assert {each.exception for each in app.report.failures} == {raised, *raised.__context__.exceptions}
    if way != "plain" or deals:  # of these some may come to light when it has stopped already
        assert heard == [*app.report.failures]
    assert (100, len(heard), [True]) == (len({*app.report.failures}), len({*heard}), closed)
    assert [Kind.COMPLETED if deals else Kind.EXCEPTION] == [cause.kind for cause in app.report.causes]


def test_failures_during_the_shutdown(app, new_loop):
    """What fails during the shutdown is recorded and raised; on_exception hooks are not called then."""
    heard = []
    app.on_exception(lambda: bool(heard.append("heard")) or True)

    @app.background
    async def fails_in_the_end():
        try:
            await asyncio.sleep(60)
        finally:
            raise Mine

    with pytest.raises(Mine):
        app.run(asyncio.sleep(0.01), loop_factory=new_loop)
    assert ([], [Mine]) == (heard, [type(each.exception) for each in app.report.failures])
    assert (Kind.COMPLETED, 1) == (app.report.cause.kind, app.report.exit_status)


@pytest.mark.parametrize("who", ["task", "hook"])
def test_a_task_that_was_given_up_and_fails_later(who):
    """A task or hook that refuses its cancellation and fails while the cleanup still runs is reported; a hook is raised."""
    app = App(grace=1, patience=SHORT)
    released = asyncio.Event()

    async def refuse():
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        raise Mine("after all")

    @app.on_shutdown
    async def close():
        released.set()
        await asyncio.sleep(0.05)

    if who == "hook":
        app.on_shutdown(timeout=0.05)(refuse)

    async def main():
        if who == "task":
            main.held = asyncio.create_task(refuse())
            await asyncio.sleep(0)

    if who == "task":
        assert None is app.run(main)
        assert ["after all"] == [str(each.exception) for each in app.report.failures]
    else:
        with pytest.raises((Mine, HookTimeout, ExceptionGroup)) as caught:
            app.run(main)
        assert "Mine: after all" in app.report.text() + "".join(traceback.format_exception(caught.value))
    assert "Mine: after all" in app.report.text() or who == "hook"
    assert (int(who == "hook"), "close") == (app.report.exit_status, app.report.outcomes[-1].hook)


def test_a_service_keeps_no_more_than_the_last_failures(app):
    """Failures that were dealt with do not use more and more memory."""
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


def test_a_service_keeps_no_more_than_the_last_outcomes(app):
    """Nor do the hooks that dealt with them; the report says how many are missing, and keeps all other outcomes."""

    @app.on_startup
    def started():
        pass

    @app.on_exception
    def deal():
        return True

    @app.on_shutdown
    def stopped():
        pass

    async def fail():
        raise ValueError

    async def main():
        for _ in range(300):
            app.create_task(fail())
            await asyncio.sleep(0)

    app.run(main)
    names = [each.hook.rpartition(".")[2] for each in app.report.outcomes]
    assert ["started", *["deal"] * 100, "stopped"] == names
    assert 200 == app.report.dropped
    assert "200 outcomes of on_exception hooks, which were not kept" in app.report.text().splitlines()[0]

    app.run(asyncio.sleep(0))
    assert 0 == app.report.dropped
    assert "not kept" not in app.report.text()


@pytest.mark.parametrize("asked", [False, True], ids=["no hook", "a hook that does not deal with it"])
@pytest.mark.parametrize("create", ["create_task", "plain"])
def test_main_that_awaits_a_failed_task_is_no_completed_main(app, create, asked):
    """The failure is the cause, for the hooks and in the report, also where main ends by it before hooks were asked."""
    causes = []
    app.on_shutdown(lambda cause: causes.append(cause))
    if asked:
        app.on_exception(lambda: asyncio.sleep(0.01))

    async def fail():
        raise ValueError("the worker failed")

    async def main():
        await (app if create == "create_task" else asyncio).create_task(fail())

    with pytest.raises(ValueError, match="the worker failed") as raised:
        app.run(main)
    assert [(Kind.EXCEPTION, raised.value)] == [(cause.kind, cause.exception) for cause in causes]
    assert [raised.value] == [cause.exception for cause in app.report.causes]


class OrderLost(Exception):
    """What main raises of its own."""


async def of_a_task(app):
    try:
        await app.create_task(fail())
    except Mine as error:
        raise OrderLost("order 17") from error


async def during_handling(app):
    try:
        await app.create_task(fail())
    except Mine:
        raise OrderLost("order 17")  # noqa: B904 - what is tested


async def of_a_group(app):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        await app.create_task(fail())


async def in_a_block(app):
    async with app:
        await of_a_task(app)


@pytest.mark.parametrize(
    ("main", "kind"), [(of_a_task, OrderLost), (during_handling, OrderLost), (of_a_group, ExceptionGroup)]
)
@pytest.mark.parametrize("cleaned", [True, False])
def test_an_error_that_main_makes_of_a_failure_takes_its_place(app, main, kind, cleaned):
    """It is raised, with the failure as its context and no other way round; an error of a hook is chained to it."""

    @app.on_shutdown
    def close():
        if not cleaned:
            raise KeyError("not closed")

    with pytest.raises(kind) as raised:
        app.run(main(app))

    lines = "".join(traceback.format_exception(raised.value))
    assert [1, 0 if cleaned else 1] == [
        len(re.findall(r"failures\.Mine$", lines, re.MULTILINE)),
        lines.count("KeyError: "),
    ]
    seen, each = [], raised.value
    while each is not None:
        assert all(each is not other for other in seen), "a cycle"
        seen.append(each)
        each = each.__cause__ or each.__context__


def test_an_error_that_a_block_makes_of_a_failure_takes_its_place(app):
    """The same where main is the block."""
    with pytest.raises(OrderLost) as raised:
        asyncio.run(in_a_block(app))
    assert isinstance(raised.value.__cause__, Mine)
    assert raised.value.__cause__.__context__ is None


def test_a_failure_that_main_awaited_is_dealt_with_slowly(app):
    """Main has ended by it before the hook was done: then the program ends."""

    @app.on_exception
    async def deal():
        await asyncio.sleep(0.05)
        return True

    async def main():
        await app.create_task(fail())

    assert app.run(main) is None
    assert [Kind.COMPLETED] == [cause.kind for cause in app.report.causes]


@pytest.mark.parametrize("between", ["another task fails", "a hook fails"])
def test_main_takes_the_place_of_the_failure_that_it_tells(app, between):
    """Also where something else has failed in between: that is chained to it."""
    if between == "a hook fails":
        app.on_exception(lambda: {}["no mail"])

    async def fail_too():
        raise KeyError("no mail")

    async def main():
        task = app.create_task(fail())
        if between == "another task fails":
            app.create_task(fail_too())
        try:
            await task
        except Mine as error:
            raise OrderLost("order 17") from error

    with pytest.raises(OrderLost) as raised:
        app.run(main)
    assert "KeyError: 'no mail'" in "".join(traceback.format_exception(raised.value))


def test_ten_thousand_tasks_fail_after_main():
    """Each of them is kept, and the cleanup has its time. With a look at all others for each it would take a minute."""
    app = App("many", grace=30)
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    async def worker():
        try:
            await asyncio.sleep(60)
        finally:
            raise Mine

    async def main():
        for _ in range(10_000):
            app.create_task(worker())
        await asyncio.sleep(0)
        raise OrderLost("order 17")

    with pytest.raises(OrderLost):
        app.run(main)
    assert [True] == closed


def test_a_group_that_says_other_things_than_it_has(app):
    """Its own attributes are not asked: no hook is lost by an exception that has odd ones."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    class Odd(ExceptionGroup):
        exceptions = None
        __cause__ = property(lambda _: 1 / 0)

    async def main():
        raise OrderLost("order 17") from Odd("odd", [ValueError()])

    with pytest.raises(OrderLost):
        app.run(main)
    assert [True] == closed
