"""What real programs need of a life: refusals, resources, critical blocks, what is acquired late, and many runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections import Counter

import pytest
from conftest import LOOPS
from virtual import run_virtually

import graceful._critical
import graceful._stacks
from graceful import App, Hooks, HookTimeout, Kind, OrderError, StateError, Verdict


@pytest.fixture
def app():
    return App("test", grace=3)


def enter(app, body):
    """Run it as a guest."""

    async def main():
        async with app:
            return await body()

    return asyncio.run(main())


ENTRANCES = {"run": lambda app, body: app.run(body), "guest": enter}


async def nothing():
    """A main that returns at once."""


def told(error):
    """What whoever reads the traceback sees."""
    return "".join(traceback.format_exception(error))


def stop_soon(app, delay=0.01):
    """Stop it in a moment, from a callback of its loop."""
    asyncio.get_running_loop().call_later(delay, app.stop)


# --- refused at the start ----------------------------------------------------------------------------------------------


def make_cycle(app, other):
    @app.on_shutdown(after="second")
    def first(): ...

    @app.on_shutdown(after=first)
    def second(): ...


def make_unknown(app, other):
    @app.on_shutdown(after=["nobody"])
    def first(): ...


def make_of_another_app(app, other):
    @other.on_shutdown
    def theirs(): ...

    @app.on_shutdown(after=theirs)
    def first(): ...


def make_of_another_app_by_name(app, other):
    @other.on_shutdown
    def theirs(): ...

    @app.on_shutdown(after="theirs")
    def first(): ...


def make_of_another_kind(app, other):
    @app.on_startup
    def start(): ...

    @app.on_shutdown(after=start)
    def first(): ...


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (make_cycle, ["first (", "second (", " -> "]),
        (make_unknown, ["first (", "'nobody'"]),
        (make_of_another_app, ["first (", "theirs'"]),
        (make_of_another_app_by_name, ["first (", "'theirs'"]),
        (make_of_another_kind, ["first (", "start'"]),
    ],
)
def test_an_order_that_cannot_be(app, make, names, entrance):
    """Cycles, unknown names and hooks of another app or kind are refused at the start, by name, before anything ran."""
    seen = []
    app.on_startup(lambda: seen.append("startup"))
    app.on_shutdown(lambda: seen.append("shutdown"))
    make(app, App("other"))

    async def main():
        seen.append("main")

    with pytest.raises(OrderError) as refused:
        ENTRANCES[entrance](app, main)

    assert [] == [name for name in names if name not in str(refused.value)]
    assert [] == seen
    assert not app.stopping


#: Seconds of grace 3: what is registered, and what it may take together; `None`: there is nothing to warn about.
DECLARED = [
    ([("cleanup", 4, None)], 4),
    ([("cleanup", 2, None), ("cleanup", 2, None)], 4),
    ([("cleanup", 2, ()), ("cleanup", 2, ())], None),
    ([("cleanup", 2, ()), ("cleanup", 1, ()), ("cleanup", 1.5, ("hook0", "hook1"))], 3.5),
    ([("drain", 2, None), ("cleanup", 2, None)], 4),
    ([("drain", 2, ()), ("drain", 1, ()), ("cleanup", 1, None)], None),
    ([("delay", 1, None), ("cleanup", 2.5, None)], 3.5),
    ([("resource", 2, None), ("cleanup", 2, None)], 4),
    ([("cleanup", 1, None), ("cleanup", None, None), ("cleanup", 3, None)], 4),
    ([("cleanup", 1, None), ("cleanup", 2, None)], None),
    ([("startup", 9, None), ("exception", 9, None)], None),
    ([], None),
]


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("registered", "expected"), DECLARED)
def test_timeouts_beyond_the_grace_are_warned_about(caplog, registered, expected, entrance):
    """At the start, before anything runs, a warning has both figures: the longest way by the timeouts, and the grace."""
    delay = sum(timeout for kind, timeout, _ in registered if kind == "delay")
    app = App("test", grace=3, drain_delay=delay)
    at_start = []
    app.on_startup(lambda: at_start.extend(warnings()))

    def warnings():
        return [each for each in caplog.records if (each.name, each.levelno) == ("graceful", logging.WARNING)]

    async def resource():
        yield

    for number, (kind, timeout, after) in enumerate(registered):

        def hook(): ...

        hook.__qualname__ = f"hook{number}"
        if kind in ("cleanup", "drain"):
            app.on_shutdown(timeout=timeout, after=after, stage=kind)(hook)
        elif kind == "resource":
            app.resource(timeout=timeout)(resource)
        elif kind == "startup":
            app.on_startup(timeout=timeout)(hook)
        elif kind == "exception":
            app.on_exception(timeout=timeout)(hook)

    ENTRANCES[entrance](app, nothing)

    expected_figures = [] if expected is None else [(expected, 3.0)]
    assert at_start == warnings()
    assert expected_figures == [(record.graceful_declared, record.graceful_grace) for record in at_start]
    for record in at_start:
        assert f"may take {expected:g} s" in record.getMessage()
        assert "grace of 3 s" in record.getMessage()


# --- resources ---------------------------------------------------------------------------------------------------------


def resources(app, seen, count, *, asynchronous, fails):
    """Resources that say what they do; number `fails` does so in its first half."""

    def make(number):
        def opened():
            seen.append(f"+{number}")
            if number == fails:
                raise OSError(f"no {number}")

        async def asynchronously():
            await asyncio.sleep(0)
            opened()
            yield
            await asyncio.sleep(0)
            seen.append(f"-{number}")

        def synchronously():
            opened()
            yield
            seen.append(f"-{number}")

        return asynchronously if asynchronous(number) else synchronously

    for number in range(count):
        app.resource(make(number))


@pytest.mark.parametrize("fails", [0, 1, 3, None])
@pytest.mark.parametrize(
    "asynchronous", [lambda _: True, lambda _: False, lambda n: n % 2 == 0], ids=["async", "sync", "both"]
)
def test_only_what_was_entered_is_left(app, asynchronous, fails):
    """Resources are left in reverse, and of a start that failed only those that were entered."""
    seen = []
    resources(app, seen, 4, asynchronous=asynchronous, fails=fails)

    async def main():
        seen.append("main")

    with contextlib.nullcontext() if fails is None else pytest.raises(OSError, match=f"no {fails}"):
        app.run(main)

    entered = 4 if fails is None else fails
    between = "main" if fails is None else f"+{fails}"
    assert [*(f"+{n}" for n in range(entered)), between, *(f"-{n}" for n in reversed(range(entered)))] == seen


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("undo", ["fine", "fails"])
def test_a_start_that_is_interrupted_half_way(program, loop, undo):
    """A signal during a resource's first half: that is broken off and undoes what it did, and those before are left."""
    running = program(
        """
        app = App("half", grace=5)

        @app.resource
        async def first():
            say("+first")
            yield
            await asyncio.sleep(0.01)
            say("-first")

        @app.resource
        def second():
            say("+second")
            yield
            say("-second")

        @app.resource
        async def third():
            try:
                say("half")
                await asyncio.sleep(60)
                say("never")
                yield
            finally:
                await asyncio.sleep(0.01)
                say("undone")
                if UNDO == "fails":
                    raise RuntimeError("cannot undo")

        @app.resource
        async def fourth():
            say("never")
            yield

        async def main():
            say("never")

        app.run(main, loop_factory=LOOP)
        """.replace("UNDO", repr(undo)),
        loop=loop,
    )
    ended = running.wait_for("half").send(signal.SIGTERM).end()

    assert ["+first", "+second", "half", "undone", "-second", "-first"] == ended.lines
    assert (1 if undo == "fails" else -signal.SIGTERM) == ended.status
    assert (undo == "fails") is ("RuntimeError: cannot undo" in ended.err)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("where", ["its own", "one before"])
