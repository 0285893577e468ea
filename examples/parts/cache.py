"""A write-behind cache: its pending changes must be written before the database is closed."""

import asyncio

from graceful import Hooks
from parts import database

hooks = Hooks()
hooks.include(database.hooks)  # including the cache also includes the database, before it

held_back: dict[str, int] = {}


@hooks.on_startup
async def warm_up() -> None:
    print("cache: knows", *database.stock)


@hooks.on_shutdown
async def write_back() -> None:
    await asyncio.sleep(0.05)  # the network
    database.stock.update(held_back)
    print("cache: written back", held_back)
