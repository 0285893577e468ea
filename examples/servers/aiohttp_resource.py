"""
An aiohttp server as a resource of the app, which owns the process: the last one to be opened, so the first to be closed.

The tasks of the server belong to the resource, so the shutdown does not cancel them before the server is closed.
`runner.cleanup()` waits for requests under way to be answered. But since aiohttp 3.9 it reads no more, so an upload of which a
part is still to come is lost. That is why such requests are waited for before it. Without uploads, `runner.cleanup()` alone
is enough.

    PORT=8080 python examples/servers/aiohttp_resource.py
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from site_aiohttp import app, routes

under_way: set[asyncio.Future[None]] = set()
closing = asyncio.Event()


@web.middleware
async def remember(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Add each request to `under_way` until there is an answer. In the end, it says `Connection: close`."""
    answered = asyncio.get_running_loop().create_future()
    under_way.add(answered)
    try:
        response = await handler(request)
        if closing.is_set():
            response.force_close()
        return response
    except web.HTTPException as error:
        if closing.is_set():
            error.force_close()
        raise
    finally:
        under_way.discard(answered)
        answered.set_result(None)


@app.resource  # graceful
async def server() -> AsyncIterator[None]:
    site = web.Application(middlewares=[remember])
    site.add_routes(routes)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)  # s, when all these have been answered
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]))
    await listener.start()
    yield
    closing.set()
    await listener.stop()
    while under_way:
        await asyncio.wait(under_way)
    await runner.cleanup()


if __name__ == "__main__":
    app.run()  # graceful
