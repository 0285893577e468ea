"""
A grpc.aio server as a resource of the app, which owns the process: the last one to be opened, so the first to be closed.

    PORT=8080 python examples/servers/grpc_resource.py
"""

import os
from collections.abc import AsyncIterator

from site_grpc import app, make_server


@app.resource  # graceful
async def server() -> AsyncIterator[None]:
    server = make_server(os.environ["PORT"])
    await server.start()
    yield
    await server.stop(5)


if __name__ == "__main__":
    app.run()  # graceful
