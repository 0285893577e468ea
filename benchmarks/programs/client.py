"""Eight connections, each with one request in progress: `client.py PORT KIND REQUESTS PARTS`. Prints a line a part."""

import asyncio
import sys

CONNECTIONS = 8
REQUESTS, PARTS = int(sys.argv[3]), int(sys.argv[4])
MESSAGE = {"echo": b"x" * 63 + b"!", "aiohttp": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"}[sys.argv[2]]


class Client(asyncio.Protocol):
    """One connection. Each response contains one exclamation mark, at its end."""

    answered = 0
    open = CONNECTIONS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        transport.write(MESSAGE)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b"!"):
            return
        Client.answered += 1
        if Client.answered % REQUESTS == 0:
            print("now", flush=True)
        if Client.answered < REQUESTS * PARTS:
            self.transport.write(MESSAGE)
        else:
            self.transport.close()  # only after reading every response, or the server would see a reset

    def connection_lost(self, _: Exception | None) -> None:
        Client.open -= 1
        if not Client.open:
            over.set()


over = asyncio.Event()


async def main() -> None:
    for _ in range(CONNECTIONS):
        await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", int(sys.argv[1]))
    await over.wait()


asyncio.run(main())
