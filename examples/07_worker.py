"""
A worker that drains its queue: told to stop, it accepts no more, and does each job that it did accept, exactly once.

`stage="drain"` runs first, while the tasks still work; what is `drain=True` is waited for, and not cancelled.

    python examples/07_worker.py

Prints:

    accepted: job 1, job 2, job 3
    done: job 1
    SIGTERM
    refused: job 4
    done: job 2
    done: job 3
    nothing left to do

Exit status: 0.
"""

import asyncio
import signal

from graceful import App, Cause

app = App("worker")
jobs: asyncio.Queue[str | None] = asyncio.Queue()
open_for_jobs = asyncio.Event()


def accept(job: str) -> bool:
    if open_for_jobs.is_set():
        jobs.put_nowait(job)
    return open_for_jobs.is_set()


@app.on_startup
def open_the_door() -> None:
    open_for_jobs.set()


@app.on_shutdown(stage="drain")
def close_the_door(cause: Cause) -> None:
    print(cause)
    open_for_jobs.clear()
    jobs.put_nowait(None)  # behind the last job; from Python 3.13 on: jobs.shutdown()
    print("refused: job 4" if not accept("job 4") else "accepted: job 4")


@app.background(drain=True)
async def work() -> None:
    while job := await jobs.get():
        await asyncio.sleep(0.02)  # the work: a signal may come now
        print("done:", job)


@app.on_shutdown
def disconnect() -> None:
    print("nothing left to do" if jobs.empty() else f"left over: {jobs.qsize()} jobs")  # if the grace was too short