def test_two_exceptions_of_one_start_are_both_told(app, asynchronous, where):
    """An exception in a resource's first half, and a second one while that is cleaned up: whoever reads sees both."""

    def before():
        yield
        if where == "one before":
            raise KeyError("second")

    def half():
        try:
            raise OSError("first")
        finally:
            if where == "its own":
                raise KeyError("second")
        yield

    async def before_asynchronously():
        for each in before():
            yield each

    async def half_asynchronously():
        for each in half():
            yield each

    app.resource(before_asynchronously if asynchronous else before)
    app.resource(half_asynchronously if asynchronous else half)

    with pytest.raises((OSError, KeyError)) as raised:
        app.run(nothing)

    assert [1, 1] == [told(raised.value).count(text) for text in ("OSError: first", "KeyError: 'second'")]
    assert app.report is not None
    errors = [outcome.error for outcome in app.report.outcomes if outcome.error is not None]
    assert {"first", "second"} == {each.args[0] for error in errors for each in (error, error.__context__) if each}


@pytest.mark.parametrize("patience", [1.0, None])
@pytest.mark.parametrize("when", ["running", "cancelled", "leaving"])
def test_a_child_that_fails_in_the_group_of_a_resource(when, patience):
    """Whenever it fails the group's exception is told once, and the outcome of the resource is `raised`."""
    app = App("test", grace=3, patience=patience)
    heard = []
    seen = []
    app.on_exception(lambda failure: heard.append(failure.exception))
    app.on_shutdown(lambda: seen.append("closed"))

    @app.resource
    async def group():
        async def child(delay):
            try:
                await asyncio.sleep(delay)
            finally:
                raise ValueError("child")

        async with asyncio.TaskGroup() as tasks:
            if when != "leaving":
                tasks.create_task(child(0.01 if when == "running" else 60))
            yield
            if when == "leaving":
                tasks.create_task(child(0.01))

    with pytest.raises(ExceptionGroup) as raised:
        app.run(asyncio.sleep(60 if when == "running" else 0.01))

    assert ["child"] == [str(each) for each in raised.value.exceptions]
    assert 1 == told(raised.value).count("ValueError: child")
    assert ([raised.value] if when == "running" else []) == heard
    assert ["closed"] == seen
    outcomes = [outcome for outcome in app.report.outcomes if outcome.hook == "group" and outcome.stage == "cleanup"]
    assert [(Verdict.RAISED, raised.value)] == [(outcome.verdict, outcome.error) for outcome in outcomes]


# --- background and drain ----------------------------------------------------------------------------------------------


def test_a_background_task_that_ends_is_no_end(app):
    """Background tasks start after the startup hooks, in order; one that returns stops nothing."""
    seen = []
    for number in range(2):

        @app.background
        async def work(number=number):
            seen.append(number)

    app.on_startup(lambda: seen.append("startup"))

    async def main():
        await asyncio.sleep(0.01)
        seen.append("main")
        return "done"

    assert "done" == app.run(main)
    assert ["startup", 0, 1, "main"] == seen


@pytest.mark.parametrize("how", ["background", "create_task"])
@pytest.mark.parametrize("drain", [True, False])
def test_what_is_drained_is_waited_for(app, how, drain):
    """With `drain=True` work goes on to its end before anything is cancelled; without it is cancelled."""
    seen = []

    async def work():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
            seen.append("drained")

    async def main():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("main is cancelled")

    if how == "background":
        app.background(drain=drain)(work)
    else:
        app.on_startup(lambda: seen.append(app.create_task(work(), drain=drain)) or seen.clear())
    app.on_startup(lambda: stop_soon(app))
    app.run(main)

    assert (["drained"] if drain else []) + ["main is cancelled"] == seen


