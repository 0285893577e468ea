"""
Jobs in threads: on Ctrl-C the job that has begun is finished before the archive it writes to is closed.

A thread cannot be cancelled. `await asyncio.to_thread(...)` is: main ends at once, and the job runs on without it. So the
shutdown waits for the jobs under way, at most for the time that work has, and only then closes what they use. A job that
takes long looks at `app.stopping` between two steps.

    python examples/15_threads.py

Prints:

    archive: open
    photo 1: begun
    ^C
    main: cancelled
    photo 1: cut short after step 1
    archive: closed, with photo 1

Exit status: death by SIGINT. After SIGTERM it is death by SIGTERM.
"""

import asyncio
import time
from collections.abc import Generator

from graceful import App

app = App("photos")


class Archive:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_open = True

    def add(self, name: str) -> None:
        assert self.is_open, "the archive is closed"
        self.names.append(name)


@app.resource
def archive() -> Generator[Archive]:
    archive = Archive()
    print("archive: open")
    yield archive
    archive.is_open = False
    print("archive: closed, with", ", ".join(archive.names))


def develop(archive: Archive, name: str) -> None:
    """In a thread."""
    print(f"{name}: begun")
    for step in range(1, 10):
        time.sleep(0.5)
        if app.stopping:
            print(f"{name}: cut short after step {step}")
            break
    archive.add(name)


async def main() -> None:
    try:
        for number in range(1, 10):
            await asyncio.to_thread(develop, app.value(archive), f"photo {number}")
    except asyncio.CancelledError:
        print("main: cancelled")
        raise


if __name__ == "__main__":
    app.run(main)
