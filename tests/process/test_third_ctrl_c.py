"""What a third Ctrl-C says: everything that is still running is named, each with the line it is stuck at."""

from __future__ import annotations

import signal
import time

import pytest
from support.programs import LOOPS, PRELUDE

FIRST = PRELUDE.count("\n") + 1

#: How each program begins and ends; what hangs is marked with a comment.
SOURCE = """app = App("held", grace=60, debounce=0.05)
{}
app.run(main, loop_factory=LOOP)
"""

MAIN = """
async def main():
    try:
        say("ready")
        await asyncio.sleep(50)
    finally:
        say("hangs")
        await asyncio.sleep(60)  # here
"""

CRITICAL = """
async def main():
    async with app.critical("payment"):
        say("ready")
        asyncio.get_running_loop().call_later(0.1, say, "hangs")
        await asyncio.sleep(50)  # here
"""

PLAIN_TASK = """
async def consume():
    try:
        await asyncio.sleep(50)
    finally:
        say("hangs")
        await asyncio.sleep(60)  # here
async def main():
    task = asyncio.create_task(consume(), name="consumer")
    await asyncio.sleep(0)
    say("ready")
    await asyncio.sleep(50)
"""

CHILD_OF_A_HOOK = """
async def upload():
    say("hangs")
    await asyncio.sleep(60)  # here
@app.on_shutdown
async def archive():
    task = asyncio.create_task(upload(), name="upload")
async def main():
    say("ready")
    await asyncio.sleep(50)
"""

GENERATOR = """
async def rows():
    try:
        yield 1
    finally:
        say("hangs")
        await asyncio.sleep(60)  # here
async def main():
    async for row in rows():
        say("ready")
        await asyncio.sleep(50)
"""

TASK_OF_A_CLIENT = """
@app.resource
async def client():
    async def send():
        await asyncio.sleep(60)  # here
    task = asyncio.create_task(send(), name="sender")
    yield
    say("hangs")
    await task
async def main():
    say("ready")
    await asyncio.sleep(50)
"""

#: The program, what it says is still running, and in which function that is stuck.
CASES = {
    "main": (MAIN, "main at", "main"),
    "main in a critical block": (CRITICAL, "main in critical block 'payment' at", "main"),
    "a plain task": (PLAIN_TASK, "task 'consumer' at", "consume"),
    "the child task of a hook": (CHILD_OF_A_HOOK, "its task 'upload' at", "upload"),
    "an async generator": (GENERATOR, "task 'Task-", "rows"),
    "the task of a client": (TASK_OF_A_CLIENT, "task 'sender' at", "client.<locals>.send"),
}


def press_three_times(program, source, loop):
    """Press Ctrl-C three times, each after the time of an echo; returns how it ended and what it said is running."""
    started = program(source, loop=loop).wait_for("ready").send(signal.SIGINT).wait_for("hangs")
    for _ in range(2):
        time.sleep(0.15)  # not to synchronise: the debounce is a time
        started.send(signal.SIGINT)
    ended = started.end()
    _, _, still_running = ended.err.partition("before its cleanup had finished; still running:\n")
    return ended, still_running.splitlines()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("case", CASES)
def test_what_hangs_is_named_with_its_line(program, loop, case):
    """The message names what hangs, once, and the line in the program's own code that it is stuck at."""
    body, name, function = CASES[case]
    source = SOURCE.format(body)
    line = FIRST + source[: source.index("# here")].count("\n")

    ended, still_running = press_three_times(program, source, loop)

    named = [each.strip() for each in still_running if f".py:{line} in {function}" in each]
    assert -signal.SIGINT == ended.status
    assert 1 == len(named), ended.err
    assert named[0].startswith(name)


def test_all_that_hangs_is_named_main_first(program):
    """Main and its tasks are named together, main first; the list ends with how many more there are."""
    source = SOURCE.format(
        MAIN.replace(
            "    try:\n",
            "    tasks = [asyncio.create_task(refuse(), name=f'{i:02}') for i in range(40)]\n    await asyncio.sleep(0)\n"
            "    try:\n",
        )
        + "async def refuse():\n    try: await asyncio.sleep(50)\n    finally: await asyncio.sleep(60)\n"
    )

    _, still_running = press_three_times(program, source, "asyncio")

    assert still_running[0].strip().startswith("main at")
    assert [f"task '{i:02}'" for i in range(29)] == [each.strip().partition(" at")[0] for each in still_running[1:30]]
    assert "and 11 more" == still_running[30].strip()
