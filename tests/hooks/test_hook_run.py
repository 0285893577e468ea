"""One hook with its time slice: isolated from the others, in a task and a context of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import signal
import time
import weakref

import pytest

from graceful import (
    App,
    HookTimeout,
    Verdict,
)
from graceful.testing import simulate

# --- isolation -------------------------------------------------------------------------------------------------------


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
    """A hook that raises, whatever it raises, does not keep the others from running."""
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
    """The next hook starts when the tasks that a hook created, and those that these created, have ended."""
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


def test_hook_timeout(app):
    """A hook with a timeout is cancelled after it, and the error says how long it had and where it was stuck."""

    @app.on_shutdown(timeout=0.1)
    async def slow():
        await asyncio.sleep(60)

    with pytest.raises(HookTimeout) as caught:
        app.run(asyncio.sleep(0))
    assert caught.value.hook.endswith("slow")
    assert 0.1 <= caught.value.allowed < 1
    assert "asyncio/tasks.py" in caught.value.stack[-1]
    assert "test_hook_run.py" in str(caught.value)
    (outcome,) = app.report.outcomes
    assert (Verdict.TIMED_OUT, caught.value.stack) == (outcome.verdict, outcome.stack)


def test_no_working_directory(app, tmp_path, monkeypatch):
    """A working directory that is gone, or an odd sys.path, does not keep a hook from running."""
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


def test_a_hook_that_raises_stop_iteration(app):
    """StopIteration from a hook does not end a generator that calls `run()`: it becomes a RuntimeError (PEP 479)."""

    @app.on_shutdown
    def close():
        next(iter([]))

    with pytest.raises(RuntimeError, match="close raised StopIteration") as caught:
        app.run(asyncio.sleep(0))
    assert isinstance(caught.value.__cause__, StopIteration)


# --- a task and a context of its own ---------------------------------------------------------------------------------


VARIABLE = contextvars.ContextVar("variable", default="as it was")


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_hooks_do_not_share_context_or_cancellation(app, waits, pushed):
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


def test_every_hook_has_its_own_task_and_context(app):
    """What code ties to its task or its context is not seen by another hook, though both end at once."""
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
def test_a_hook_that_has_ended_is_released(app, waits):
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


def test_a_cancellation_after_the_end_of_a_hook(app):
    """A cancellation that comes after the hook has ended does not reach the next one."""
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


@pytest.mark.parametrize("waits", [False, True])
def test_a_hook_that_cancels_itself_and_uncancels(app, waits):
    """A hook that cancels and uncancels itself does not cancel the next one, on any Python."""
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


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_hook_is_not_late_because_another_blocks(app):
    """A hook that was due in time has ended in time, though another one blocked the loop until its limit had passed."""

    @app.on_shutdown(after=())
    def block():
        time.sleep(0.2)

    @app.on_shutdown(timeout=0.1, after=())
    async def sleep():
        await asyncio.sleep(0.01)

    app.run(asyncio.sleep(0))
    assert ["ok", "ok"] == [str(outcome.verdict) for outcome in app.report.outcomes]


def test_a_hook_that_blocks_within_its_time_is_not_interrupted() -> None:
    """A hook that blocks the loop within its own time is not interrupted when another hook's time is up meanwhile."""
    app = App("test", grace=8)

    @app.on_shutdown(after=(), timeout=0.2)
    async def hangs() -> None:
        await asyncio.sleep(60)

    @app.on_shutdown(after=())
    async def blocks() -> None:
        await asyncio.sleep(0)
        time.sleep(0.8)

    with pytest.raises(HookTimeout, match="hangs"):
        app.run(asyncio.sleep(0))
    assert app.report is not None
    verdicts = {outcome.hook: outcome.verdict for outcome in app.report.outcomes}
    assert {"hangs": Verdict.TIMED_OUT, "blocks": Verdict.OK} == verdicts


def test_a_timeout_that_the_grace_cuts_short():
    """A hook that has less time than its timeout says is told so: it was the grace that was over."""
    app = App("test", grace=0.6)

    @app.on_shutdown(timeout=60)
    async def slow():
        await asyncio.sleep(60)

    with pytest.raises(
        HookTimeout, match=r"its share of the grace of 0.6 s was over \(its timeout is 60 s\); stuck at"
    ):
        app.run(asyncio.sleep(0))


def test_a_hook_that_raises_when_its_time_is_up(app, caplog):
    """What it raises is its outcome, and a line says that its time was up, and where it stood."""

    @app.on_shutdown(timeout=0.05)
    async def flush():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("lost") from None

    with pytest.raises(ConnectionError):
        app.run(lambda: asyncio.sleep(0))
    assert [Verdict.RAISED] == [outcome.verdict for outcome in app.report.outcomes]
    assert "flush timed out after 0.05" in caplog.text


def test_a_hook_that_raises_as_somebody_hurries():
    """What the second Ctrl-C cuts short is no error: the process dies by SIGINT."""
    app = App("orders", grace=8)

    @app.on_shutdown
    async def flush():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("lost") from None

    result = simulate(app, lambda: asyncio.sleep(60), at={1: signal.SIGINT, 2: signal.SIGINT})
    result.assert_exit(-signal.SIGINT)
    assert [Verdict.RAISED] == [outcome.verdict for outcome in result.outcomes if outcome.stage == "cleanup"]


def test_a_function_that_cancels_its_own_task(app, caplog):
    """It has run to its end all the same."""

    @app.on_shutdown
    def flush():
        asyncio.current_task().cancel()

    app.run(lambda: asyncio.sleep(0))
    assert [Verdict.CANCELLED] == [outcome.verdict for outcome in app.report.outcomes]
    assert "flush" in caplog.text
    assert "not all of it ran" not in caplog.text
