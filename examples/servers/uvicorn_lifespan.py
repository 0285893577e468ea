"""
The app as the lifespan of uvicorn, which owns the process and the signals.

At a signal the long-lived connections are told before uvicorn waits for them. If a background task fails, or at
`app.stop()`, uvicorn is sent a SIGTERM. The exit status is uvicorn's: it dies by SIGTERM in each of these cases.

    PORT=8080 python examples/servers/uvicorn_lifespan.py
"""

import os

import uvicorn
from site_asgi import app, routes
from starlette.applications import Starlette

site = Starlette(routes=routes, lifespan=app.lifespan)  # graceful

if __name__ == "__main__":
    uvicorn.run(site, port=int(os.environ["PORT"]), log_level="warning")
