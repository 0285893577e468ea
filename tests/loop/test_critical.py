"""Critical blocks: the shutdown waits for them, within its budget, in whatever task they are."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal

import pytest
from support.apps import ENTRANCES, stop_soon
from support.virtual import run_virtually

import graceful
import graceful._core.asyncio_private
import graceful._loop.critical
from graceful import App, Kind, StateError, Verdict


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


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("start", ["create_task", "background", "main"])
def test_critical_in_any_task(app, start, entrance):
    """Critical blocks, nested ones too, run to their end in any kind of task; what follows them is cancelled."""
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
def test_critical_in_a_task_that_another_task_waits_for(app, wait):
    """A block runs to its end also in a task that is not supervised and that other tasks wait for."""
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
    """The tasks that a block waits for run to their end like the block; what follows it is cancelled."""
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
    assert (1 if entrance == "guest" else 0) == app.report.exit_status  # a StateError left the block


@pytest.mark.parametrize("way", ["a generator that is dropped", "__aexit__"])
def test_critical_left_in_another_task(way):
    """A block that is left in another task than it was entered in is closed: no shutdown waits for it."""
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
    """An exception that leaves a critical block is raised, though the task was to be cancelled meanwhile."""
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


def test_critical_delays_only_the_shutdowns_cancellation(app):
    """A cancellation that is not the shutdown's goes through a critical block, and is not repeated later."""
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
    """A block that is entered after the shutdown has begun runs to its end, too."""
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
    """The shutdown also waits for a block that a task enters while other tasks are being cancelled."""
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


def test_many_waiting_tasks_beside_a_critical_block(app):
    """Each task is looked at once: a long chain of waiting tasks beside a block does not delay the shutdown."""

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
    count = graceful._core.asyncio_private.waiters_of

    def counting(future):
        nonlocal looked_at
        looked_at += 1
        return count(future)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graceful._loop.critical, "waiters_of", counting)
        app.run(main)
    assert ["whole"] == seen
    assert looked_at < 5_000


# --- the budget ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["block", "task"])
def test_critical_ends_with_the_budget(where):
    """A block that does not end is cancelled when its budget is used up: it unwinds, and the app stops in time."""
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


def test_a_block_that_is_never_entered(app):
    """`app.critical()` without `async with` protects nothing: a warning says so, as for a coroutine never awaited."""

    async def main():
        async with app.critical("used"):
            pass
        with pytest.warns(
            RuntimeWarning, match=r"critical\('pay'\) was never entered: write `async with app.critical"
        ) as warned:
            app.critical("pay")
        assert 1 == len(warned)
        with pytest.raises(TypeError, match="critical\\(\\) takes a label, got 5"):
            app.critical(5)

    app.run(main)


def test_thousands_of_blocks(program):
    """Blocks that end one after the other do not take quadratic time: the shutdown ends soon after the last of them."""
    ended = (
        program(
            """
        app = App("crit", grace=8)
        @app.on_shutdown
        async def close():
            say("cleanup ran")
        async def pay(n):
            async with app.critical("pay"):
                await asyncio.sleep(1 + n / 8000)
            await asyncio.sleep(100)
        async def main():
            for n in range(8000):
                app.create_task(pay(n))
            await asyncio.sleep(0.5)
            say("ready")
            await asyncio.sleep(100)
        app.run(main)
        """
        )
        .wait_for("ready")
        .send(signal.SIGTERM)
        .end()
    )

    assert (-signal.SIGTERM, ["ready", "cleanup ran"]) == (ended.status, ended.lines)
    assert "cut short" not in ended.err  # on a busy machine it may take so long that it says what it waits for
    assert ended.took < 5
