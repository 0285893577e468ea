"""
A worker that is proved: it acknowledges a job after it has stored the result, so no job is lost and none is done twice.

The steps are in a `critical` block: the shutdown lets the job at hand end, and cancels the worker between two jobs. The
first test below stops the worker before each step of its loop, in each way that it can be stopped, and lets hooks fail besides.
Without the block it fails, and names the line that the worker waited in. The second one kills the worker before each step.

    python examples/16_worker_explored.py
    pytest examples/16_worker_explored.py

Prints:

    stored: job 1
    SIGTERM while job 2 is being stored
    stored: job 2
    left in the queue: job 3

Exit status: 0.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from graceful import App
from graceful.testing import Fault

if TYPE_CHECKING:
    from graceful.pytest_plugin import GracefulFixture
    from graceful.testing import Result


class Queue:
    """Stands for a broker: a job that was taken and not acknowledged is delivered again."""

    def __init__(self, *jobs: str) -> None:
        self.waiting = list(jobs)
        self.taken: list[str] = []
        self.connected = False

    async def take(self) -> str | None:
        await asyncio.sleep(0.01)
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    async def acknowledge(self, job: str) -> None:
        await asyncio.sleep(0.01)
        self.taken.remove(job)


class Store:
    """Stands for a database."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    async def write(self, job: str) -> None:
        await asyncio.sleep(0.01)
        self.rows.append(job)


def make_app(queue: Queue, store: Store) -> App:
    app = App("worker", grace=4)

    @app.resource
    async def connection() -> AsyncGenerator[None]:
        queue.connected = True
        yield
        queue.connected = False

    @app.background(essential=True)
    async def work() -> None:
        while not app.stopping:
            async with app.critical("job"):
                job = await queue.take()
                if job is None:
                    return
                await store.write(job)
                await queue.acknowledge(job)

    return app


# --- the test, which in a real project is in a file of its own ---


def make() -> tuple[App, None, tuple[Queue, Store]]:
    queue, store = Queue("job 1", "job 2", "job 3"), Store()
    return make_app(queue, store), None, (queue, store)


def check(result: "Result") -> None:
    queue, store = result.state
    assert not queue.connected, "the connection was left open"
    assert not queue.taken, f"{queue.taken} would be delivered again"
    assert sorted(queue.waiting + store.rows) == ["job 1", "job 2", "job 3"]


def test_no_job_is_lost_or_done_twice(graceful: "GracefulFixture") -> None:
    graceful.explore(make, check=check)


def check_what_survives(result: "Result") -> None:
    queue, store = result.state
    assert {*queue.waiting, *queue.taken, *store.rows} == {"job 1", "job 2", "job 3"}


def test_no_job_is_lost_if_it_is_killed(graceful: "GracefulFixture") -> None:
    graceful.explore(make, check=check_what_survives, faults=[Fault.SIGKILL])


# --- the program ---


class TalkingStore(Store):
    """Says what it does, and is interrupted by a SIGTERM."""

    async def write(self, job: str) -> None:
        if job == "job 2":
            print(f"SIGTERM while {job} is being stored")
            signal.raise_signal(signal.SIGTERM)
        await super().write(job)
        print("stored:", job)


if __name__ == "__main__":
    queue = Queue("job 1", "job 2", "job 3")
    make_app(queue, TalkingStore()).run()
    print("left in the queue:", ", ".join(queue.waiting))
