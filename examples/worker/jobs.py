"""
Jobs in a Redis stream, for any number of workers.

- A job is an entry of the stream. The consumer group gives each entry to one worker and remembers which, until the worker
  acknowledges it. So a job that was taken and not completed is never lost: Redis knows who has it, and since when.
- The result and the acknowledgement are one transaction (MULTI). A worker that dies has stored both or none of them.
- A worker that stops hands back what it has taken and not completed. What a killed worker had is claimed by another one
  after `ABANDONED` seconds (XAUTOCLAIM). There is no lock that could outlive it.

Needs Redis 7 or Valkey, and redis-py. Redis itself must not lose what it has acknowledged: `appendonly yes`.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
STREAM, GROUP, RESULTS = "jobs", "workers", "results"

#: Seconds that a job may take; the worker gives up on one that takes longer.
LONGEST = float(os.environ.get("WORKER_LONGEST", "5"))

#: Seconds after which a job that was not completed is given to another worker. No job takes that long, so its worker is gone.
ABANDONED = 2 * LONGEST

#: Seconds after which Redis forgets the name of a worker that is gone.
FORGOTTEN = 86_400

#: Milliseconds that Redis keeps a request for a new job open. Less than the `socket_timeout` of redis-py, which is 5 s.
BLOCK = 2000

#: What it means that Redis cannot be reached.
UNREACHABLE = (RedisConnectionError, RedisTimeoutError)


def connect() -> Redis:
    """A client for the Redis at `URL`; it connects when it is used."""
    return Redis.from_url(URL, decode_responses=True)  # pyright: ignore[reportUnknownMemberType] # redis-py's `**kwargs`


class Job(NamedTuple):
    id: str
    fields: dict[str, str]


class Jobs:
    """
    The stream, as one worker sees it.

    Args:
        redis: A client with `decode_responses=True`.
        name: What this worker is called, and no other one that runs; `None`: the host's name and the process's number.
    """

    def __init__(self, redis: Redis, name: str | None = None) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._redis: Any = redis  # redis-py's types are those of each version of the protocol at once
        self._cursor = "0-0"

    async def open(self) -> None:
        """Create the stream and the group, if they are not there yet; forget workers that have been gone for long."""
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        for worker in await self._redis.xinfo_consumers(STREAM, GROUP):
            if not worker["pending"] and worker["idle"] > FORGOTTEN * 1000:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, worker["name"])

    async def put(self, **fields: str) -> str:
        """Add a job. No MAXLEN: it would throw away jobs that nobody has done."""
        return str(await self._redis.xadd(STREAM, fields))

    async def take(self) -> Job | None:
        """
        Wait for the next job: one that was abandoned, or else a new one. `None`: there was none for two seconds.

        May be cancelled. Redis may have given this worker a job by then: `hand_back` finds it.
        """
        found = await self._redis.xautoclaim(STREAM, GROUP, self.name, int(ABANDONED * 1000), self._cursor, count=1)
        self._cursor = found[0]
        entries: list[Any] = found[1]
        if not entries:
            streams: list[Any] = await self._redis.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=1, block=BLOCK)
            entries = streams[0][1] if streams else []
        return Job(*entries[0]) if entries else None

    async def complete(self, job: Job, result: str) -> None:
        """Store the result and take the job off the stream: both, or neither. If it was done before, the first result stays."""
        async with self._redis.pipeline(transaction=True) as transaction:
            transaction.hsetnx(RESULTS, job.id, result)
            transaction.xack(STREAM, GROUP, job.id)
            transaction.xdel(STREAM, job.id)
            await transaction.execute()

    async def hand_back(self) -> list[str]:
        """
        Let other workers have what this one has taken and not completed, at once: mark it as abandoned long ago.

        Not by XGROUP DELCONSUMER: Redis would forget what the worker has taken, and nobody would get it.
        """
        pending = await self._redis.xpending_range(STREAM, GROUP, "-", "+", count=100, consumername=self.name)
        left = [str(entry["message_id"]) for entry in pending]
        if left:
            idle = int(ABANDONED * 1000) + 1
            await self._redis.xclaim(STREAM, GROUP, self.name, 0, left, idle=idle, justid=True)
        return left