def test_what_is_drained_has_half_of_the_grace():
    """Drained work that does not end is cancelled after half of the grace, and then unwinds; one that fails is told."""
    app = App("test", grace=8)
    seen = []

    async def hangs():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            seen.append(app.remaining())

    async def fails():
        await app.wait_stopping()
        raise ValueError("while draining")

    async def main():
        async with app:
            app.create_task(hangs(), drain=True)
            app.create_task(fails(), drain=True)
            await asyncio.sleep(1)

    with pytest.raises(ValueError, match="while draining"):
        run_virtually(main)
    assert [pytest.approx(3)] == seen
    assert pytest.approx(5) == app.report.took


# --- critical ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("start", ["create_task", "background", "main"])
def test_critical_in_any_task(app, start, entrance):
    """A critical block, and the one around it, are whole in whatever task they are; what follows is cancelled."""
    seen = []

    async def work():
        try:
            async with app.critical("outer"):
                async with app.critical("inner"):
                    app.stop()
                    await asyncio.sleep(0.02)
                seen.append("inner")
                await asyncio.sleep(0.02)
                seen.append("outer")
            await asyncio.sleep(60)
            seen.append("never")
        finally:
            seen.append("cancelled")

    async def main():
        if start == "main":
            await work()
        elif start == "create_task":
            app.create_task(work())
        await asyncio.sleep(60)

    if start == "background":
        app.background(work)
    app.on_shutdown(lambda: seen.append("closed"))
    ENTRANCES[entrance](app, main)

    assert ["inner", "outer", "cancelled", "closed"] == seen


async def in_group(work):
    async with asyncio.TaskGroup() as group:
        group.create_task(work(0.03))
        group.create_task(work(0.04))


@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda work: asyncio.wait([asyncio.ensure_future(work(0.03))]), id="beside"),
        *(
            pytest.param(wait, id=name)
            for name, wait in [
                ("awaited", lambda work: asyncio.ensure_future(work(0.03))),
                ("gathered", lambda work: asyncio.gather(work(0.03), work(0.04))),
                ("grouped", in_group),
            ]
        ),
    ],
)
def test_critical_in_a_task_that_somebody_waits_for(app, wait):
    """A block is whole in tasks that are not ours, too, though those who wait for them are not in one themselves."""
    seen = []

    async def work(delay):
        try:
            async with app.critical():
                await asyncio.sleep(delay)
                seen.append("whole")
        except asyncio.CancelledError:
            seen.append("cut")

    async def main():
        stop_soon(app)
        await wait(work)

    app.on_shutdown(lambda: seen.append("closed"))
    app.run(main)

    assert {"whole"} == {*seen[:-1]}
    assert "closed" == seen[-1]


async def through(task):
    await task


#: How a block may await work that it starts as a task.
AWAITED = {
    "task": lambda start, op: start(op(0.03)),
    "through another": lambda start, op: start(through(start(op(0.03)))),
    "gather": lambda start, op: asyncio.gather(start(op(0.03)), start(op(0.04))),
    "shield": lambda start, op: asyncio.shield(start(op(0.03))),
    "wait": lambda start, op: asyncio.wait([start(op(0.03)), start(op(0.04))]),
    "wait_for": lambda start, op: asyncio.wait_for(start(op(0.03)), 3),
    "group": lambda start, op: in_group(lambda delay: through(start(op(delay)))),
}


@pytest.mark.parametrize("wait", AWAITED)
@pytest.mark.parametrize(
    ("entrance", "start"), [("run", "asyncio.create_task"), ("run", "app.create_task"), ("guest", "app.create_task")]
)
def test_critical_protects_what_it_awaits(app, entrance, start, wait):
    """The tasks that a block waits for, in whatever way, are as whole as the block; what follows it is cancelled."""
    seen = []

    async def op(delay):
        try:
            await asyncio.sleep(delay)
            seen.append("paid")
        except asyncio.CancelledError:
            seen.append("cut")
            raise

    async def main():
        try:
            async with app.critical("pay"):
                stop_soon(app)
                await AWAITED[wait](app.create_task if start == "app.create_task" else asyncio.create_task, op)
                seen.append("whole")
            await asyncio.sleep(60)
            seen.append("never")
        finally:
            seen.append("cancelled")

    ENTRANCES[entrance](app, main)

    *ops, block, rest = seen
    assert ({"paid"}, "whole", "cancelled") == ({*ops}, block, rest)
    assert app.report.took < 1


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_critical_in_a_startup_hook(app, entrance):
    """A shutdown that comes within a startup hook's block waits for the end of that, and then breaks the start off."""
    seen = []

    @app.on_startup
    async def migrate():
        async with app.critical("migration"):
            app.stop()
            await asyncio.sleep(0.02)
            seen.append("migrated")
        await asyncio.sleep(60)
        seen.append("never")

    async def main():
        seen.append("never")

    with pytest.raises(StateError) if entrance == "guest" else contextlib.nullcontext():
        ENTRANCES[entrance](app, main)

    assert ["migrated"] == seen
    assert [("migrate", Verdict.CANCELLED)] == [(each.hook, each.verdict) for each in app.report.outcomes]
    assert 0 == app.report.exit_status


@pytest.mark.parametrize("way", ["a generator that is dropped", "__aexit__"])
def test_critical_left_in_another_task(way):
    """A block that is left in another task than it was entered in is closed all the same: no shutdown waits for it."""
    app = App("test", grace=8)

    async def pages():
        async with app.critical("page"):
            yield

    async def main():
        async with app:
            if way == "__aexit__":
                block = app.critical("page")
                await block.__aenter__()
                await asyncio.create_task(block.__aexit__(None, None, None))
            else:
                await anext(pages())
                gc.collect()
            await asyncio.sleep(1)
            app.stop()
            await asyncio.sleep(60)

    run_virtually(main)
    assert () == app.report.failures
    assert app.report.took < 1


