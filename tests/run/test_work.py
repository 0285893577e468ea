"""The work of an app and its cancellation: main first, with what it started; then the rest; generators are closed in peace."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from graceful import App, Interrupted, Kind
from graceful.testing import simulate


async def close(seen, what):
    """One step of a cleanup that needs the loop several times."""
    for _ in range(5):
        await asyncio.sleep(0.002)
    seen.append(what)


async def with_gather(seen):
    await asyncio.gather(close(seen, "a"), close(seen, "b"))


async def with_a_group(seen):
    async with asyncio.TaskGroup() as group:
        group.create_task(close(seen, "a"))
        group.create_task(close(seen, "b"))


async def with_a_limit(seen):
    async with asyncio.timeout(5):
        await asyncio.wait([asyncio.create_task(close(seen, each)) for each in "ab"])


async def with_an_app_task(seen):
    from graceful import current_app

    await asyncio.gather(*[current_app().create_task(close(seen, each)) for each in "ab"])


HELPERS = [with_gather, with_a_group, with_a_limit, with_an_app_task]


@pytest.mark.parametrize("clean_up", HELPERS)
def test_mains_finally_may_start_tasks(app, new_loop, clean_up):
    """Main is cancelled alone at first, so the tasks that its `finally` starts run to their end."""
    seen = []

    async def main():
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            await clean_up(seen)
            seen.append("main")

    with pytest.raises(Interrupted):
        app.run(main, loop_factory=new_loop)

    assert ["a", "b", "main"] == seen


def test_mains_finally_may_flush_with_the_tasks_it_has(app, new_loop):
    """Tasks that main has started live until main has ended: a queue is emptied by the tasks that read it."""
    seen, tasks = [], []

    async def main():
        async def send():
            while True:
                await close(seen, await queue.get())
                queue.task_done()

        queue = asyncio.Queue()
        tasks.extend([asyncio.create_task(send()), app.create_task(send())])
        for item in range(6):
            queue.put_nowait(item)
        app.stop()
        try:
            await asyncio.sleep(60)
        finally:
            await queue.join()
            seen.append("main")

    app.run(main, loop_factory=new_loop)

    assert [*range(6), "main"] == [*sorted(seen[:-1]), seen[-1]]
    assert all(task.cancelled() for task in tasks)


def test_the_rest_is_cancelled_before_the_cleanup_although_main_hangs(new_loop):
    """A main that hangs in its `finally` has half of the share; its tasks have the other half."""
    app, seen, tasks = App("test", grace=2), [], []

    async def consume():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(("consumer", app.remaining()))
            await close(seen, "consumer closed")

    @app.on_shutdown
    async def clean_up():
        seen.append(("cleanup", app.remaining()))

    async def main():
        tasks.append(asyncio.create_task(consume()))
        app.create_task(asyncio.sleep(0)).add_done_callback(lambda _: app.stop())
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    app.run(main, loop_factory=new_loop)

    (first, consumer), closed, (last, cleanup) = seen
    assert ("consumer", "consumer closed", "cleanup") == (first, closed, last)
    assert 1 < consumer < 1.6
    assert 0.5 < cleanup < 1.1


@pytest.mark.parametrize("end", [lambda: signal.raise_signal(signal.SIGTERM), None], ids=["signal", "return"])
def test_the_finally_of_an_async_generator_is_not_cut(app, new_loop, end):
    """A generator that is left early runs its `finally` to its end before what it uses is closed."""
    seen = []

    @app.on_shutdown
    async def pool():
        seen.append("pool closed")

    async def rows():
        try:
            while True:
                yield
        finally:
            await close(seen, "cursor released")

    async def main():
        async for _ in rows():
            if end is None:
                break
            end()
            await asyncio.sleep(60)

    with contextlib.nullcontext() if end is None else pytest.raises(Interrupted):
        app.run(main, loop_factory=new_loop)

    assert ["cursor released", "pool closed"] == seen


def test_an_async_generator_that_is_left_in_a_cleanup_hook_is_not_cut(app, new_loop):
    """So it is where a cleanup hook has left it."""
    seen = []

    async def rows():
        try:
            yield
        finally:
            await close(seen, "cursor released")

    @app.on_shutdown
    async def export():
        async for _ in rows():
            break

    async def main(): ...

    app.run(main, loop_factory=new_loop)

    assert ["cursor released"] == seen


def test_an_async_generator_that_a_resource_leaves_is_not_cut(app, new_loop):
    """What is left of a resource is cancelled with it, but a generator that is being closed is waited for."""
    seen = []

    @app.resource
    async def outer():
        yield
        seen.append("outer closed")

    @app.resource
    async def inner():
        async def rows():
            try:
                yield
            finally:
                await close(seen, "cursor released")

        yield
        async for _ in rows():
            break
        await asyncio.sleep(0.001)

    async def main(): ...

    app.run(main, loop_factory=new_loop)

    assert ["cursor released", "outer closed"] == seen


def test_an_async_generator_that_the_last_tasks_leave_is_not_cut(app, new_loop):
    """A task of a startup hook is cancelled when all cleanup is over; the generator that it leaves is closed in peace."""
    seen, tasks = [], []

    async def rows():
        try:
            while True:
                yield
        finally:
            await close(seen, "cursor released")

    async def consume():
        async for _ in rows():
            await asyncio.sleep(60)

    @app.on_startup
    async def start():
        tasks.append(asyncio.create_task(consume()))

    async def main():
        await asyncio.sleep(0.01)

    app.run(main, loop_factory=new_loop)

    assert ["cursor released"] == seen


def test_a_generator_that_does_not_close_costs_its_share_only(new_loop):
    """A generator that hangs in its `finally` is waited for within the share of the work, and the cleanup still runs."""
    app, seen = App("test", grace=1), []

    @app.on_shutdown
    async def clean_up():
        seen.append(app.remaining())

    async def rows():
        try:
            yield
        finally:
            await asyncio.sleep(60)

    async def main():
        async for _ in rows():
            break

    app.run(main, loop_factory=new_loop)

    [remaining] = seen
    assert 0.2 < remaining < 0.6
    assert app.report.took < 1 + 0.5


# --- a CancelledError that nobody asked for ----------------------------------------------------------------------------


async def lose_the_connection():
    """What a client does whose connection is lost: it cancels the futures that its callers wait for."""
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(answer.cancel)
    await answer


@pytest.mark.parametrize("make", ["background", "create_task"])
def test_a_task_that_cancels_itself_has_failed(app, new_loop, make):
    """A supervised task that ends by a CancelledError which nobody asked for stops the program."""
    seen = []

    async def consume():
        await lose_the_connection()

    if make == "background":
        app.background(consume)

    async def main():
        if make == "create_task":
            app.create_task(consume(), name="consume")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(app.stopping)

    with pytest.raises(asyncio.CancelledError, match="task 'consume' was cancelled, and nobody asked for it"):
        app.run(main, loop_factory=new_loop)

    assert [True] == seen
    assert (1, Kind.EXCEPTION) == (app.report.exit_status, app.report.cause.kind)


def test_a_task_that_is_cancelled_on_request_has_not_failed(app, new_loop, caplog):
    """Who calls `cancel()` wants the task to end, and the program goes on."""

    async def main():
        task = app.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.02)
        return not app.stopping

    assert app.run(main, loop_factory=new_loop) is True
    assert ([], 0) == (caplog.records, app.report.exit_status)


def test_a_cleanup_hook_that_cancels_itself_has_failed(app, new_loop):
    """Not all of the hook ran, so the status is 1; the other hooks run."""
    seen = []

    @app.on_shutdown
    async def last():
        seen.append("last")

    @app.on_shutdown
    async def flush():
        await lose_the_connection()
        seen.append("flushed")

    async def main(): ...

    with pytest.raises(asyncio.CancelledError, match="flush was cancelled, and nobody asked for it"):
        app.run(main, loop_factory=new_loop)

    assert ["last"] == seen
    assert 1 == app.report.exit_status


def test_the_second_half_of_a_resource_that_cancels_itself_has_failed(app, new_loop):
    """So it is with a resource."""

    @app.resource
    async def connection():
        yield
        await lose_the_connection()

    async def main(): ...

    with pytest.raises(asyncio.CancelledError, match="connection was cancelled, and nobody asked for it"):
        app.run(main, loop_factory=new_loop)

    assert 1 == app.report.exit_status


def test_the_closing_of_an_async_generator_is_given_up(caplog):
    """It is named, with the line where it stands, before the cleanup begins."""
    app = App("orders", grace=2)

    async def rows():
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(60)

    async def main():
        async for _ in rows():
            await asyncio.sleep(0.5)

    simulate(app, main, at={1: signal.SIGTERM}).assert_exit(-signal.SIGTERM)
    assert "is still closing an async generator, and is not waited for any longer after 1.0 s; stuck at " in caplog.text
    assert "did not end in time, and is cut short" in caplog.text
    assert " in test_the_closing_of_an_async_generator_is_given_up.<locals>.rows" in caplog.text
