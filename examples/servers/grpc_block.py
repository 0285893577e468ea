"""
The app in a block of a program that calls `asyncio.run` itself. grpc.aio has nothing that owns the process.

The block is cancelled, so the process dies by SIGTERM. With `await app.wait_stopping()` in the block it ends with 0.

    PORT=8080 python examples/servers/grpc_block.py
"""

import asyncio
import os
from collections.abc import AsyncIterator

from site_grpc import app, make_server


@app.resource  # graceful
async def server() -> AsyncIterator[None]:
    server = make_server(os.environ["PORT"])
    await server.start()
    yield
    await server.stop(5)


async def main() -> None:
    async with app:  # graceful
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
