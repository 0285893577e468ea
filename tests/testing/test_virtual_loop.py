"""A simulation beside all else: nothing of the process is touched, and it works wherever a test does."""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from graceful import App
from graceful._core import clock
from graceful.testing import simulate
from graceful.testing._virtual_loop import NothingToWaitFor, VirtualLoop

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def work() -> None:
    await asyncio.sleep(3600)


def interrupted() -> float:
    """A simulation with a signal; returns how long it took."""
    result = simulate(App("orders"), work, at={1.5: signal.SIGTERM})
    result.assert_exit(-signal.SIGTERM)
    return result.took


def process_state() -> object:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return [signal.getsignal(number) for number in NUMBERS], fd, clock.now() - time.monotonic() < 1


def test_loop_by_itself() -> None:
    """It begins at 0, and jumps to each timer exactly."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.run_until_complete(asyncio.sleep(0.2))
        assert loop.time() == 0.1 + 0.2
        with pytest.raises(NothingToWaitFor, match="nothing will happen"):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()


def test_nothing_of_the_process_is_touched() -> None:
    """Handlers, wakeup fd and clock are as they were: during the run, and after it."""
    before, during = process_state(), []

    async def look() -> None:
        during.extend(signal.getsignal(number) for number in NUMBERS)
        await asyncio.sleep(1)

    simulate(App("orders"), look)
    assert during == before[0]
    assert process_state() == before
    assert [each for each in threading.enumerate() if each.name == "simulation"] == []


def test_in_a_running_loop() -> None:
    """An async test may call it; its loop runs in real time before and after."""

    async def test() -> float:
        began_at = asyncio.get_running_loop().time()
        took = interrupted()
        await asyncio.sleep(0.05)
        assert 0.04 < asyncio.get_running_loop().time() - began_at < 30
        return took

    assert asyncio.run(test()) == 1.5


def test_in_a_simulation() -> None:
    """One may run in another one; each has its own time."""

    async def outer() -> None:
        await asyncio.sleep(10)
        assert interrupted() == 1.5
        await asyncio.sleep(10)

    assert simulate(App("outer"), outer).took == 20


def test_in_threads_beside_a_real_run() -> None:
    """Each has its own clock, and an app that runs for real keeps the real one and its signal handlers."""
    app = App("real", grace=3)

    async def real() -> tuple[list[float], float]:
        began_at = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            loop = asyncio.get_running_loop()
            took = await asyncio.gather(*(loop.run_in_executor(pool, interrupted) for _ in range(6)))
        assert app.stopping is False
        await app.sleep(0.05)
        return took, time.monotonic() - began_at

    took, real_time = app.run(real)
    assert took == [1.5] * 6
    assert real_time > 0.04


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a thread waits for")
def test_thread_that_waits_for_work_and_works() -> None:
    """A client's own thread, a daemon: while it works time is real, and while it waits for an item an hour is nothing."""
    app, jobs = App("client"), queue.SimpleQueue()

    def work() -> None:
        while (future := jobs.get()) is not None:
            time.sleep(0.05)
            future.get_loop().call_soon_threadsafe(future.set_result, "done")

    async def main() -> list[str]:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        results = []
        for _ in range(2):
            future = asyncio.get_running_loop().create_future()
            jobs.put(future)
            async with asyncio.timeout(3600):
                results.append(await future)
            await asyncio.sleep(3600)
        jobs.put(None)
        thread.join()
        return results

    began_at = time.monotonic()
    result = simulate(app, main)

    assert result.value == ["done", "done"]
    assert 7200 <= result.took < 7210
    assert time.monotonic() - began_at < 30
    assert result.left == ()
