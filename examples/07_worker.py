"""
A worker that drains its queue: on SIGTERM it accepts no more jobs, and completes each accepted job exactly once.

A hook with `stage="drain"` runs first, while all tasks still run. A task with `drain=True` is awaited, not cancelled.

    python examples/07_worker.py

Prints:

    done: job 1
    job 2 is under way: SIGTERM
    done: job 2
    done: job 3
    accepted 3, done 3, refused 1

Exit status: 0.
"""

import asyncio
import signal

from graceful import App

app = App("worker")
jobs: asyncio.Queue[str | None] = asyncio.Queue()
closed = asyncio.Event()
accepted: list[str] = []
refused: list[str] = []
done: list[str] = []


def submit(job: str) -> None:
    if closed.is_set():
        refused.append(job)
    else:
        accepted.append(job)
        jobs.put_nowait(job)


@app.on_shutdown
def summary() -> None:
    print(f"accepted {len(accepted)}, done {len(done)}, refused {len(refused)}")


@app.on_shutdown(stage="drain")
def close() -> None:
    closed.set()
    jobs.put_nowait(None)  # after the last job: ends the worker; since Python 3.13: jobs.shutdown()


@app.background(drain=True)
async def work() -> None:
    while job := await jobs.get():
        if job == "job 2":
            print("job 2 is under way: SIGTERM")
            signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        done.append(job)
        print("done:", job)


@app.background
async def customer() -> None:
    for job in "job 1", "job 2", "job 3":
        submit(job)
    await closed.wait()
    submit("job 4")


if __name__ == "__main__":
    app.run()
