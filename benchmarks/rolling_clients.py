"""Clients that check each answer: orders of several kinds, server-sent events, websockets and gRPC streams."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

__all__ = ["Tally", "clients"]

#: Seconds after which an answer counts as lost.
PATIENCE = 20


class Tally:
    """
    What the clients have seen.

    Attributes:
        answered: The numbers of the orders with the right answer.
        lost: Those without an answer: the connection ended, or nothing came.
        failed: Those with another answer than the right one.
        streams: How many streams and websockets have ended as they should.
        broken: How many have not.
        problems: What was wrong, in words, the first of them.
        enough: Whether the clients should end.
    """

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.answered: set[int] = set()
        self.lost = self.failed = self.streams = self.broken = 0
        self.problems: list[str] = []
        self.enough = False

    def problem(self, what: str, why: object) -> None:
        """Remember it, unless there are many."""
        if len(self.problems) < 20:
            self.problems.append(f"{what}: {why!r}" if isinstance(why, BaseException) else f"{what}: {why}")


class Http:
    """A connection by HTTP/1.1, which is opened again when the other end has said that it will close it."""

    def __init__(self, proxy: str, port: int) -> None:
        self._proxy, self._port = proxy, port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def __str__(self) -> str:
        return self._proxy

    async def order(self, number: int, takes: float, body: bytes, *, slowly: bool = False, once: bool = False) -> str:
        """Send an order, in pieces if `slowly`, on a connection for it alone if `once`; returns the receipt."""
        reader, writer = await self._connection()
        try:
            head = f"POST /order?id={number}&takes={takes} HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n"
            writer.write((head + ("Connection: close\r\n" if once else "") + "\r\n").encode())
            for piece in _pieces(body, 10 if slowly else 1):
                writer.write(piece)
                await writer.drain()
                if slowly:
                    await asyncio.sleep(0.02)
            status, headers = await _head(reader)
            text = (await reader.readexactly(int(headers[b"content-length"]))).decode()
        except BaseException:
            await self.close()
            raise
        if once or headers.get(b"connection", b"").lower() == b"close":
            await self.close()
        return text if status == 200 else f"status {status}: {text}"

    async def events(self) -> AsyncIterator[int]:
        """The prices, from `/events`; raises if they are cut off."""
        reader, writer = await self._connection()
        writer.write(b"GET /events HTTP/1.1\r\nHost: shop\r\n\r\n")
        status, headers = await _head(reader)
        if status != 200 or headers.get(b"transfer-encoding") != b"chunked":
            raise ConnectionError(f"status {status}, {headers}")
        text, length = b"", -1
        while length:
            length = int(await reader.readuntil(b"\r\n"), 16)
            text += (await reader.readexactly(length + 2))[:-2]
            *complete, text = text.split(b"\n\n")
            for event in complete:
                if event.startswith(b"event: end"):
                    return
                yield int(event.removeprefix(b"data: "))
        raise ConnectionError("the events ended without the last one")

    async def follow(self) -> AsyncIterator[int]:
        """The prices, through a websocket; raises if it is not closed with 1001, or with uvicorn's own 1012, "service restart"."""
        reader, writer = await self._connection()
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /follow HTTP/1.1\r\nHost: shop\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        writer.write(f"{head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        if (status := (await _head(reader))[0]) != 101:
            raise ConnectionError(f"status {status}")
        while True:
            opcode, length = await reader.readexactly(2)
            payload = await reader.readexactly(length)
            if opcode & 15 == 8:
                code = int.from_bytes(payload[:2])
                writer.write(bytes([0x88, 0x80 | length, 0, 0, 0, 0]) + payload)
                if code not in (1001, 1012):
                    raise ConnectionError(f"closed with {code}")
                return
            yield int(payload)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        return self._open

    async def close(self) -> None:
        if self._open is not None:
            writer = self._open[1]
            self._open = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _pieces(body: bytes, number: int) -> list[bytes]:
    size = -(-len(body) // number)
    return [body[start : start + size] for start in range(0, len(body), size)] if body else []


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    pairs = (line.partition(b":") for line in lines if line)
    return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


#: gRPC's own retry policy, see grpc.io/docs/guides/retry. Orders have a number, so one that was done twice is seen.
RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


class Rpc:
    """A channel of gRPC with a connection of its own, which tries nothing again by itself."""

    def __init__(self, proxy: str, port: int) -> None:
        import grpc.aio  # only where it is measured

        self._proxy = proxy

        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        if (
            proxy == "nginx"
        ):  # as it reloads its configuration it closes connections, and cuts off what has just been sent
            options.append(("grpc.service_config", RETRY))
        else:
            options.append(("grpc.enable_retries", 0))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)

    def __str__(self) -> str:
        return self._proxy

    async def order(self, number: int, takes: float, body: bytes, **_: Any) -> str:
        """Send an order; returns the receipt."""
        receipt: bytes = await self._channel.unary_unary("/shop/order")(f"{number} {takes} ".encode() + body)
        return receipt.decode()

    async def events(self) -> AsyncIterator[int]:
        """The prices; raises if the stream does not end with OK."""
        async for price in self._channel.unary_stream("/shop/prices")(b""):
            yield int(price)

    async def close(self) -> None:
        await self._channel.close()


async def _order(tally: Tally, peer: Any, sizes: tuple[int, int], takes: float, **how: bool) -> None:
    number = next(tally.numbers)
    body = random.randbytes(random.randint(*sizes))
    try:
        async with asyncio.timeout(PATIENCE):
            receipt = await peer.order(number, random.uniform(takes / 2, takes), body, **how)
    except Exception as error:
        tally.lost += 1
        tally.problem(f"order {number} through {peer}, {len(body)} bytes", error)
        return
    if receipt == f"{number} {hashlib.sha256(body).hexdigest()}":
        tally.answered.add(number)
    else:
        tally.failed += 1
        tally.problem(f"order {number} through {peer}", receipt)


async def _stream(tally: Tally, peer: Any, what: str) -> None:
    """Follow the prices until the other end has ended the stream, as it does when its app stops."""
    try:
        count = 0
        async for price in getattr(peer, what)():
            if price != count:
                raise ConnectionError(f"got {price} instead of {count}")
            count += 1
        tally.streams += 1
    except Exception as error:
        tally.broken += 1
        tally.problem(f"{what} through {peer}", error)
    finally:
        await peer.close()


def clients(tally: Tally, proxy: str, port: int, *, grpc: bool) -> list[Coroutine[Any, Any, None]]:
    """The clients of one proxy; each goes on until there is enough."""
    make: Callable[[str, int], Any] = Rpc if grpc else Http

    async def again(step: Callable[[Any], Awaitable[None]]) -> None:
        peer = make(proxy, port)
        while not tally.enough:
            await step(peer)
        await peer.close()

    async def follow(what: str) -> None:
        while not tally.enough:
            await _stream(tally, make(proxy, port), what)

    quick = [lambda peer: _order(tally, peer, (0, 2000), 0)] * 6
    slow = [lambda peer: _order(tally, peer, (0, 2000), 1)] * 4
    uploads = [lambda peer: _order(tally, peer, (100_000, 300_000), 0.1, slowly=True)] * 2
    brief = [lambda peer: _order(tally, peer, (0, 2000), 0, once=True)]
    kinds = ["events"] if grpc else ["events", "follow"]
    streams = [follow(kind) for kind in kinds]
    return [*streams, *(again(step) for step in (*quick, *slow, *uploads, *([] if grpc else brief)))]
