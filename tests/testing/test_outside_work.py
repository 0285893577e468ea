"""What works outside the loop while virtual time stands still: threads, pools and child processes."""

from __future__ import annotations

import asyncio
import ctypes
import platform
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from support.blocking import work

from graceful import App
from graceful.testing import simulate

POOLS = [ThreadPoolExecutor, ProcessPoolExecutor]


class MyExecutor(Executor):
    """As a program may write one: a thread for each job."""

    def submit(self, function, /, *args):
        future: Future[str] = Future()

        def run() -> None:
            future.set_result(function(*args))

        threading.Thread(target=run, daemon=True).start()
        return future


@pytest.mark.parametrize("pool", [*POOLS, MyExecutor])
def test_job_that_the_loop_submits(pool) -> None:
    """It is passed on as it is, so that it can be pickled."""

    async def main() -> str:
        with pool() as executor:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(executor, work), 60)

    result = simulate(App("orders"), main)
    assert ("done", None) == (result.value, result.raised)
    assert result.took < 30


@pytest.mark.parametrize("limit", [None, 60], ids=["without a limit", "with a limit"])
@pytest.mark.parametrize("pool", POOLS)
def test_job_that_the_program_submits(pool, limit: float | None) -> None:
    """The loop does not hear of it; its pool does."""

    async def main() -> str:
        with pool(1) as executor:
            return await asyncio.wait_for(asyncio.wrap_future(executor.submit(work)), limit)

    result = simulate(App("orders"), main)
    assert ("done", None) == (result.value, result.raised)


@pytest.mark.parametrize("pool", POOLS)
def test_pool_that_is_older_than_the_simulation(pool) -> None:
    """It works while it has a job, and no longer: an hour still passes at once."""
    with pool(1) as executor:
        executor.submit(int).result()  # its worker may still be on its way back

        async def main() -> str:
            await asyncio.sleep(3600)
            value = await asyncio.wait_for(asyncio.wrap_future(executor.submit(work)), 60)
            await asyncio.sleep(3600)
            return value

        result = simulate(App("orders"), main)
    assert ("done", None) == (result.value, result.raised)
    assert 7200 <= result.took < 7230


def test_pool_whose_older_job_ends_in_the_simulation() -> None:
    """What a pool did before does not count; what it does afterwards does."""
    leave = threading.Event()

    def poll() -> None:
        while not leave.is_set():
            time.sleep(0.001)

    with ThreadPoolExecutor(1) as executor:
        older = executor.submit(poll)

        async def main() -> str:
            await asyncio.sleep(3600)
            leave.set()
            older.result()
            await asyncio.sleep(3600)
            return await asyncio.wait_for(asyncio.wrap_future(executor.submit(work)), 60)

        result = simulate(App("orders"), main)
    assert ("done", None) == (result.value, result.raised)
    assert 7200 <= result.took < 7230


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how a mutex is waited for is known for glibc")
def test_thread_that_waits_for_a_mutex_works() -> None:
    """The interpreter's lock has one inside, so a thread that has just been woken may be seen there."""
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)  # all zeros: PTHREAD_MUTEX_INITIALIZER
    libc.pthread_mutex_lock(mutex)
    locking = threading.Event()

    def unlock() -> None:
        locking.wait()
        time.sleep(0.2)
        libc.pthread_mutex_unlock(mutex)

    def lock() -> str:
        locking.set()
        libc.pthread_mutex_lock(mutex)
        return "done"

    unlocking = threading.Thread(target=unlock)
    unlocking.start()
    with ThreadPoolExecutor(1) as executor:

        async def main() -> str:
            return await asyncio.wait_for(asyncio.wrap_future(executor.submit(lock)), 60)

        result = simulate(App("orders"), main)
    unlocking.join()
    assert ("done", None) == (result.value, result.raised)


def test_job_that_is_cancelled_before_it_begins() -> None:
    """Nothing works on it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            first = loop.run_in_executor(executor, work)
            loop.run_in_executor(executor, work).cancel()
            await first
        await asyncio.sleep(3600)

    began_at = time.monotonic()
    result = simulate(App("orders"), main)
    assert result.raised is None
    assert time.monotonic() - began_at < 30


def test_thread_is_waited_for_while_an_older_one_ends() -> None:
    """They are told apart, and not counted."""
    leave = threading.Event()
    older = threading.Thread(target=leave.wait)
    older.start()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()

        def run() -> None:
            leave.set()
            while older.is_alive():
                time.sleep(0.001)
            loop.call_soon_threadsafe(done.set_result, work())

        threading.Thread(target=run).start()
        return await asyncio.wait_for(done, 60)

    result = simulate(App("orders"), main)
    assert ("done", None) == (result.value, result.raised)