def test_critical_left_by_an_exception(app):
    """An exception that leaves a critical block is told, though the task was to be cancelled meanwhile."""
    seen = []

    async def main():
        async with app.critical():
            app.stop()
            await asyncio.sleep(0.02)
            raise ValueError("in the block")

    app.on_shutdown(lambda: seen.append("closed"))
    with pytest.raises(ValueError, match="in the block"):
        app.run(main)

    assert ["closed"] == seen
    assert Kind.REQUESTED == app.report.cause.kind


def test_critical_holds_off_the_shutdown_only(app):
    """Somebody else's cancellation goes through a critical block as through any other, and nothing is made good later."""
    seen = []

    async def work():
        try:
            async with app.critical():
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            seen.append("cancelled")

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        await task
        return "done"

    assert "done" == app.run(main)
    assert ["cancelled"] == seen


@pytest.mark.parametrize("when", ["told", "cancelled", "drain hook", "cleanup hook"])
def test_critical_entered_during_the_shutdown(app, when):
    """A block that is entered when the shutdown has begun is whole, too."""
    seen = []

    async def block():
        async with app.critical():
            await asyncio.sleep(0.02)
            seen.append("whole")

    async def main():
        if when == "told":
            await app.wait_stopping()
            await block()
            return
        if when == "cancelled":
            try:
                await asyncio.sleep(60)
            finally:
                await block()
        await asyncio.sleep(60)

    if "hook" in when:
        app.on_shutdown(stage=when.split()[0])(block)
    app.on_startup(lambda: stop_soon(app))
    app.on_shutdown(after=())(lambda: None)
    app.run(main)

    assert ["whole"] == seen
    assert {Verdict.OK} >= {outcome.verdict for outcome in app.report.outcomes}


def test_critical_entered_after_the_drain(app):
    """A task that enters its block while it waits for others that are being cancelled has not escaped: it is waited for."""
    seen = []

    async def other():
        try:
            await asyncio.sleep(60)
        finally:
            entered.set()
            await asyncio.sleep(0.02)

    async def main():
        try:
            await asyncio.sleep(60)
        finally:
            await entered.wait()
            async with app.critical():
                await asyncio.sleep(0.05)
                seen.append("whole")

    entered = asyncio.Event()
    app.background(other)
    app.on_startup(lambda: stop_soon(app))
    app.on_shutdown(lambda: seen.append("closed"))
    app.run(main)

    assert ["whole", "closed"] == seen


@pytest.mark.parametrize("where", ["block", "task"])
def test_critical_ends_with_the_budget(where):
    """A block that does not end is cancelled when the budget for waiting does: it unwinds, and all is over in time."""
    app = App("test", grace=8)
    seen = []

    async def endless():
        try:
            async with app.critical("payment"):
                await asyncio.sleep(60)
        finally:
            seen.append("unwound")

    async def main():
        began = asyncio.get_running_loop().time()
        async with app:
            stop_soon(app, 0)
            if where == "task":
                app.create_task(endless())
                await asyncio.sleep(60)
            else:
                await endless()
        return asyncio.get_running_loop().time() - began

    app.on_shutdown(lambda: seen.append("closed"))
    took = run_virtually(main)

    assert ["unwound", "closed"] == seen
    assert took < 8


def test_critical_past_the_budget_leaves_the_cleanup_its_share():
    """A critical block that does not end costs half of what is left, is named with its label, and the cleanup runs."""
    app = App("test", grace=8)
    seen = []

    async def endless():
        async with app.critical("payment"):
            await asyncio.sleep(60)

    async def main():
        async with app:
            app.create_task(endless(), name="paying")
            await asyncio.sleep(1)

    app.on_shutdown(lambda: seen.append(app.remaining()))
    with contextlib.suppress(BaseException):
        run_virtually(main)

    assert 4 - 0.5 <= seen[0] <= 4
    assert ["task 'paying' in critical block 'payment'"] == [
        outcome.hook for outcome in app.report.outcomes if outcome.stage == "cancel"
    ]


# --- tasks that would not end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_collector_is_as_it_was(app, enabled, frozen):
    """Whether it collects, and what the program has frozen, outlasts the end of many tasks."""
    count = 0

    async def main():
        nonlocal count
        for _ in range(100):
            asyncio.get_running_loop().create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        if frozen:
            gc.freeze()
            count = gc.get_freeze_count()
        if not enabled:
            gc.disable()

    try:
        app.run(main)
        assert gc.isenabled() == enabled
        assert (gc.get_freeze_count() > count / 2) == frozen
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("create", ["asyncio.create_task", "app.create_task"])
def test_work_that_starts_anew_for_ever_is_given_up(create):
    """Tasks that start a successor each time they are cancelled are given up in time and told; the hooks run."""
    app = App("test", grace=0.4)
    seen = []
    going = [True]

    def start():
        if going:
            (app.create_task if create == "app.create_task" else asyncio.create_task)(again(), name="phoenix")

    async def again():
        try:
            await asyncio.sleep(60)
        finally:
            start()

    async def main():
        start()
        await asyncio.sleep(0.01)
        return "done"

    app.on_shutdown(lambda: seen.append("closed"))
    assert "done" == app.run(main)
    going.clear()

    assert ["closed"] == seen
    assert app.report.took < 1
    told = {(each.hook, each.verdict) for each in app.report.outcomes if each.stage == "cancel"}
    assert {("task 'phoenix'", Verdict.TIMED_OUT)} == told


# --- sleep and wait_stopping -------------------------------------------------------------------------------------------


def test_everybody_who_sleeps_is_told(app):
    """As soon as the shutdown begins all who wait for it go on: `False` from sleep(), however long it was to be."""
    seen = []

    async def sleeps(delay):
        seen.append(await app.sleep(delay))

    async def waits():
        seen.append(await app.wait_stopping())

    async def main():
        seen.append(await app.sleep(0))
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps(60))
            group.create_task(sleeps(math.inf))
            group.create_task(waits())
            stop_soon(app)
        return "by itself"

    assert "by itself" == app.run(main)
    assert [True, False, False, None] == sorted(seen, key=[True, False, None].index)


