"""
Hello: one shutdown hook that awaits, and runs to completion before the loop stops.

    python examples/01_hello.py, then Ctrl-C

Prints:

    hello, world
    ^C
    saying goodbye
    goodbye, world

Exit status: death by SIGINT, as for any program that Ctrl-C ends, without a traceback.
"""

import asyncio

from graceful import App

app = App("hello")


@app.on_shutdown
async def say_goodbye() -> None:
    print("saying goodbye")
    await asyncio.sleep(0.1)
    print("goodbye, world")


async def main() -> None:
    print("hello, world")
    await app.wait_stopping()


if __name__ == "__main__":
    app.run(main)
