"""
A failing task stops the program, although nothing awaits the task. With plain asyncio, main would wait forever.

    python examples/03_failing_task.py

Prints:

    price 1
    price 2
    alert: task 'prices' failed: the exchange hung up
    main: stopped while it waited
    exchange: closed

Exit status: 1. On stderr: `Traceback`, `ConnectionError: the exchange hung up`.
"""

import asyncio

from graceful import App, Failure

app = App("prices")


@app.on_exception(ConnectionError)
async def alert(failure: Failure) -> None:
    print(f"alert: {failure.message}: {failure.exception}")  # `return True` would keep the program running


@app.on_shutdown
async def close_exchange() -> None:
    print("exchange: closed")


async def follow_prices() -> None:
    for price in 1, 2:
        print("price", price)
        await asyncio.sleep(0.05)
    raise ConnectionError("the exchange hung up")


async def main() -> None:
    app.create_task(follow_prices(), name="prices")
    try:
        await asyncio.Event().wait()
    finally:
        print("main: stopped while it waited")


if __name__ == "__main__":
    app.run(main)
