"""
How many schedules `graceful.testing.explore` runs in a second, for an app with three resources and a worker.

    python benchmarks/explore.py [PROCESSES]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator

from graceful import App
from graceful.testing import explore

ROUNDS = 5


def make() -> App:
    """Each resource waits once as it is entered and once as it is left; the worker does five jobs and ends the program."""
    app = App("worker", grace=8)

    async def pool() -> AsyncIterator[None]:
        await asyncio.sleep(0.01)
        yield
        await asyncio.sleep(0.01)

    for _ in range(3):
        app.resource(pool)

    @app.background(essential=True)
    async def work() -> None:
        for _ in range(5):
            async with app.critical():
                await asyncio.sleep(0.1)

    return app


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    explored = [explore(make, processes=processes) for _ in range(ROUNDS)]
    for each in explored:
        each.assert_ok()
    rates = [each.runs / each.seconds for each in explored]
    print(f"{explored[0].runs} schedules of {explored[0].steps} steps, {processes} process(es): ", end="")
    print(f"median {statistics.median(rates):.0f} a second, {min(rates):.0f} to {max(rates):.0f}")


if __name__ == "__main__":
    main()
