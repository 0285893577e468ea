"""Hooks that rely on what need not be so."""

from __future__ import annotations

import asyncio

from testing.programs.bug import SIGNALS, collector, nothing_broken, nothing_lost, nothing_open
from testing.programs.world import Connection, World

from graceful import App
from graceful.testing import Fault

BUGS, bug = collector()


@bug(nothing_broken, says="close: the client is closed", faults=[*SIGNALS, Fault.MAIN_CANCELLED])
def closed_twice(mended: bool):
    """The client is closed where its use fails, and again by the hook."""
    app, world = App("orders", grace=3), World()
    clients: list[Connection] = []

    @app.on_shutdown
    async def close() -> None:
        for client in clients:
            await client.close()

    async def main() -> None:
        clients.append(client := Connection(world, "client"))
        try:
            await client.send("order")
        except BaseException:
            if not mended:
                await client.close()
            raise

    return app, main, world


@bug(nothing_broken, says="flush: the pool is closed")
def hooks_in_the_wrong_order(mended: bool):
    """What is registered last runs first, so the pool is closed before the rest is flushed into it."""
    app, world = App("orders", grace=3), World()
    pool = Connection(world, "pool")
    rest: list[int] = []

    async def flush() -> None:
        if rest:
            await pool.send("flush")

    for hook in (pool.close, flush) if mended else (flush, pool.close):
        app.on_shutdown(hook)

    async def main() -> None:
        rest.append(1)
        await pool.send("order")
        rest.clear()

    return app, main, world


@bug(nothing_broken, says="unsubscribe: the connection is closed")
def unsubscribed_after_the_close(mended: bool):
    """Both hooks start at once: what one needs for its goodbye the other one closes."""
    app, world = App("orders", grace=3), World()
    connection = Connection(world)
    topics: set[str] = set()

    @app.on_shutdown(after=())
    async def unsubscribe() -> None:
        for topic in topics:
            await connection.send("unsubscribe")

    app.on_shutdown(connection.close, after=[unsubscribe] if mended else ())

    async def main() -> None:
        topics.add("orders")
        await asyncio.sleep(0.01)
        topics.clear()

    return app, main, world


@bug(nothing_lost, says="acknowledged, and never written")
def retry_without_an_end(mended: bool):
    """The goodbye is tried again until it works, which it never does: the hook after it has no time left."""
    app, world = App("orders", grace=3), World()
    up = True

    @app.on_shutdown
    async def flush() -> None:
        world.acked.append(1)
        await asyncio.sleep(1)
        await world.write(1)

    @app.on_shutdown
    async def say_goodbye() -> None:
        for attempt in range(1, 1000):
            if up or (mended and attempt > 3):
                return
            await asyncio.sleep(0.1)

    async def main() -> None:
        nonlocal up
        up = False
        await asyncio.sleep(0.01)
        up = True

    return app, main, world


@bug(nothing_open, says="never closed: cache", fell="startup hook number 2 failed", faults=[Fault.STARTUP_FAILS])
def half_started(mended: bool):
    """Two startup hooks, one hook that closes both: if the second fails, it trips over what is not there."""
    app, world = App("orders", grace=3), World()
    opened: dict[str, Connection] = {}

    @app.on_startup
    async def open_cache() -> None:
        opened["cache"] = Connection(world, "cache")

    @app.on_startup
    async def open_pool() -> None:
        opened["pool"] = Connection(world, "pool")

    @app.on_shutdown
    async def close() -> None:
        for name in [*reversed(opened)] if mended else ("pool", "cache"):
            await opened[name].close()

    return app, asyncio.sleep(0.01), world


@bug(nothing_lost, says="acknowledged, and never written", fell="hook number 2 hung", faults=[Fault.HOOK_HANGS])
def hook_without_a_timeout(mended: bool):
    """A hook that hangs leaves half a second to the next, which needs more."""
    app, world = App("orders", grace=3), World()

    @app.on_shutdown
    async def flush() -> None:
        world.acked.append(1)
        await asyncio.sleep(1)
        await world.write(1)

    @app.on_shutdown(timeout=1 if mended else None)
    async def say_goodbye() -> None:
        await asyncio.sleep(0.01)

    async def main() -> None:
        await asyncio.sleep(0.01)

    return app, main, world
