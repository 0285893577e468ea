"""Resources: entered in order, left in reverse, each in one task, and what fails in either half is raised."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback

import pytest
from support.apps import nothing
from support.programs import LOOPS

import graceful
from graceful import App, Verdict


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
    """Resources are left in reverse order; after a failed start only those that were entered are left."""
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
def test_a_signal_during_the_first_half_of_a_resource(program, loop, undo):
    """A signal in a resource's first half cancels it, it undoes what it did, and those before it are left."""
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


def told(error):
    """The traceback of an exception, as the user reads it."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("where", ["its own", "one before"])
def test_two_exceptions_of_one_start_are_both_shown(app, asynchronous, where):
    """An exception in a resource's first half, and a second one during its cleanup, are both in the traceback."""

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


# --- a TaskGroup around the yield ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("patience", [1.0, None])
@pytest.mark.parametrize("when", ["running", "cancelled", "leaving"])
def test_a_child_that_fails_in_the_group_of_a_resource(when, patience):
    """Whenever a child fails, the group's exception is raised once, and the resource's outcome is `raised`."""
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
