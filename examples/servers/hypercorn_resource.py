"""
hypercorn as a resource of the app, which owns the process: the last one to be opened, so the first to be closed.

    PORT=8080 python examples/servers/hypercorn_resource.py
"""

import asyncio
import os
from collections.abc import AsyncIterator

import hypercorn.asyncio
from site_asgi import app, routes
from starlette.applications import Starlette


@app.resource  # graceful
async def server() -> AsyncIterator[None]:
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
    config.loglevel = "warning"
    enough = asyncio.Event()
    site = Starlette(routes=routes)
    serving = asyncio.create_task(hypercorn.asyncio.serve(site, config, shutdown_trigger=enough.wait))  # type: ignore[arg-type]
    yield
    enough.set()
    await serving


if __name__ == "__main__":
    app.run()  # graceful
