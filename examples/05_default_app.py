"""
No App object: `run(main())` is a drop-in for `asyncio.run(main())`, and a script only adds decorators for its hooks.

    python examples/05_default_app.py

Prints:

    connected
    working
    disconnected
    the answer is 42

Exit status: 0.
"""

import asyncio

from graceful import on_shutdown, on_startup, run


@on_startup
async def connect() -> None:
    print("connected")


@on_shutdown
async def disconnect() -> None:
    await asyncio.sleep(0.1)
    print("disconnected")


async def main() -> int:
    print("working")
    return 42


if __name__ == "__main__":
    print("the answer is", run(main()))