def test_who_asks_when_it_has_begun_is_told_at_once(app):
    """In hooks of the shutdown sleep() is `False` and wait_stopping() returns, both without a wait, and not for ever."""
    seen = []

    async def hook():
        seen.append([await app.sleep(60), await app.wait_stopping(), app.stopping])

    for stage in ("drain", "cleanup"):
        app.on_shutdown(stage=stage, timeout=1)(hook)
    app.run(nothing)

    assert [[False, None, True]] * 2 == seen


def test_who_was_told_has_half_of_the_grace():
    """Who waits in wait_stopping() may go on for half of the grace; who only sleeps as anybody does is cancelled at once."""
    app = App("test", grace=8)
    seen = {}

    async def asked():
        await app.wait_stopping()
        try:
            await asyncio.sleep(60)
        finally:
            seen["asked"] = app.remaining()

    async def did_not_ask():
        try:
            await asyncio.sleep(60)
        finally:
            seen["did not ask"] = app.remaining()

    async def ends_by_itself():
        await app.wait_stopping()
        await asyncio.sleep(3)
        seen["ends by itself"] = app.remaining()

    async def main():
        async with app:
            for work in (asked, did_not_ask, ends_by_itself):
                app.create_task(work())
            await asyncio.sleep(1)

    run_virtually(main)
    assert pytest.approx({"ends by itself": 5, "asked": 4, "did not ask": 4}) == seen


# --- acquired late -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def lease(seen, name):
    seen.append(f"+{name}")
    yield name
    await asyncio.sleep(0)
    seen.append(f"-{name}")


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
    """Whatever is acquired, wherever and whenever while the app runs or stops, is released next, the last one first."""
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
        if where == "stray":  # in nobody's turn, so it goes on until all that is left is cancelled
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


def test_a_release_that_fails_is_told(app):
    """A callback or a context manager that fails when it is released costs the others nothing, and is raised."""
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


def test_acquired_too_late(app):
    """When the cleanup is over, nothing is taken that nobody would release: StateError, and nothing was entered."""
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
    """What takes so long to enter that the cleanup is over by then is left at once by whoever entered it: StateError."""
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


# --- from elsewhere ----------------------------------------------------------------------------------------------------


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
def test_from_elsewhere_it_is_refused(app, call, where):
    """In another thread, another loop or another app's, a call is refused with the one that works; nothing is begun."""
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
    name = "sleep()" if call == "wait_stopping()" else call
    assert message.startswith(f"{name} belongs into the app's own loop: ")
    assert "loop.call_soon_threadsafe()" in message
    assert "asyncio.run_coroutine_threadsafe()" in message
    assert [] == seen


def test_from_elsewhere_the_cure_works(app):
    """What the message of the refusal says does work; and stop(), stopping, remaining() and report need no cure."""
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


# --- on_signal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_reload_and_dump(program, loop, tmp_path):
    """Reload on SIGHUP, dump on SIGUSR1: the program goes on, a slow handler blocks no other, SIGTERM still stops it."""
    config = tmp_path / "config"
    config.write_text("one")
    running = program(
        """
        app = App("server", grace=5)
        loaded = asyncio.Event()

        @app.on_startup
        @app.on_signal(signal.SIGHUP)
        async def load():
            config = open(sys.argv[1]).read()
            if config == "slow":
                say("slow")
                await loaded.wait()
            say("loaded", config)

        @app.on_signal(signal.SIGUSR1)
        def dump(number):
            say("dump", number.name)

        @app.on_signal(signal.SIGUSR2)
        def release():
            loaded.set()

        @app.on_shutdown
        async def close():
            say("closed")

        app.run(loop_factory=LOOP)
        """,
        loop=loop,
        args=[config],
    )
    running.wait_for("loaded one")
    config.write_text("two")
    running.send(signal.SIGHUP).wait_for("loaded two")
    config.write_text("slow")
    running.send(signal.SIGHUP).wait_for("slow").send(signal.SIGUSR1).wait_for("dump SIGUSR1")
    running.send(signal.SIGUSR2).wait_for("loaded slow")
    ended = running.send(signal.SIGTERM).end()

    assert ["loaded one", "loaded two", "slow", "dump SIGUSR1", "loaded slow", "closed"] == ended.lines
    assert 0 == ended.status


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_signal_handler_that_fails_is_a_failure(program, loop, kind):
    """An on_signal hook that raises stops the program, after its cleanup, with status 1 and the traceback."""
    running = program(
        """
        app = App("server", grace=5)

        @app.on_signal(signal.SIGHUP)
        KIND reload():
            raise ValueError("bad config")

        @app.on_shutdown
        async def close():
            say("closed")

        app.on_startup(lambda: say("ready"))
        app.run(loop_factory=LOOP)
        """.replace("KIND", kind),
        loop=loop,
    )
    ended = running.wait_for("ready").send(signal.SIGHUP).end()

    assert (1, ["ready", "closed"]) == (ended.status, ended.lines)
    assert "ValueError: bad config" in ended.err
    assert "registered as an on_signal hook at " in ended.err


def test_a_signal_handler_whose_failure_is_dealt_with(app):
    """An on_exception hook may deal with it: the program goes on, and the next signal is heard."""
    seen = []
    app.on_exception(ValueError)(lambda: True)

    @app.on_signal("HUP")
    async def reload():
        seen.append("reload")
        raise ValueError

    async def main():
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)
        return "went on"

    assert "went on" == app.run(main)
    assert ["reload"] * 2 == seen


