"""An app in a task or in a hook of another app."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest
from support.apps import failing
from support.programs import LOOPS
from support.sites import SITE, SLOW_HOOK

from graceful import App, Verdict

NESTED = """
outer = App("outer", grace=5)

@outer.on_shutdown
def outer_close():
    say("outer closed")

@outer.background
async def nest():
    async with app:
        say("up")
        if "stop" in sys.argv:
            app.stop()
        await asyncio.sleep(60)

outer.run(loop_factory=LOOP)
for outcome in app.report.outcomes:
    say(outcome.hook, outcome.verdict)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_an_app_in_another_apps_task(program, loop):
    """SIGTERM: the inner app's hooks run to their end, in order, before the first of the outer's."""
    running = program(SITE + NESTED, loop=loop)
    ended = running.wait_for("up").send(signal.SIGTERM).end()
    expected = ["started", "up", "closed", "pool closed", "outer closed", "start ok", "pool ok", "close ok", "pool ok"]
    assert (0, expected) == (ended.status, ended.lines), ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_an_inner_app_is_cleaning_up_when_the_outer_one_stops(listener, loop):
    """The inner app's hook that runs when SIGTERM comes, and those behind it, run to their end before the outer's."""
    running = listener(SITE + SLOW_HOOK + NESTED, loop=loop, args=["stop"])
    running.wait_for("closing").send(signal.SIGTERM).process.stdin.write(b"go on")
    ended = running.end()
    expected = ["started", "up", "closing", "slow closed", "closed", "pool closed", "outer closed"]
    assert [*expected, "start ok", "pool ok", "slow ok", "close ok", "pool ok"] == ended.lines, ended.err
    assert 0 == ended.status, ended.err


def test_a_failure_of_an_inner_app_stops_the_outer_one():
    """A task of the inner app fails: its block raises that, and so does the outer run; each reports it once."""
    seen = []
    failure = ValueError("inner")
    outer, inner = App("outer", grace=3), failing(failure, grace=2)
    outer.on_shutdown(lambda: seen.append("outer closed"))
    inner.on_shutdown(lambda: seen.append("inner closed"))

    @outer.background
    async def nest():
        async with inner:
            inner.go.set()
            await asyncio.sleep(60)

    with pytest.raises(ValueError) as caught:
        outer.run()
    assert (failure, ["inner closed", "outer closed"]) == (caught.value, seen)
    assert [[failure]] * 2 == [[each.exception for each in app.report.failures] for app in (inner, outer)]


@pytest.mark.parametrize("entrance", ["owner", "guest"])
def test_an_app_that_runs_in_a_hook_of_another(app, entrance):
    """What an app in a thread of another app's hook leaves behind is neither waited for nor cancelled by that hook."""
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


PART = """
service = App("service", grace=3)
part = App("part", grace=30)

@service.on_shutdown
def close():
    say("service closed")

@part.on_shutdown
def last():
    say("last")

@part.on_shutdown
async def first():
    say("first", part.remaining() < 3)
    await asyncio.sleep(60)

async def main():
    async with part:
        say("up")
        if "stop" in sys.argv:
            part.stop()
        await asyncio.sleep(60)

service.run(main, loop_factory=LOOP)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_part_has_no_more_time_than_the_whole(program, loop):
    """Its grace is longer than the other app's: its hooks run all the same, each within the time for work."""
    ended = program(PART, loop=loop).wait_for("up").send(signal.SIGTERM).end()
    assert ["up", "first True", "last", "service closed"] == ended.lines, ended.err
    assert "first timed out" in ended.err
    assert ended.took < 3.5


@pytest.mark.parametrize("loop", LOOPS)
def test_a_part_that_is_cleaning_up_gets_less_time(program, loop):
    """The other app shuts down while a hook of the part runs, which had 30 s: from then on it has the time for work."""
    running = program(PART.replace("part.remaining() < 3", "part.remaining() > 3"), loop=loop, args=["stop"])
    ended = running.wait_for("first True").send(signal.SIGTERM).end()
    assert ["up", "first True", "last", "service closed"] == ended.lines, ended.err
    assert ended.took < 3.5
