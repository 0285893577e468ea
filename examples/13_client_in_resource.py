"""
A client with a task of its own, in a resource: what it has buffered is sent before the program ends.

Clients of Kafka, NATS or a metrics service work like this one: `send` puts an event into a buffer, and a task that the
client has started delivers it. The shutdown leaves the tasks of a resource alone until the resource is closed, so the
client can flush its buffer. That includes what main sends when it is cancelled.

    python examples/13_client_in_resource.py

Prints:

    sent 20 events
    ^C
    main ends
    client: delivered 21 of 21
    connection closed

Exit status: death by SIGINT. After SIGTERM it is death by SIGTERM.
"""

import asyncio
from collections.abc import AsyncGenerator

from graceful import App

app = App("orders")


class Client:
    """`send` returns at once; `close` waits until everything is delivered."""

    def __init__(self) -> None:
        self._buffer: asyncio.Queue[str] = asyncio.Queue()
        self._sender = asyncio.create_task(self._deliver())
        self._sent = self._delivered = 0

    def send(self, event: str) -> None:
        self._sent += 1
        self._buffer.put_nowait(event)

    async def _deliver(self) -> None:
        while await self._buffer.get():
            await asyncio.sleep(0.02)  # the network
            self._delivered += 1
            self._buffer.task_done()

    async def close(self) -> None:
        await self._buffer.join()
        self._sender.cancel()
        print(f"client: delivered {self._delivered} of {self._sent}")


@app.on_shutdown
def disconnect() -> None:
    print("connection closed")


@app.resource
async def client() -> AsyncGenerator[Client]:
    client = Client()
    yield client
    await client.close()


async def main() -> None:
    orders = app.value(client)
    for number in range(20):
        orders.send(f"order {number}")
    print("sent 20 events")
    try:
        await asyncio.sleep(3600)
    finally:
        orders.send("no more orders")
        print("main ends")


if __name__ == "__main__":
    app.run(main)
