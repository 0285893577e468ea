"""What leaves the block of `async with app:`: failures, cancellation, timeouts."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import failing

from graceful import App


def chain(error):
    """It, and what it is shown with."""
    while error is not None:
        yield from getattr(error, "exceptions", [error])
        error = error.__cause__ or error.__context__


def test_failures_that_come_together_leave_the_block_together():
    """Two background tasks fail at once: both errors leave the block, in a group or in one's chain."""
    first, second = ValueError("first"), KeyError("second")

    async def main():
        async with failing(first, second) as app:
            app.go.set()
            await asyncio.sleep(60)

    with pytest.raises(Exception) as caught:
        asyncio.run(main())
    assert {first, second} <= {*chain(caught.value)}


def test_a_hook_that_fails_after_a_task_leaves_the_block_with_it():
    """A background task fails, then a hook: the hook's error is seen, too, chained to the task's."""
    failure, of_hook = ValueError("of a task"), OSError("of a hook")

    async def main():
        app = failing(failure)

        @app.on_shutdown
        def close():
            raise of_hook

        async with app:
            app.go.set()
            await asyncio.sleep(60)

    with pytest.raises(ValueError) as caught:
        asyncio.run(main())
    assert {failure, of_hook} <= {*chain(caught.value)}


@pytest.mark.parametrize("end", ["raises", "swallows", "raises when cancelled"])
def test_a_failure_leaves_the_block_however_the_block_ends(end):
    """A block that raises its own error, or swallows its cancellation, does not hide the task's failure."""
    failure, own = ValueError("of a task"), KeyError("of the block")

    async def main():
        async with failing(failure) as app:
            app.go.set()
            if end == "raises":
                await asyncio.sleep(0)
                raise own
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if end == "raises when cancelled":
                    raise own from None

    with pytest.raises(Exception) as caught:
        asyncio.run(main())
    assert ({failure} if end == "swallows" else {failure, own}) <= {*chain(caught.value)}


def test_after_a_failure_the_task_is_not_cancelled():
    """The cancellation that ended the block is taken back: code that catches the failure goes on uncancelled."""
    seen = []

    async def main():
        try:
            async with failing(ValueError()) as app:
                app.go.set()
                await asyncio.sleep(60)
        except ValueError:
            seen.append(asyncio.current_task().cancelling())
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        seen.append("went on")

    asyncio.run(main())
    assert [0, "went on"] == seen


def test_a_timeout_around_a_block():
    """asyncio.timeout around the block: the hooks run to their end, then TimeoutError is raised; the count is right."""
    app = App(grace=3)
    seen = []

    @app.on_shutdown
    async def close():
        await asyncio.sleep(0.01)
        seen.append("closed")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), app:
                await asyncio.sleep(60)
        seen.append(asyncio.current_task().cancelling())

    asyncio.run(main())
    assert ["closed", 0] == seen


def test_a_sibling_that_fails_ends_the_block():
    """In a TaskGroup beside a task that fails: the hooks run to their end, and the group raises that failure alone."""
    app = App(grace=3)
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))
    failure = LookupError()

    async def fail():
        raise failure

    async def main():
        async with asyncio.TaskGroup() as group, app:
            group.create_task(fail())
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert ((failure,), ["closed"]) == (caught.value.exceptions, seen)


def test_the_report_of_a_block_that_was_cancelled():
    """The report of a block that its owner cancels names that as the cause, and not a call of stop()."""
    app = App(grace=2)

    async def main():
        async with asyncio.timeout(0):
            async with app:
                await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert "stop() was called" not in app.report.text()


def test_a_block_that_a_fixture_enters_and_another_task_leaves(capfd):
    """As pytest's fixtures do: the app runs between the two, and its hooks run when it is left; at once, without a word."""
    app, seen = App(grace=30), []
    app.on_shutdown(lambda: seen.append("closed"))

    async def test():
        seen.append(app.stopping)
        assert await app.sleep(0.01)

    with asyncio.Runner() as runner:
        runner.run(app.__aenter__())
        runner.run(test())
        runner.run(app.__aexit__(None, None, None))
    assert [False, "closed"] == seen
    assert 0 == app.report.exit_status
    assert app.report.took < 1
    assert ["main returned"] == [str(cause) for cause in app.report.causes]
    assert ("", "") == capfd.readouterr()


def test_a_failure_while_the_block_is_entered_and_cancelled():
    """The failure comes out, and not only the cancellation that came with it."""
    app = App(grace=3)

    def fail():
        raise ValueError("mine")

    async def main():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        loop.call_soon(task.cancel)
        loop.call_soon(fail)
        async with app:
            await asyncio.sleep(60)

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())
    assert ["mine"] == [str(failure.exception) for failure in app.report.failures]
