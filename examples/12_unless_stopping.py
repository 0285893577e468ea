"""
Workers that stop between two jobs: on SIGTERM none is cancelled, no new job is begun, and what is left is handed back.

`app.unless_stopping(queue.get())` is the next job, or `None` as soon as the shutdown begins. `app.value(store)` is what the
resource has yielded, and `current_app()` the app for code that has no reference to it.

    python examples/12_unless_stopping.py

Prints:

    store opened
    job 1 done
    SIGTERM while job 2 is under way
    job 2 done
    handed back: job 3, job 4
    store closed: 2 jobs done

Exit status: 0.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator

from graceful import App, current_app

app = App("worker")
queue: asyncio.Queue[str] = asyncio.Queue()


@app.resource
async def store() -> AsyncGenerator[list[str]]:
    done: list[str] = []
    print("store opened")
    yield done
    print(f"store closed: {len(done)} jobs done")


@app.on_shutdown
def hand_back() -> None:
    left = [queue.get_nowait() for _ in range(queue.qsize())]
    print("handed back:", ", ".join(left))


async def perform(job: str) -> None:
    await asyncio.sleep(0.05)
    current_app().value(store).append(job)
    print(job, "done")


@app.background(essential=True)
async def work() -> None:
    while job := await app.unless_stopping(queue.get()):
        if job == "job 2":
            print("SIGTERM while job 2 is under way")
            signal.raise_signal(signal.SIGTERM)
        await perform(job)


if __name__ == "__main__":
    for number in range(1, 5):
        queue.put_nowait(f"job {number}")
    app.run()
