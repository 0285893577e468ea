"""The program behind the screens of Ctrl-C once, twice and three times: it does not want to end."""

import asyncio

from graceful import App

app = App("orders", grace=8)


@app.on_shutdown
async def close_database() -> None:
    print("database: closing")
    await asyncio.sleep(0.2)
    print("database: closed")


@app.on_shutdown
async def flush_broker() -> None:
    print("broker: flushing")
    await asyncio.sleep(3)
    print("broker: flushed")


@app.background(drain=True)
async def consume() -> None:
    await app.wait_stopping()
    print("consume: one order left")
    await asyncio.sleep(1.5)
    print("consume: done")


@app.on_startup
def ready() -> None:
    print("ready")


if __name__ == "__main__":
    app.run()
