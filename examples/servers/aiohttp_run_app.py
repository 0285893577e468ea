"""
The app in a cleanup context of aiohttp's `web.run_app`, which owns the process and the signals.

Requests that were read are answered. Since aiohttp 3.9, an upload of which a part is still to come at the signal is lost,
because `run_app` reads no more; where that matters, let the app own the process, as in aiohttp_resource.py.

    PORT=8080 python examples/servers/aiohttp_run_app.py
"""

import os
from collections.abc import AsyncIterator

from aiohttp import web
from site_aiohttp import app, routes


async def lifespan(_: web.Application) -> AsyncIterator[None]:
    async with app.lifespan():  # graceful
        yield


if __name__ == "__main__":
    site = web.Application()
    site.add_routes(routes)
    site.cleanup_ctx.append(lifespan)
    web.run_app(site, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)
