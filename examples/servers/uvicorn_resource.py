"""
uvicorn as a resource of the app, which owns the process: the last one to be opened, so the first to be closed.

The app has the signals. After `drain_delay` it tells the long-lived connections, then it closes this resource: uvicorn
stops accepting, and answers the requests it has read. Resources above this one are closed after that.

    PORT=8080 python examples/servers/uvicorn_resource.py
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import uvicorn
from site_asgi import app, routes
from starlette.applications import Starlette


@app.resource  # graceful
async def server() -> AsyncIterator[None]:
    config = uvicorn.Config(Starlette(routes=routes), port=int(os.environ["PORT"]), lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # they are the app's
    serving = asyncio.create_task(server.serve())
    yield
    server.should_exit = True
    await serving


if __name__ == "__main__":
    app.run()  # graceful
