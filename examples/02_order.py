"""
Order and isolation: the hook that was registered last runs first, and the others still run if one fails or hangs.

    python examples/02_order.py

Prints:

    main: done
    server: closing
    server: closed
    queue: waiting for a broker that never answers
    database: closed
    close_server ok
    close_queue timed out
    close_cache raised
    close_database ok

Exit status: 1. On stderr: `ConnectionError: the cache is gone`, `HookTimeout: close_queue timed out`.
"""

import asyncio

from graceful import App

app = App("order")


@app.on_shutdown
async def close_database() -> None:
    print("database: closed")


@app.on_shutdown
async def close_cache() -> None:
    raise ConnectionError("the cache is gone")


@app.on_shutdown(timeout=0.2)
async def close_queue() -> None:
    print("queue: waiting for a broker that never answers")
    await asyncio.Event().wait()


@app.on_shutdown
async def close_server() -> None:
    print("server: closing")
    await asyncio.sleep(0.1)
    print("server: closed")


async def main() -> None:
    print("main: done")


if __name__ == "__main__":
    try:
        app.run(main)
    finally:
        assert app.report is not None
        for outcome in app.report.outcomes:
            print(outcome.hook, outcome.verdict)
