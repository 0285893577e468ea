"""One of three instances behind a load balancer: `instance.py RECIPE`. After SIGUSR1 a background task of it fails."""

import asyncio
import importlib
import os
import signal
import sys

from graceful import Cause, Kind

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples", "servers"))
app = importlib.import_module(sys.argv[1]).app
told = asyncio.Event()


@app.on_signal(signal.SIGUSR1)
def fail() -> None:
    told.set()


@app.background
async def work() -> None:
    await told.wait()
    raise RuntimeError("on purpose")


@app.on_shutdown(stage="drain")
async def leave_rotation(cause: Cause) -> None:
    """`drain_delay` is for signals; after a failure the load balancer must have time, too."""
    if cause.kind is not Kind.SIGNAL:
        await asyncio.sleep(float(os.environ["GRACEFUL_DRAIN_DELAY"]))


app.run()
