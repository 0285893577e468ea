"""`drain_share`: which part of the grace is for work to end by itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from graceful import App

#: Seconds by which a busy machine may be late.
LATE = 0.35


def run_until_cut(app, new_loop, how):
    """Run an app whose work wants to go on; returns the seconds from the stop until it was cut, and until the cleanup."""
    seen = {}

    @app.on_shutdown
    async def clean_up():
        seen["cleanup"] = time.monotonic() - began

    async def work():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen["cut"] = time.monotonic() - began
            raise

    async def payment():
        async with app.critical():
            await work()

    async def main():
        nonlocal began
        if how == "drain":
            app.create_task(work(), drain=True)
        elif how == "told":
            app.create_task(told())
        elif how == "block of a task":
            app.create_task(payment())
        await asyncio.sleep(0)
        app.stop()
        began = time.monotonic()
        await (payment() if how == "block of main" else asyncio.sleep(60))

    async def told():
        await app.wait_stopping()
        await work()

    began = 0.0
    app.run(main, loop_factory=new_loop)
    return seen["cut"], seen["cleanup"]


@pytest.mark.parametrize("how", ["drain", "told", "block of a task", "block of main"])
@pytest.mark.parametrize("share", [0.25, 0.9])
def test_work_has_its_share(new_loop, how, share):
    """A critical block, a task with `drain=True` and one that asked to be told have that part of the grace, not half."""
    app = App("test", grace=2, drain_share=share)

    cut, cleanup = run_until_cut(app, new_loop, how)

    # A block has at least the share of the cancellation, which is half of what the drain has left.
    expected = max(share, 0.5) if how.startswith("block") else share
    assert 2 * expected - 0.05 <= cut < 2 * expected + LATE
    assert cut <= cleanup < 2
    assert app.report.took < 2 + LATE


def test_no_share(new_loop):
    """With 0 nothing is waited for: work is cancelled at once."""
    app = App("test", grace=5, drain_share=0)

    cut, _ = run_until_cut(app, new_loop, "drain")

    assert cut < LATE


def test_work_that_ends_earlier_leaves_the_rest_to_the_cleanup(new_loop):
    """The share is a limit: work that is done does not use it up."""
    app = App("test", grace=5, drain_share=0.9)
    seen = []

    @app.on_shutdown
    async def clean_up():
        seen.append(app.remaining())

    async def main():
        app.create_task(asyncio.sleep(0.05), drain=True)
        await asyncio.sleep(0)

    app.run(main, loop_factory=new_loop)

    [remaining] = seen
    assert remaining > 4


@pytest.mark.parametrize("value", [-0.1, 0.91, 1, float("nan"), float("inf"), 100])
def test_a_share_out_of_range(value):
    """A share that would leave nothing for the cleanup is refused, with the name of the argument and the value."""
    with pytest.raises(ValueError, match=rf"^drain_share must be from 0 to 0\.9, .* got {value!r}$"):
        App(drain_share=value)


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5]])
def test_a_share_that_is_no_number(value):
    """So is one that is no number."""
    with pytest.raises(TypeError, match=r"^drain_share must be a number from 0 to 0\.9, got "):
        App(drain_share=value)


@pytest.mark.parametrize("value", [0, 0.5, 0.9])
def test_a_good_share(value):
    """What is in range is accepted, also its ends."""
    assert value == App(drain_share=value)._settings.drain_share