VARIABLE = contextvars.ContextVar("variable", default="as it was")


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_no_hook_finds_a_trace_of_the_one_before(app, waits, pushed):
    """Neither its context variables nor its cancellation of itself reach another hook, though they end at once."""
    seen = []

    def last():
        seen.append(VARIABLE.get())

    async def look():
        if waits:
            await asyncio.sleep(0)
        seen.append(VARIABLE.get())
        await asyncio.sleep(0)
        seen.append("whole")

    async def cancel_itself():
        asyncio.current_task().cancel()
        if waits:
            await asyncio.sleep(0)

    async def leave_a_variable():
        if waits:
            await asyncio.sleep(0)
        VARIABLE.set("changed")

    hooks = [last, look, cancel_itself, look, leave_a_variable]

    async def main():
        for hook in hooks if pushed else ():
            app.push_async_callback(hook)

    for hook in () if pushed else hooks:
        app.on_shutdown(hook)
    app.run(main)
    assert ["as it was", "whole"] * 2 + ["as it was"] == seen
    verdicts = [str(outcome.verdict) for outcome in app.report.outcomes]
    assert ["ok", "ok", "cancelled", "ok", "ok"] == verdicts


class Incomparable:
    """As an array is."""

    def __eq__(self, other):
        raise ValueError("the truth value is ambiguous")

    __hash__ = None


def test_every_hook_has_a_task_and_a_context_of_its_own(app):
    """Whatever code ties to its task, and to the context, another hook does not see, though both end at once."""
    seen = []

    def look():
        task = asyncio.current_task()
        seen.append((task, task.get_name(), VARIABLE.get()))
        VARIABLE.set(Incomparable())

    for _ in range(3):
        app.on_shutdown(look)
    app.run(asyncio.sleep(0))
    assert 3 == len({task for task, _, _ in seen})
    assert [("graceful look", "as it was")] * 3 == [(name, value) for _, name, value in seen]


@pytest.mark.parametrize("waits", [False, True])
def test_a_hook_that_has_ended_is_let_go(app, waits):
    """Its task and what it left in its context are gone before the next one starts, without the garbage collector."""
    held, seen = [], []

    class Held:
        pass

    @app.on_shutdown
    def look():
        seen.extend(each() for each in held)

    @app.on_shutdown
    async def hold():
        VARIABLE.set(Held())
        held.extend(map(weakref.ref, (VARIABLE.get(), asyncio.current_task())))
        if waits:
            await asyncio.sleep(0)

    gc.disable()
    try:
        app.run(asyncio.sleep(0))
    finally:
        gc.enable()
    assert [None, None] == seen


def test_a_hook_that_is_cancelled_when_it_has_ended(app):
    """A cancellation that comes late reaches nobody."""
    seen = []

    @app.on_shutdown
    async def last():
        await asyncio.sleep(0.02)
        seen.append("whole")

    @app.on_shutdown
    async def first():
        asyncio.get_running_loop().call_later(0.005, asyncio.current_task().cancel)

    app.run(asyncio.sleep(0))
    assert ["whole"] == seen


@pytest.mark.parametrize("after", [None, ()])
@pytest.mark.parametrize("suspends", [False, True])
def test_what_a_hook_acquires_is_there_while_it_runs(app, suspends, after):
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


def test_a_hook_is_not_late_because_another_blocks(app):
    """Who was due in time has ended in time, though the loop was blocked until his limit had passed."""

    @app.on_shutdown(after=())
    def block():
        time.sleep(0.2)

    @app.on_shutdown(timeout=0.1, after=())
    async def sleep():
        await asyncio.sleep(0.01)

    app.run(asyncio.sleep(0))
    assert ["ok", "ok"] == [str(outcome.verdict) for outcome in app.report.outcomes]


def test_a_report_is_of_its_moment(app, monkeypatch, tmp_path):
    """What comes later does not change it, though nobody had looked at it yet: failures, the working directory."""

    @app.on_shutdown
    def close():
        pass

    async def main():
        async with app:
            held = app.create_task(stubborn())
            await asyncio.sleep(0)
        return await asyncio.gather(held, return_exceptions=True)

    async def stubborn():
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        raise OSError

    app._settings.grace = 0.2
    monkeypatch.chdir(os.path.dirname(os.path.dirname(__file__)))
    failures = asyncio.run(main())
    graceful._stacks.short_path.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    assert [OSError] == [type(error) for error in failures]
    assert () == app.report.failures
    assert [] == [outcome.where for outcome in app.report.outcomes if os.path.isabs(outcome.where)]


def test_a_hook_that_raises_stop_iteration(app):
    """It does not end a generator that calls `run()`: as in a coroutine, it is a RuntimeError (PEP 479)."""

    @app.on_shutdown
    def close():
        next(iter([]))

    with pytest.raises(RuntimeError, match="close raised StopIteration") as caught:
        app.run(asyncio.sleep(0))
    assert isinstance(caught.value.__cause__, StopIteration)


@pytest.mark.parametrize("waits", [False, True])
def test_a_hook_that_cancels_itself_and_thinks_better_of_it(app, waits):
    """`uncancel` leaves the next hook alone as well, on Pythons where the cancellation would still come."""
    seen = []

    @app.on_shutdown
    async def look():
        await asyncio.sleep(0)
        seen.append("whole")

    @app.on_shutdown
    async def reconsider():
        if waits:
            await asyncio.sleep(0)
        asyncio.current_task().cancel()
        asyncio.current_task().uncancel()

    app.run(asyncio.sleep(0))
    assert ["whole"] == seen


# --- include -----------------------------------------------------------------------------------------------------------


def test_included_hooks_know_each_other(app):
    """Hooks of one module may name those of another by `after=`, once both are included, whichever came first."""
    one, other = Hooks(), Hooks()
    seen = []

    @one.on_shutdown(after="close_database")
    def close_files():
        seen.append("files")

    @other.on_shutdown
    async def close_database():
        await asyncio.sleep(0)
        seen.append("database")

    @app.on_shutdown(after=close_files)
    def close_log():
        seen.append("log")

    app.include(one)
    app.include(other)
    app.run(nothing)

    assert ["database", "files", "log"] == seen


