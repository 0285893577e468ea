"""Processes of a pool do not outlive a forced end."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.programs import LOOPS
from support.remains import wait_gone

TEXT = """
import concurrent.futures, multiprocessing
def job():
    say("worker", os.getpid())
    say("ready")
    time.sleep(60)
app = App("pooled", grace=2, debounce=0)
async def main():
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    await asyncio.get_running_loop().run_in_executor(pool, job)
app.run(main, loop_factory=LOOP)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_job_that_outlasts_the_grace(program, loop):
    """A process pool's job takes longer than the grace: at the forced end its process is terminated, and named."""
    started = program(TEXT, loop=loop, env={"PYTHONWARNINGS": "ignore"}).wait_for("ready").send(signal.SIGTERM)
    ended = started.end(timeout=10)
    pid = int(ended.lines[0].split()[1])
    assert 70 == ended.status
    assert f"(pid {pid}), which is terminated" in ended.err
    assert wait_gone(pid)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_third_ctrl_c_after_the_run(program):
    """It cuts an atexit callback short, and terminates the worker that Python would have waited for."""
    text = """
import atexit, multiprocessing.util
app = App("working", grace=20, debounce=0.05)
def work():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("worker", os.getpid())
    say("ready")
    time.sleep(60)
@atexit.register
def slow():
    say("ending")
    time.sleep(60)
async def main():
    multiprocessing.get_context("fork").Process(target=work).start()
    await asyncio.sleep(60)
app.run(main)
"""
    started = program(text, env={"PYTHONWARNINGS": "ignore"}).wait_for("ready").send(signal.SIGINT).wait_for("ending")
    for _ in range(2):
        time.sleep(0.15)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end(timeout=10)
    pid = int(ended.lines[0].split()[1])
    assert -signal.SIGINT == ended.status
    assert wait_gone(pid)
