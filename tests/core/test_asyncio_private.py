"""The private names of asyncio: each is there on this Python, and where one is missing less is noticed and nothing breaks."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from asyncio import tasks

import pytest

from graceful._core import asyncio_private
from graceful._core.asyncio_private import nothing_is_ready


def names() -> list[str]:
    """The names in the table at the top of the room."""
    return re.findall(r"^\| `([\w.]+)`", asyncio_private.__doc__ or "", re.MULTILINE)


async def _running() -> dict[str, object]:
    """An object of each kind, that the names are looked up on."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    gather = asyncio.gather(task)
    async with asyncio.TaskGroup() as group:
        handle = loop.call_soon(print)
        handle.cancel()
        found = {
            "Future": task,
            "Task": task,
            "tasks": tasks,
            "events": asyncio.events,
            "Queue": asyncio.Queue(),
            "TaskGroup": group,
            "Runner": asyncio.Runner(),
            "Handle": handle,
            "BaseEventLoop": loop,
            "gather": gather,
        }
    gather.cancel()
    return found


@pytest.mark.parametrize("name", names())
def test_the_name_is_there(name: str) -> None:
    """This Python has the name; if a new one does not, the table says what is lost, and this test says so first."""

    async def main() -> None:
        found = await _running()
        owner, _, attribute = name.partition(".")
        assert hasattr(found[owner], attribute)
        assert hasattr(found["gather"], "_children")

    asyncio.run(main())


def test_the_table_is_read() -> None:
    """The test above looks at every row."""
    assert len(names()) == 20


#: Takes a name away before the package is imported.
WITHOUT = {
    "tasks._GatheringFuture": "del asyncio.tasks._GatheringFuture",
    "tasks._wait": "saved = asyncio.tasks._wait; asyncio.tasks.wait.__globals__.pop('_wait')",
    "tasks._unregister_task": "del asyncio.tasks._unregister_task",
    "Runner._on_sigint": "del asyncio.Runner._on_sigint",
}

PROGRAM = """
import asyncio, sys
{without}
import graceful
app = graceful.App("lacking", grace=3)

@app.on_shutdown
async def close():
    asyncio.create_task(asyncio.sleep(0.01))
    await asyncio.sleep(0.01)
    print("closed")

@app.on_exception
def heard(failure):
    print("heard", failure.exception)
    return True

async def fail():
    raise OSError("mine")

async def work():
    try:
        async with app.critical("block"):
            await asyncio.sleep(0.05)
            print("whole")
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise

async def main():
    held = asyncio.create_task(work())
    app.create_task(fail())
    await asyncio.sleep(0.01)

app.run(main)
"""


@pytest.mark.parametrize("name", ["tasks._GatheringFuture", "tasks._unregister_task"])
def test_a_program_without_the_name(name: str) -> None:
    """Where asyncio lacks the name, supervised tasks, critical blocks and hooks work as ever."""
    source = PROGRAM.format(without=WITHOUT[name])
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)

    assert ("", 0) == (ended.stderr, ended.returncode)
    assert ["heard mine", "whole", "cancelled", "closed"] == ended.stdout.splitlines()


def test_what_cannot_be_told_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a running `gather` cannot be seen, a failed task is left to asyncio: no false alarm."""
    from graceful._loop.awaited import AwaitedSearch

    async def fail() -> None:
        raise OSError

    async def main() -> None:
        failed = asyncio.ensure_future(fail())
        await asyncio.wait([failed])
        assert ({}, set(), 0.0) == AwaitedSearch().look([failed])
        monkeypatch.setattr(asyncio_private, "GATHER", None)
        assert ({failed: None}, set(), 0.0) == AwaitedSearch().look([failed])
        failed.exception()

    asyncio.run(main())


class Bare:
    """Something that has none of the names."""


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (asyncio_private.has_unretrieved_exception, False),
        (asyncio_private.coroutine_of, None),
        (asyncio_private.source_traceback, ()),
        (asyncio_private.waits_on, None),
        (asyncio_private.abandon_silently, None),
        (asyncio_private.handle_owner, None),
        (asyncio_private.default_executor, None),
        (asyncio_private.shows_default_executor, False),
        (asyncio_private.is_runner_sigint, False),
        (asyncio_private.is_running_gather, False),
    ],
)
def test_an_object_without_the_name(function, expected) -> None:
    """What asks an object that has none of the names gets the answer that leads to doing less."""
    assert expected == function(Bare())


def test_nothing_waits_for_an_object_without_callbacks() -> None:
    """Where a future does not show its callbacks, nothing is known to wait for it; nor does a queue show its futures."""
    assert [] == [*asyncio_private.waiters_of(Bare())]
    assert [] == [*asyncio_private.queued_futures(Bare())]
    assert () == asyncio_private.children_of(Bare())
    assert [] == [*asyncio_private.gathers_around(Bare())]
    assert [] == [*asyncio_private.queues_around(Bare())]


def test_whether_a_loop_has_a_step_to_take():
    """A loop in Python shows it; of another one nothing is known, and that is no yes."""

    async def look():
        loop = asyncio.get_running_loop()
        idle = nothing_is_ready(loop)
        loop.call_soon(int)
        return idle, nothing_is_ready(loop)

    assert (True, False) == asyncio.run(look())
    assert not nothing_is_ready(object())
