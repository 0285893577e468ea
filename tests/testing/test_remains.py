"""What is left of a simulated process: it is closed, or it is kept, and in no case does it run on."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Each swallows what ends a coroutine: one waits on a loop that is gone, one never waits again.
WORKERS = {
    "waits": "await queue.get()",
    "fails": "await (queue.get() if app._run is not None else None)",
    "blocks": "await queue.get() if app._run is not None else time.sleep(3600)",
}

PROGRAM = """\
import asyncio, gc, signal, sys, time
from graceful import App
from graceful.testing import simulate

def make():
    app = App("orders", grace=2)

    @app.background
    async def worker():
        queue = asyncio.Queue()
        while True:
            try:
                {waits}
            except:
                pass

    return app

for number in (signal.SIGTERM, signal.SIGKILL):
    result = simulate(make(), at={{1: number}})
    print(result.exit_status, len(result.left), flush=True)
    del result

gc.collect()
before = time.process_time()
time.sleep(0.5)
print("idle" if time.process_time() - before < 0.25 else "busy", flush=True)
{last}
"""

#: What the interpreter would close as it ends.
HELD = "held = simulate(make(), at={1: signal.SIGKILL})"


@pytest.mark.parametrize("last", ["", HELD], ids=["dropped", "held"])
@pytest.mark.parametrize("worker", WORKERS)
def test_coroutine_that_swallows_everything(worker: str, last: str) -> None:
    """It is left behind, and then stands still: while the program goes on, and when it ends."""
    program = PROGRAM.format(waits=WORKERS[worker], last=last)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (0, ["0 1", "-9 0", "idle"]) == (ended.returncode, ended.stdout.splitlines()), ended.stderr


#: As it is closed, it changes the state that it shares.
FINALLY = """\
import asyncio, gc, signal
from graceful import App
from graceful.testing import simulate

closed = []

async def main():
    try:
        await asyncio.sleep(3600)
    finally:
        closed.append(1)
        await asyncio.sleep(1)
        closed.append(2)

result = simulate(App("orders"), main, at={1: signal.SIGKILL})
print(closed)
del result
gc.collect()
simulate(App("another"), asyncio.sleep(0))
print(closed)
"""


def test_finally_runs_when_the_result_is_gone() -> None:
    """Not before, but as the next simulation begins; and what it awaits there does not hold it up."""
    ended = subprocess.run([sys.executable, "-c", FINALLY], capture_output=True, text=True, timeout=30)
    assert ["[]", "[1]"] == ended.stdout.splitlines(), ended.stderr


#: The collector may come at any time: here where `threading` holds a lock that a new thread needs.
IN_THE_LOCK = """\
import asyncio, signal, threading
from graceful import App
from graceful.testing import simulate

async def main():
    await asyncio.sleep(3600)

result = simulate(App("orders"), main, at={1: signal.SIGKILL})
with threading._active_limbo_lock:
    del result
print("gone")
"""


def test_result_that_is_collected_while_a_lock_is_held() -> None:
    """No thread is started then, which would wait for that lock for ever."""
    ended = subprocess.run([sys.executable, "-c", IN_THE_LOCK], capture_output=True, text=True, timeout=30)
    assert (0, "gone\n") == (ended.returncode, ended.stdout), ended.stderr