def test_one_collection_in_two_apps_that_run_side_by_side():
    """Apps that share a collection share nothing but its functions: each runs them, one's resource is not the other's."""
    shared = Hooks()
    seen = {}
    opened = threading.Barrier(2)

    @shared.resource
    def pool():
        mine = seen.setdefault(threading.get_ident(), [])
        mine.append("+pool")
        opened.wait(5)
        yield
        mine.append("-pool")

    @shared.on_shutdown
    def close():
        seen[threading.get_ident()].append("close")

    def run():
        app = App()
        app.include(shared)
        app.run(nothing)

    thread = threading.Thread(target=run)
    thread.start()
    run()
    thread.join()

    assert [["+pool", "close", "-pool"]] * 2 == [*seen.values()]


# --- again and beside --------------------------------------------------------------------------------------------------


def busy(app):
    """Every kind of hook, and a main that uses all there is; `app.end` says how it ends."""

    @app.resource
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0))
            yield

    @app.resource
    def plain():
        yield

    @app.background
    async def background():
        while await app.sleep(60):
            pass

    @app.on_shutdown
    async def close():
        await asyncio.to_thread(lambda: None)
        if app.end == "hook fails":
            raise KeyError

    app.on_startup(lambda: None)
    app.on_exception(ValueError)(lambda: None)
    app.on_shutdown(after=())(lambda: None)
    app.on_shutdown(stage="drain")(lambda: asyncio.create_task(asyncio.sleep(0)) and None)
    app.on_signal("USR1")(lambda: None)

    async def main():
        await asyncio.to_thread(lambda: None)
        app.push_async_callback(lambda: None)
        app.create_task(asyncio.sleep(60))
        app.held = asyncio.create_task(asyncio.sleep(60))
        async with app.critical():
            await app.sleep(0)
        if app.end == "fails":
            raise ValueError
        if app.end == "stop":
            app.stop()
            await app.wait_stopping()

    return main


def left_over():
    """All that a run could leave behind in its process."""
    gc.collect()
    kinds = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, gc.get_objects()))
    ours = ("graceful.", "asyncio.", "_asyncio.", "uvloop.", "concurrent.", "test_lifecycle.")
    builtin = ("coroutine", "async_generator", "generator", "traceback", "frame")
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)
    return {
        "fds": sorted(os.listdir("/proc/self/fd")),
        "threads": [thread.name for thread in threading.enumerate()],
        "handlers": handlers,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "wakeup fd": wakeup_fd,
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "objects": {
            kind: count
            for kind, count in kinds.items()
            if kind.startswith(ours) or kind.removeprefix("builtins.") in builtin
        },
    }


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", ["run", "guest", "thread"])
def test_a_hundred_runs_of_all_there_is_leave_nothing(entrance, loop):
    """Descriptors, threads, signal handlers, timers and objects of every kind are as many after 100 runs as after some."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop

    def run_once(app, main):
        with contextlib.suppress(ValueError, KeyError):
            if entrance == "guest":

                async def guest():
                    async with app:
                        await main()

                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(guest())
            else:
                app.run(main, loop_factory=factory)

    def runs(app, main, count):
        for number in range(count):
            app.end = ("returns", "fails", "stop", "hook fails")[number % 4]
            if entrance == "thread":
                thread = threading.Thread(target=run_once, args=(app, main))
                thread.start()
                thread.join()
            else:
                run_once(app, main)

    app = App("again", grace=3)
    main = busy(app)
    runs(app, main, 8)
    before = left_over()
    runs(app, main, 100)

    assert before == left_over()


def run_and_note(entrance, end):
    """Run an app of all there is; the app, and weak references to it, its loop, its main and a task of its."""
    app = App("gone", grace=3)
    app.end = end
    main = busy(app)
    references = [weakref.ref(app)]

    async def noting():
        references.extend(map(weakref.ref, (asyncio.get_running_loop(), asyncio.current_task())))
        try:
            await main()
        finally:
            references.append(weakref.ref(app.held))
            app.held = None

    with contextlib.suppress(ValueError, KeyError):
        ENTRANCES[entrance](app, noting)
    return app, references


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("end", ["returns", "fails", "stop", "hook fails"])
def test_what_ran_is_let_go(entrance, end):
    """Nothing of ours holds a run's loop or tasks when it is over, but the report the exceptions that it tells of."""
    app, references = run_and_note(entrance, end)
    gc.collect()
    if "fail" not in end:
        assert [app, None, None, None] == [reference() for reference in references]

    del app
    gc.collect()
    assert [None] * 4 == [reference() for reference in references]


def test_two_apps_in_two_threads(app):
    """Two apps beside each other: one's failure, its stop and its report are not the other's."""
    other = App("other", grace=3)
    seen = []
    failed = threading.Event()
    app.on_exception(lambda: seen.append("never"))
    other.on_exception(lambda: seen.append("told"))
    app.on_shutdown(lambda: seen.append("closed"))
    other.on_shutdown(lambda: seen.append("other closed"))

    async def fail():
        raise ValueError("other")

    def run_other():
        with pytest.raises(ValueError, match="other"):
            other.run(fail)
        failed.set()

    thread = threading.Thread(target=run_other)

    async def main():
        thread.start()
        assert await asyncio.to_thread(failed.wait, 5)
        seen.append(app.stopping)
        return "went on"

    assert "went on" == app.run(main)
    thread.join()
    assert ["told", "other closed", False, "closed"] == seen
    assert (Kind.COMPLETED, Kind.EXCEPTION) == (app.report.cause.kind, other.report.cause.kind)


