"""A mail outbox: every pending mail is sent before the program ends."""

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
