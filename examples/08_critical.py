"""
A critical section: a transfer between two accounts completes, although SIGTERM arrives between its two steps.

The shutdown cancels the task only when the block has ended, or when the time for cancelling tasks is used up.

    python examples/08_critical.py

Prints:

    careless: took 10 from Ann
    careful: took 10 from Cleo
    SIGTERM
    careless: cut in half
    careful: gave 10 to Dan
    balance: Ann 90, Ben 100, Cleo 90, Dan 110

Exit status: 0.
"""

import asyncio
import signal

from graceful import App

app = App("bank")
accounts = {"Ann": 100, "Ben": 100, "Cleo": 100, "Dan": 100}


async def transfer(who: str, payer: str, payee: str) -> None:
    accounts[payer] -= 10
    print(f"{who}: took 10 from {payer}")
    await asyncio.sleep(0.2)  # the other bank is slow, and the signal arrives now
    accounts[payee] += 10
    print(f"{who}: gave 10 to {payee}")


@app.background
async def careless() -> None:
    try:
        await transfer("careless", "Ann", "Ben")
    except asyncio.CancelledError:
        print("careless: cut in half")
        raise


@app.background
async def careful() -> None:
    async with app.critical("transfer"):
        await transfer("careful", "Cleo", "Dan")
    await asyncio.Event().wait()  # cancelled here, after the block


@app.background
async def operator() -> None:
    print("SIGTERM")
    signal.raise_signal(signal.SIGTERM)


@app.on_shutdown
def balance() -> None:
    print("balance:", ", ".join(f"{name} {amount}" for name, amount in accounts.items()))


if __name__ == "__main__":
    app.run()