@pytest.mark.parametrize("entrance", ["owner", "guest"])
def test_an_app_that_runs_in_a_hook_of_another(app, entrance):
    """In a thread, with the hook's context: what it leaves behind is not the hook's to wait for, nor to cancel."""
    other = App("other", grace=0.5)
    left = []

    async def stubborn():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def leave_one_behind():
        asyncio.get_running_loop().call_soon(other.stop)
        try:
            await asyncio.sleep(60)
        finally:
            left.append((other.create_task if entrance == "guest" else asyncio.create_task)(stubborn()))

    async def be_guest():
        async with other:
            await leave_one_behind()

    def run_in_a_loop_of_its_own():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(be_guest())
        loop.close()

    @app.on_shutdown
    async def run_another():
        if entrance == "guest":
            await asyncio.to_thread(run_in_a_loop_of_its_own)
        else:
            await asyncio.to_thread(other.run, leave_one_behind)

    async def main(): ...

    app.run(main)
    assert [Verdict.OK] == [outcome.verdict for outcome in app.report.outcomes]
    assert [Verdict.TIMED_OUT] == [outcome.verdict for outcome in other.report.outcomes]


@pytest.mark.parametrize("entrance", ["app.run(main)", "asyncio.run(guest())"])
def test_hooks_that_gather_all_tasks(program, entrance):
    """Hooks side by side that wait for all other tasks do not wait for each other: none of ours is among them."""
    running = program(
        """
        app = App("gathers", grace=2)
        theirs = set()  # the task that runs a guest's block, which waits for the hooks

        async def flush():
            others = asyncio.all_tasks() - {asyncio.current_task()} - theirs
            say(len(others))
            await asyncio.gather(*others)

        app.on_startup(lambda: theirs.update(asyncio.all_tasks()))
        app.on_startup(flush)
        app.on_shutdown(after=())(flush)
        app.on_shutdown(after=())(flush)
        app.on_shutdown(after=(), stage="drain")(flush)

        async def main(): ...

        async def guest():
            async with app: ...

        ENTRANCE
        say(*(outcome.verdict for outcome in app.report.outcomes))
        """.replace("ENTRANCE", entrance)
    )
    ended = running.end()

    assert ["0"] * 4 + ["ok ok ok ok ok"] == ended.lines
    assert 0 == ended.status


def test_a_handler_starves_no_other():
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


@pytest.mark.parametrize("way", ["drain=True", "sleep()"])
def test_what_was_waited_for_in_vain_is_told(app, caplog, way):
    """A task that does not end in the drain's share is named, with where it stood, before it is cancelled."""

    async def work():
        if way == "sleep()":
            await app.sleep(60)
        await asyncio.Event().wait()

    async def main():
        app.create_task(work(), name="jobs", drain=way == "drain=True")
        await asyncio.sleep(0.01)

    app._settings.grace = 0.4
    app.run(main)
    (told,) = [outcome for outcome in app.report.outcomes if outcome.stage == "drain"]
    assert ("task 'jobs'", Verdict.TIMED_OUT) == (told.hook, told.verdict)
    assert "in Event.wait" in told.stack[-1]
    assert "task 'jobs' was waited for, and is cancelled now" in caplog.text


def test_a_worker_that_an_exception_hook_starts_anew_lives_on(app):
    """While the program runs, what an on_exception hook starts is not part of its turn."""
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


def test_jobs_that_wait_for_a_thread_are_done(app):
    """What a hook gives to the default executor is done to the last job, however few threads there are."""
    done = []

    @app.on_shutdown
    async def flush():
        for number in range(200):
            asyncio.get_running_loop().run_in_executor(None, done.append, number)

    async def main(): ...

    app.run(main)
    assert [*range(200)] == sorted(done)


def test_a_resource_that_sleeps_delays_nothing():
    """A hook that uses app.sleep() has a time of its own: the drain does not wait for it."""
    app, took = App("test", grace=60), []

    @app.resource
    async def pool():
        await app.sleep(0.01)
        yield

    async def main():
        async with app:
            pass
        took.append(app.report.took)

    run_virtually(main)
    assert took[0] < 1


def test_one_critical_object_in_two_tasks(app):
    """Each task that enters it has a block of its own."""
    seen = []
    block = app.critical("shared")

    async def work(name, seconds):
        async with block:
            await asyncio.sleep(seconds)
            seen.append(name)

    async def main():
        tasks = [app.create_task(work("first", 0.02)), app.create_task(work("second", 0.1))]
        await tasks[0]
        app.stop()
        await asyncio.sleep(60)

    app.run(main)
    assert ["first", "second"] == seen


def test_many_who_wait_beside_a_critical_block(app):
    """What a block spares is found in one look at each task: a long chain of waiting tasks does not hold the shutdown up."""

    async def after(previous):
        await previous

    async def block():
        async with app.critical("block"):
            await app.wait_stopping()
            await asyncio.sleep(0.05)
            seen.append("whole")

    async def main():
        app.create_task(block())
        last = asyncio.create_task(asyncio.sleep(60))
        chain = [last]
        for _ in range(300):  # a cancellation goes down the chain in one recursion
            chain.append(asyncio.create_task(after(chain[-1])))
        await asyncio.sleep(0)

    seen = []
    looked_at = 0
    count = graceful._critical._waiters

    def counting(future):
        nonlocal looked_at
        looked_at += 1
        return count(future)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graceful._critical, "_waiters", counting)
        app.run(main)
    assert ["whole"] == seen
    assert looked_at < 5_000


def test_a_startup_in_a_critical_block_keeps_its_timeout(app):
    """stop() does not give a startup hook more time than its own timeout, though it is in a critical block."""

    @app.on_startup(timeout=0.2)
    async def migrate():
        async with app.critical("migration"):
            app.stop()
            await asyncio.sleep(60)

    app.run()
    (outcome,) = app.report.outcomes
    assert Verdict.OK != outcome.verdict
    assert outcome.took < 1
