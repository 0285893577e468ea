"""The program behind the picture of a real shutdown: two workers, three resources, and an exporter that hangs."""

import asyncio
from collections.abc import AsyncGenerator

from graceful import App

app = App("orders", grace=8)


@app.resource
async def database() -> AsyncGenerator[None]:
    yield
    await asyncio.sleep(0.25)


@app.resource
async def broker() -> AsyncGenerator[None]:
    yield
    await asyncio.sleep(0.6)  # flushes what it has buffered


@app.on_shutdown(timeout=1)
async def export_metrics() -> None:
    await asyncio.Event().wait()  # the collector does not answer


@app.on_shutdown(after=())
async def say_goodbye() -> None:
    await asyncio.sleep(0.9)  # beside the others


@app.on_shutdown(stage="drain")
async def stop_accepting() -> None:
    await asyncio.sleep(0.3)


@app.background(drain=True)
async def consume() -> None:
    while await app.sleep(0.1):
        pass
    await asyncio.sleep(0.9)  # the last order


@app.background
async def poll() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.2)


@app.on_startup
def ready() -> None:
    print("ready, press Ctrl-C", flush=True)


if __name__ == "__main__":
    app.run()
