"""A database: opened before the modules that use it start, closed after they have stopped."""

from collections.abc import AsyncIterator

from graceful import Hooks

hooks = Hooks()
stock: dict[str, int] = {}  # stands in for a connection


@hooks.resource
async def database() -> AsyncIterator[None]:
    stock.update(apples=3, pears=5)
    print("database: open")
    yield
    print("database: closed with", stock)
    stock.clear()
