"""
A cleanup whose tasks create more tasks: `loop.stop()` in a signal handler loses their work, a shutdown hook does not.

    python examples/04_tasks_in_hooks.py

Prints:

    loop.stop(): SIGTERM
    loop.stop(): over, 0 of 6 messages delivered
    graceful: SIGTERM
    graceful: over, 6 of 6 messages delivered

Exit status: 0. On stderr, from the first half: `Task was destroyed but it is pending!`.
"""

import asyncio
import signal

from graceful import App, Cause

PEERS = ["north", "south", "west"]
delivered: list[str] = []
replies: set[asyncio.Task[None]] = set()


async def deliver(message: str) -> None:
    await asyncio.sleep(0.05)  # the network
    delivered.append(message)


async def take_leave(peer: str) -> None:
    await deliver(f"{peer}, I am leaving")
    replies.add(asyncio.create_task(deliver(f"goodbye, {peer}")))  # nothing awaits this task


async def take_leave_of_all() -> None:
    await asyncio.gather(*[take_leave(peer) for peer in PEERS])


def with_loop_stop() -> None:
    def on_sigterm() -> None:
        print("loop.stop(): SIGTERM")
        replies.add(loop.create_task(take_leave_of_all()))
        loop.stop()  # stops before the task's first step; run_until_complete() here raises "already running"

    loop = asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    loop.call_soon(signal.raise_signal, signal.SIGTERM)
    loop.run_forever()
    loop.close()
    replies.clear()
    print("loop.stop(): over,", len(delivered), "of 6 messages delivered")


app = App("leaving")


@app.on_shutdown
async def leave(cause: Cause) -> None:
    print("graceful:", cause)
    await take_leave_of_all()


@app.background
async def work() -> None:
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    with_loop_stop()
    app.run()
    print("graceful: over,", len(delivered), "of 6 messages delivered")
