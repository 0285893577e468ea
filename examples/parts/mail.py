"""The mails, as a part: an order has its answer before the program is gone."""

import asyncio

from graceful import Hooks
from parts import database

hooks = Hooks()
hooks.include(database.hooks)
outbox: list[str] = []


@hooks.on_shutdown
async def send_all() -> None:
    await asyncio.sleep(0.05)  # the network
    print("mail: sent", *outbox)
