"""The report: causes, outcomes and failures in the order of time, with stacks, and its text."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import time

import pytest
from support.failures import LIMIT, SHORT, Mine, lines_aside, stopped_by_failure

import graceful
import graceful._core.places
from graceful import HookTimeout, Kind, Verdict

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


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
    assert "test_report.py:" in report.outcomes[1].where
    assert 1 == report.exit_status
    text = report.text()
    assert "completed: main returned" in text
    assert "fails (" in text and "raised" in text and "RuntimeError: broken" in text
    assert text.splitlines()[-1].endswith("exit status 1")


def test_what_is_in_the_report(app, new_loop):
    """Causes, outcomes and failures are all there, in the order of time, on the clock of the cause."""
    before = time.monotonic()
    app.on_exception(lambda failure: failure.exception.args == ("first",))

    @app.on_startup
    def start(): ...

    @app.on_shutdown
    def close():
        raise Mine("third")

    async def fail_with(word):
        raise Mine(word)

    async def main():
        app.create_task(fail_with("first"))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(app.stop)
        held = asyncio.create_task(fail_with("second"))
        await asyncio.sleep(LIMIT)
        return held

    with pytest.raises(ExceptionGroup, match="2 errors after stop"):
        app.run(main, loop_factory=new_loop)
    report = app.report
    assert [Kind.REQUESTED] == [cause.kind for cause in report.causes]
    assert [("startup", "ok"), ("on_exception", "ok"), ("cleanup", "raised")] == [
        (outcome.stage, outcome.verdict) for outcome in report.outcomes
    ]
    assert ["first", "second"] == [failure.exception.args[0] for failure in report.failures]
    started, handled, closed = [outcome.at for outcome in report.outcomes]
    first, second = [failure.at for failure in report.failures]
    over = report.cause.at + report.took
    times = [before, started, first, handled, report.cause.at, closed, second, over, time.monotonic()]
    assert sorted(times) == times


def test_a_report_does_not_change_later(app, monkeypatch, tmp_path):
    """Later failures and a new working directory do not change the report, though it was not read yet."""

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

    app._settings = app._settings._replace(grace=0.2)
    monkeypatch.chdir(os.path.dirname(os.path.dirname(__file__)))
    failures = asyncio.run(main())
    graceful._core.places.short_path.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    assert [OSError] == [type(error) for error in failures]
    assert () == app.report.failures
    assert [] == [outcome.where for outcome in app.report.outcomes if os.path.isabs(outcome.where)]


# --- stacks ----------------------------------------------------------------------------------------------------------


THROUGH = {
    "coroutines": ["middle", "innermost", "wait"],
    "a generator": ["middle", "generate", "innermost", "wait"],
    "a context manager": ["middle", "__aenter__", "enter", "innermost", "wait"],
}


def functions(stack):
    return [line.rpartition(".")[2].rpartition(" ")[2] for line in stack]


@pytest.mark.parametrize("through", THROUGH)
def test_the_stack_of_a_hook(app, new_loop, through):
    """The stack of a hook that was timed out or cancelled leads through each await down to the innermost."""

    async def innermost():
        await asyncio.Event().wait()

    async def generate():
        await innermost()
        yield

    @contextlib.asynccontextmanager
    async def enter():
        await innermost()
        yield

    async def middle():
        if through == "coroutines":
            await innermost()
        if through == "a generator":
            await anext(generate())
        async with enter():
            pass

    @app.on_shutdown(timeout=0.05)
    async def hangs():
        await middle()

    @app.on_shutdown
    async def cancelled():
        asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)
        await middle()

    with pytest.raises(HookTimeout) as caught:
        app.run(asyncio.sleep(0), loop_factory=new_loop)
    stacks = {each.hook: (each.verdict, functions(each.stack)) for each in app.report.outcomes}
    assert {
        "cancelled": (Verdict.CANCELLED, ["cancelled", *THROUGH[through]]),
        "hangs": (Verdict.TIMED_OUT, ["hangs", *THROUGH[through]]),
    } == stacks
    assert caught.value.stack == app.report.outcomes[1].stack


def test_the_stack_of_a_startup_hook_that_was_cancelled(app, new_loop):
    """A startup hook that the shutdown cancels has its stack in the report as well."""

    async def connect():
        await asyncio.sleep(60)

    @app.on_startup
    async def start():
        asyncio.get_running_loop().call_soon(app.stop)
        await connect()

    app.run(asyncio.sleep(0), loop_factory=new_loop)
    (outcome,) = app.report.outcomes
    assert Verdict.CANCELLED == outcome.verdict
    assert ["start", "connect", "sleep"] == functions(outcome.stack)


# --- the text --------------------------------------------------------------------------------------------------------


def test_the_whole_text_of_a_report(app, new_loop):
    """report.text() is a timeline: seconds from the cause, what happened, where it was stuck, and the end."""

    @app.on_startup
    def connect(): ...

    @app.on_exception(KeyError)
    def deal_with():
        return True

    @app.on_shutdown(timeout=0.05)
    async def flush():
        await asyncio.sleep(60)

    @app.on_shutdown
    async def close():
        raise Mine("disk full")

    async def forget(key):
        raise KeyError(key)

    async def main():
        app.create_task(forget("name"), name="worker")
        await asyncio.sleep(0.01)
        raise Mine("broken")

    stopped_by_failure(app, main, new_loop)
    expected = f"""\
   -0.000 s  startup connect (test_report.py:N) ok after 0.000 s
   -0.000 s  failure: KeyError: 'name', task 'worker' failed
   -0.000 s  on_exception deal_with (test_report.py:N) ok after 0.000 s
   +0.000 s  exception: Mine: broken
   +0.000 s  cleanup close (test_report.py:N) raised after 0.000 s: Mine: disk full
   +0.000 s  cleanup flush (test_report.py:N) timed out after 0.000 s: HookTimeout: flush timed out after 0.000 s; \
stuck at tasks.py:N in sleep < test_report.py:N in {flush.__qualname__}
               at tasks.py:N in sleep
               at test_report.py:N in {flush.__qualname__}
   +0.000 s  over, exit status 1"""
    assert expected == re.sub(r"\d+\.\d+ s", "0.000 s", lines_aside(app.report.text()))


def test_each_event_is_one_printable_line(app):
    """Whatever is in the message of an exception, each event of report.text() is one line, and can be printed."""
    message = "disk\nfull\r\x1b[2J\x00\x0b\x85\u2028after all"
    dealt_with = asyncio.Event()

    @app.on_exception(OSError)
    def deal_with():
        dealt_with.set()
        return True

    @app.on_shutdown
    def close():
        raise Mine(message)

    async def forget():
        raise OSError(message)

    async def main():
        app.create_task(forget())
        await dealt_with.wait()
        raise Mine(message)

    stopped_by_failure(app, main)
    lines = app.report.text().splitlines()
    events = [line[13:].partition(" ")[0].strip(":,") for line in lines]
    assert ["failure", "on_exception", "exception", "cleanup", "over"] == events
    assert [] == [line for line in lines if not line.isprintable()]
    assert [True, False, True, True, False] == ["disk" in line and "full" in line for line in lines]
