"""
A shutdown to watch: with rich installed, and on a terminal, the bottom lines show what it is doing and what it waits for.

Press Ctrl-C, and watch the queue drain and two clients close beside each other; the lines say what the next Ctrl-C would do.
Without rich, or off a terminal, there are plain lines, and `GRACEFUL_LIVE=0` asks for those.

    python examples/17_live_view.py

Prints:

    working, press Ctrl-C
    ^C
    3 jobs are done
    search is closed
    mail is closed

Exit status: death by SIGINT.
"""

import asyncio

from graceful import App

app = App("shop", grace=8)


@app.background(drain=True)
async def work() -> None:
    print("working, press Ctrl-C")
    await app.wait_stopping()
    for _ in range(3):
        await asyncio.sleep(0.25)
    print("3 jobs are done")


@app.on_shutdown(after=())
async def close_search() -> None:
    await asyncio.sleep(0.25)
    print("search is closed")


@app.on_shutdown(after=())
async def close_mail() -> None:
    await asyncio.sleep(0.75)
    print("mail is closed")


if __name__ == "__main__":
    app.run()
