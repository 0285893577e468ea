"""App.value and what the lifespan yields: what resources have yielded."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import ENTRANCES

from graceful import App, StateError


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_value(app, entrance):
    """From the end of its first half to the beginning of its second, in hooks, main, tasks and threads."""
    seen = []

    @app.resource
    async def pool():
        yield "pool"
        with pytest.raises(StateError):
            app.value(pool)

    @app.resource
    def table():
        seen.append(app.value(pool))
        yield {"of": "values"}

    @app.on_shutdown
    def close():
        seen.append(app.value(table))

    async def main():
        seen.append(app.value(pool))
        seen.append(await asyncio.to_thread(app.value, table))

    ENTRANCES[entrance](app, main)
    assert ["pool", "pool", {"of": "values"}, {"of": "values"}] == seen


def test_no_value(app):
    """Before it is entered, where its start failed, after the end, and of what is no resource: an error names it."""

    @app.resource
    async def pool():
        with pytest.raises(StateError, match=r"value\(\) finds no .*pool \(.*test_values.py:"):
            app.value(pool)
        raise OSError
        yield

    async def other():
        yield

    @app.on_shutdown
    def close():
        for function in (pool, other):
            with pytest.raises(StateError):
                app.value(function)

    with pytest.raises(StateError):
        app.value(pool)
    with pytest.raises(OSError):
        app.run(asyncio.sleep(0))
    with pytest.raises(StateError):
        app.value(pool)
    with pytest.raises(TypeError, match="takes the function that was decorated"):
        app.value("pool")


def test_the_value_of_a_method(app):
    """A bound method is equal to itself, though never the same object."""

    class Pool:
        async def open(self):
            yield self

    pool = Pool()
    app.resource(pool.open)

    async def main():
        assert app.value(pool.open) is pool

    app.run(main)


def test_what_the_lifespan_yields():
    """All values by name, without those of resources that yield nothing; of two with one name the later."""
    app = App("test", grace=1)

    @app.resource
    async def pool():
        yield "first"

    @app.resource
    def nothing():
        yield

    @app.resource
    async def settings():
        yield {"debug": True}

    def again():
        async def pool():
            yield "second"

        return pool

    app.resource(again())

    async def main():
        async with app.lifespan() as state:
            assert {"pool": "second", "settings": {"debug": True}} == state

    asyncio.run(main())


def test_a_lifespan_without_values():
    """A dict all the same."""

    async def main():
        async with App("test", grace=1).lifespan() as state:
            assert {} == state

    asyncio.run(main())
