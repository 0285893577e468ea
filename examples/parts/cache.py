"""A write-behind cache, as a part: what it holds back is lost, unless it is written before the database is closed."""

import asyncio

from graceful import Hooks
from parts import database

hooks = Hooks()
hooks.include(database.hooks)  # what it uses: whoever includes the cache has that, and in this order

held_back: dict[str, int] = {}


@hooks.on_startup
async def warm_up() -> None:
    print("cache: knows", *database.stock)


@hooks.on_shutdown
async def write_back() -> None:
    await asyncio.sleep(0.05)  # the network
    database.stock.update(held_back)
    print("cache: written back", held_back)
