"""
A service as it is deployed: /ready is for the readiness probe, every other path takes an order, which takes a while.

The app owns the process, and uvicorn is a resource of it. So the app has the signals: for GRACEFUL_DRAIN_DELAY seconds after
SIGTERM everything goes on, and only /ready says that the end has begun. Then the resource is closed: uvicorn accepts nothing
more, and answers the requests that it has accepted.

    python orders.py

Needs uvicorn.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from graceful import App

Message = dict[str, Any]

app = App(
    "orders", drain_delay=None
)  # None: the deployment says it, in GRACEFUL_DRAIN_DELAY; the grace is in GRACEFUL_GRACE


async def site(
    scope: Message, _receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
) -> None:
    status, text = 200, b"ready"
    if scope["path"] != "/ready":
        await asyncio.sleep(0.3)  # the order is written to the database
        text = b"ordered"
    elif app.stopping:
        status, text = 503, b"stopping"
    headers = [(b"content-type", b"text/plain")]
    if app.stopping:  # so that nobody sends another request on this connection, just before it is closed
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@app.resource
async def server() -> AsyncIterator[None]:
    port = int(os.environ.get("PORT", "8000"))
    server = uvicorn.Server(uvicorn.Config(site, host="0.0.0.0", port=port, lifespan="off"))  # noqa: S104 - a container
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # the signals are the app's
    serving = asyncio.create_task(server.serve())
    yield
    server.should_exit = True
    await serving


if __name__ == "__main__":
    app.run()
