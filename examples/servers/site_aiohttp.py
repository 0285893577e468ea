"""
The application of the recipes for aiohttp: orders that take their time, and two ways to follow the prices.

It does the same as site_asgi.py. The lines that end with `# graceful` are all that it needs of graceful.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import web

from graceful import App

app = App("shop", drain_delay=None)  # graceful


async def order(request: web.Request) -> web.Response:
    """An upload, which takes as long as `?takes=` says. The receipt is a digest of what was received."""
    body = await request.read()
    await asyncio.sleep(float(request.query.get("takes", "0")))
    number = request.query["id"]
    print("order", number)
    return web.Response(text=f"{number} {hashlib.sha256(body).hexdigest()}")


async def prices() -> AsyncIterator[str]:
    """Numbers, from 0 on, until the app stops."""
    number = 0
    while await app.sleep(0.05):  # graceful: the end of both long-lived connections
        yield str(number)
        number += 1


async def events(request: web.Request) -> web.StreamResponse:
    """The prices as server-sent events; the last one says that there will be no more."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for price in prices():
        await response.write(f"data: {price}\n\n".encode())
    await response.write(b"event: end\ndata:\n\n")
    return response


async def follow(request: web.Request) -> web.WebSocketResponse:
    """The prices through a websocket, which is closed with 1001, "going away"."""
    websocket = web.WebSocketResponse(timeout=1)  # the client's own close may come after aiohttp has stopped reading
    await websocket.prepare(request)
    async for price in prices():
        await websocket.send_str(price)
    await websocket.close(code=1001)
    return websocket


async def ready(_: web.Request) -> web.Response:
    """The readiness probe of a load balancer."""
    return web.Response(status=503 if app.stopping else 200)  # graceful


routes = [
    web.post("/order", order),
    web.get("/events", events),
    web.get("/ready", ready),
    web.get("/follow", follow),
]
