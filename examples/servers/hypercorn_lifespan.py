"""
The app as the lifespan of hypercorn, which owns the process and the signals.

    PORT=8080 python examples/servers/hypercorn_lifespan.py
"""

import asyncio
import os

import hypercorn.asyncio
from site_asgi import app, routes
from starlette.applications import Starlette

site = Starlette(routes=routes, lifespan=app.lifespan)  # graceful

if __name__ == "__main__":
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
    config.loglevel = "warning"
    asyncio.run(hypercorn.asyncio.serve(site, config))  # type: ignore[arg-type]
