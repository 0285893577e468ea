"""What stands for the world outside: it keeps what reached it, and notices what must not happen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class World:
    """
    Attributes:
        acked: What the sender was told is safe: it will not send that again.
        written: What is safe.
        open: The names of what is open.
        broken: What happened that must not happen.
    """

    acked: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    async def write(self, *numbers: int) -> None:
        """Takes its time; done at the end of it, and not before."""
        await asyncio.sleep(0.01)
        self.written.extend(numbers)


class Connection:
    """Something that is opened, used and closed once, in this order."""

    def __init__(self, world: World, name: str = "connection") -> None:
        self.name = name
        self.closed = False
        self._world = world
        world.open.add(name)

    async def send(self, what: str) -> None:
        """Two trips: the connection must be open for both."""
        for _ in range(2):
            self._must_be_open(what)
            await asyncio.sleep(0.01)
        self._must_be_open(what)

    async def close(self) -> None:
        """Must not be called twice."""
        self._must_be_open("close")
        await asyncio.sleep(0.01)
        self.close_now()

    def close_now(self) -> None:
        """Without a word to the other side."""
        self.closed = True
        self._world.open.discard(self.name)

    def _must_be_open(self, what: str) -> None:
        if self.closed:
            self._world.broken.append(f"{what}: the {self.name} is closed")
            raise ConnectionError(self._world.broken[-1])
