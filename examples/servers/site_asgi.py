"""
The application of the recipes for uvicorn and hypercorn: orders that take their time, and two ways to follow the prices.

Nothing here depends on the server. The lines that end with `# graceful` are all that it needs of graceful.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from graceful import App

app = App("shop", drain_delay=None)  # graceful


async def order(request: Request) -> Response:
    """An upload, which takes as long as `?takes=` says. The receipt is a digest of what was received."""
    body = await request.body()
    await asyncio.sleep(float(request.query_params.get("takes", "0")))
    number = request.query_params["id"]
    print("order", number)
    return PlainTextResponse(f"{number} {hashlib.sha256(body).hexdigest()}")


async def prices() -> AsyncIterator[str]:
    """Numbers, from 0 on, until the app stops."""
    number = 0
    while await app.sleep(0.05):  # graceful: the end of both long-lived connections
        yield str(number)
        number += 1


async def events(_: Request) -> Response:
    """The prices as server-sent events; the last one says that there will be no more."""

    async def stream() -> AsyncIterator[str]:
        async for price in prices():
            yield f"data: {price}\n\n"
        yield "event: end\ndata:\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


async def follow(websocket: WebSocket) -> None:
    """The prices through a websocket, which is closed with 1001, "going away"."""
    await websocket.accept()
    try:
        async for price in prices():
            await websocket.send_text(price)
        await websocket.close(1001)
    except WebSocketDisconnect:
        pass  # the client was first


async def ready(_: Request) -> Response:
    """The readiness probe of a load balancer."""
    return PlainTextResponse("", 503 if app.stopping else 200)  # graceful


routes = [
    Route("/order", order, methods=["POST"]),
    Route("/events", events),
    Route("/ready", ready),
    WebSocketRoute("/follow", follow),
]
