"""A block that nobody leaves, or that is left as a generator is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

import pytest

from graceful import App, Kind


@pytest.fixture
def app():
    return App("orders", grace=5)


async def enter(app):
    await app.__aenter__()


def test_a_block_that_nobody_leaves(app, caplog):
    """It stops when the owner of the loop closes the loop, and that is said."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    with caplog.at_level(logging.WARNING, "graceful"):
        asyncio.run(asyncio.wait_for(enter(app), 5))

    assert [True] == closed
    assert ["nobody has left the block of orders: it stops now, because its loop is being closed"] == caplog.messages


def test_the_error_between_entering_and_leaving_is_not_lost(app):
    """It was raised outside the loop, and comes out."""
    with pytest.raises(ZeroDivisionError), asyncio.Runner() as runner:
        runner.run(enter(app))
        raise ZeroDivisionError


def test_what_failed_in_a_block_that_nobody_leaves(app, caplog):
    """There is nobody to raise it to, so it is logged."""

    @app.on_shutdown
    def close():
        raise ValueError("not closed")

    asyncio.run(enter(app))

    assert "orders failed: ValueError: not closed" in caplog.messages
    assert 1 == app.report.exit_status


def test_the_app_can_be_used_again(app):
    """The run is over, with its report, and another one may begin."""
    asyncio.run(enter(app))

    assert [Kind.REQUESTED] == [cause.kind for cause in app.report.causes]
    assert 3 == app.run(asyncio.sleep(0, 3))


def test_sys_exit_in_a_hook_of_a_block_that_nobody_leaves(app):
    """It is the exit that it asks for."""
    app.on_shutdown(lambda: sys.exit(3))

    with pytest.raises(SystemExit) as raised:
        asyncio.run(enter(app))

    assert 3 == raised.value.code


def test_a_body_that_takes_a_while_as_its_generator_is_closed(app, capfd):
    """The hooks run after it, as always."""
    seen = []
    app.on_shutdown(lambda cause: seen.append(str(cause)))

    async def rows():
        async with app:
            try:
                yield 1
            finally:
                await asyncio.sleep(0.05)
                seen.append("body")

    async def main():
        async def begin():
            await anext(generator)

        generator = rows()
        await asyncio.create_task(begin())
        return generator

    asyncio.run(main())
    assert ["body", "main returned"] == seen
    assert ("", "") == capfd.readouterr()


async def rows(app):
    async with app:
        for number in range(5):
            yield number


async def closed_by_hand(app):
    async with contextlib.aclosing(rows(app)) as generator:
        assert 0 == await anext(generator)


async def closed_by_the_loop(app):
    async def begin():
        await anext(generator)

    generator = rows(app)
    await asyncio.create_task(begin())
    return generator


@pytest.mark.parametrize("close", [closed_by_hand, closed_by_the_loop])
def test_a_block_in_a_generator_that_is_closed(app, close, capfd):
    """The consumer has seen enough: the block has ended, and nothing has failed."""
    seen = []
    app.on_shutdown(lambda cause: seen.append(cause.kind))

    asyncio.run(close(app))

    assert [Kind.COMPLETED] == seen
    assert 0 == app.report.exit_status
    assert ("", "") == capfd.readouterr()


def test_leaving_what_was_not_entered(app):
    """Leaving it, or leaving it twice, is refused."""

    async def leave():
        await app.__aexit__(None, None, None)

    with pytest.raises(
        RuntimeError, match=r"<graceful.App .orders.> is not in a block: .*__aexit__.* without __aenter__"
    ):
        asyncio.run(leave())
