"""
Add jobs to the stream that the workers take them from.

    python examples/worker/produce.py 1000
"""

from __future__ import annotations

import asyncio
import random
import sys

from jobs import RESULTS, STREAM, UNREACHABLE, URL, Jobs, connect


async def produce(count: int) -> None:
    async with connect() as redis:
        jobs = Jobs(redis)
        await jobs.open()
        for _ in range(count):
            await jobs.put(seconds=f"{random.uniform(0, 0.02):.4f}")
        print(f"added {count}; not done yet: {await redis.xlen(STREAM)}, done: {await redis.hlen(RESULTS)}")


if __name__ == "__main__":
    try:
        asyncio.run(produce(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
    except UNREACHABLE as error:
        sys.exit(f"produce: there is no Redis at {URL}, set REDIS_URL: {error}")
