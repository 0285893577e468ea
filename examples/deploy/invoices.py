"""
A batch job: one invoice after the other. If it is stopped, the invoice at hand is written, and the rest is left for the next start.

What has been done is kept in a file, so a job that is started again goes on where the last one was stopped. A job that was cut
short dies by SIGTERM: its status is not 0, and Kubernetes does not take it for complete.

    python invoices.py 10 done.txt
"""

import asyncio
import sys
from pathlib import Path

from graceful import App

app = App("invoices")


async def write(number: int, done: Path) -> None:
    async with app.critical(f"invoice {number}"):  # the shutdown waits for the end of this block before it cancels main
        await asyncio.sleep(0.5)
        with done.open("a") as file:
            file.write(f"{number}\n")
        print("written:", number)


def written(done: Path) -> int:
    return done.read_text().count("\n") if done.exists() else 0


async def main(count: int, done: Path) -> None:
    for number in range(written(done) + 1, count + 1):
        await write(number, done)
    print("complete")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python invoices.py COUNT FILE", file=sys.stderr)
        sys.exit(2)
    app.run(main(int(sys.argv[1]), Path(sys.argv[2])))
