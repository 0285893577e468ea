"""
A worker that takes jobs from a Redis stream: none is lost, and no stop has one done twice. Start as many as you like.

    python examples/worker/worker.py        # until Ctrl-C or SIGTERM

The shutdown interrupts the wait for a job at once, and waits for the end of a job: that is what `critical` is for. Why not
`background(drain=True)`? It waits for the end of the whole task, so an idle worker would stop only when Redis has answered.

The numbers fit together: a job may take `LONGEST` seconds (5), the shutdown has 6 s for the one under way (0.75 of the grace of
8), and a job that was not completed after `ABANDONED` seconds (10) has no worker any more.

SIGKILL, a crash or a power cut may leave a job half done. Another worker does it again, so what a job does must stand a second
time, such as a mail with a `Message-ID` made from the job's. Its result is stored once in any case.

Exit status: 0 after SIGTERM; after Ctrl-C it dies by SIGINT; 1, with one line, where Redis cannot be reached.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

from jobs import LONGEST, UNREACHABLE, URL, Job, Jobs, connect
from redis.asyncio import Redis

from graceful import App

app = App("worker", grace=8, drain_share=0.75)


@app.resource
async def connection() -> AsyncGenerator[Redis]:
    async with connect() as redis:
        yield redis


@app.resource
async def queue() -> AsyncGenerator[Jobs]:
    jobs = Jobs(app.value(connection))
    await jobs.open()
    print(f"{jobs.name} is ready", flush=True)
    yield jobs
    for left in await jobs.hand_back():
        print(f"{jobs.name} handed back {left}", flush=True)


@app.background
async def work() -> None:
    jobs = app.value(queue)
    while not app.stopping:
        job = await jobs.take()  # interrupted when the shutdown begins
        if job is not None:
            async with app.critical(job.id):  # this is not
                await jobs.complete(job, f"{await perform(job)} by {jobs.name}")


async def perform(job: Job) -> str:
    """Do a job. If it fails, that is its result: the next one may be fine."""
    try:
        async with asyncio.timeout(LONGEST):
            await send(job)
    except Exception as error:  # whatever is wrong with it
        return f"failed ({error!r})"
    return "sent"


async def send(job: Job) -> None:
    """Stands for a mail: once begun it cannot be taken back, and no transaction covers it."""
    await app.value(connection).hincrby("sendings", job.id, 1)
    await asyncio.sleep(float(job.fields["seconds"]))


if __name__ == "__main__":
    try:
        app.run()
    except UNREACHABLE as error:
        sys.exit(f"worker: there is no Redis at {URL}, set REDIS_URL: {error}")
