"""The program behind the picture of the live view: two clients close beside each other, and one of them hangs."""

import asyncio

from graceful import App

app = App("orders", grace=8)


@app.on_shutdown(after=(), timeout=3)
async def export_metrics() -> None:
    await connect()


@app.on_shutdown(after=())
async def flush_broker() -> None:
    async with asyncio.TaskGroup() as group:
        for topic in ("paid", "shipped"):
            group.create_task(deliver(topic), name=f"deliver {topic}")


@app.on_shutdown(after=(flush_broker, export_metrics))
async def close_database() -> None:
    await asyncio.sleep(0.2)


async def connect() -> None:
    await asyncio.Event().wait()  # the collector does not answer


async def deliver(topic: str) -> None:
    await asyncio.sleep({"paid": 4, "shipped": 5}[topic])


@app.background(drain=True)
async def consume() -> None:
    await app.wait_stopping()
    for number in (7, 8, 9):
        await asyncio.sleep(0.2)
        print(f"order {number} is stored")


@app.on_startup
def ready() -> None:
    print("ready")


if __name__ == "__main__":
    app.run()
