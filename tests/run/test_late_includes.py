"""Collections of hooks that are included, or added to, while the app runs."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from support.apps import stop_soon

from graceful import App, HookError, Hooks, OrderError

# --- collections -----------------------------------------------------------------------------------------------------


def test_a_collection_that_was_included_before(app):
    """A decorator of a collection counts like one of the app, however deep it is included."""
    seen, outer, inner = [], Hooks(), Hooks()
    app.include(outer)
    outer.include(inner)

    async def main():
        inner.on_shutdown(lambda: seen.append("late"))

    app.run(main)
    assert ["late"] == seen


def test_a_collection_that_is_included_late(app):
    """An `include` while the app runs is as if its hooks were registered then, and those that are added to it later."""
    seen, parts = [], Hooks()
    app.on_shutdown(lambda: seen.append("early"))
    parts.on_shutdown(lambda: seen.append("1"))

    @parts.on_shutdown(after="later")
    def waits():
        seen.append("waits")

    @parts.on_shutdown
    def later():
        seen.append("later")

    async def main():
        app.include(parts)
        app.include(parts)
        parts.on_shutdown(lambda: seen.append("added"))

    app.run(main)
    assert ["added", "later"] == seen[:2]
    assert {"1", "waits", "early"} == {*seen[2:]}
    assert 5 == len(seen)


def test_a_cycle_in_a_collection_that_is_included_late(app):
    """It is refused as a whole, at once."""
    parts = Hooks()
    parts.on_shutdown(after="b")(lambda: None)

    @parts.on_shutdown(after="a")
    def b(): ...

    @parts.on_shutdown(after="b")
    def a(): ...

    async def main():
        with pytest.raises(OrderError, match="wait for each other"):
            app.include(parts)

    app.run(main)
    assert [] == [*app._hooks()]


def test_a_collection_of_two_apps(app):
    """A late hook joins the run of each app that has its collection and runs, and no other."""
    seen, parts, other = [], Hooks(), App("other", grace=1)
    app.include(parts)
    other.include(parts)

    async def main():
        parts.on_shutdown(lambda: seen.append("once"))

    app.run(main)
    assert ["once"] == seen
    other.run(asyncio.sleep(0))
    assert ["once", "once"] == seen


def test_an_app_that_is_gone_is_not_kept(app):
    """A collection does not keep the apps alive that include it."""
    parts, app = Hooks(), App("gone")
    app.include(parts)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_a_late_mistake_is_a_mistake(app):
    """What a decorator refuses before the run, it refuses while the app runs."""

    async def main():
        with pytest.raises(HookError):
            app.on_shutdown(5)
        stop_soon(app)
        await app.wait_stopping()

    app.run(main)
