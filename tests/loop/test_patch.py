"""Patched methods of the loop, beside somebody who patches them, too."""

from __future__ import annotations

import asyncio

import pytest

from graceful import App
from graceful._loop.patch import patch_method


class Library:
    """One that puts its own method over the loop's, as a tracer does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls = 0
        below = loop.create_task

        def create_task(coro, **options):
            self.calls += 1
            return below(coro, **options)

        loop.create_task = create_task


async def fail_after(go: asyncio.Event | None) -> None:
    if go is not None:
        await go.wait()
    raise ValueError("mine")


def counting(calls: list[str], name: str):
    def wrap(below):
        def create_task(coro, **options):
            calls.append(name)
            return below(coro, **options)

        return create_task

    return wrap


@pytest.mark.parametrize("order", ["app ends last", "app ends first"])
def test_a_library_that_patches_while_an_app_runs(order):
    """Its method stays when the app ends, and an app that begins then is told of each task, once."""

    async def main():
        loop = asyncio.get_running_loop()
        calls: list[str] = []
        unpatch = patch_method(loop, "create_task", counting(calls, "first app"))
        library = Library(loop)
        if order == "app ends first":
            unpatch()
        unpatch_second = patch_method(loop, "create_task", counting(calls, "second app"))
        await loop.create_task(asyncio.sleep(0))
        assert (library.calls, calls.count("second app")) == (1, 1)

        unpatch_second()
        if order == "app ends last":
            unpatch()
        await loop.create_task(asyncio.sleep(0))
        assert (library.calls, calls.count("second app")) == (2, 1)

    asyncio.run(main())


@pytest.mark.parametrize("patched", [False, True], ids=["alone", "a library has patched, too"])
def test_a_task_of_later(patched):
    """When the app is over it watches no task, neither an old one nor a new one: the program may retrieve its error late."""

    async def main():
        loop = asyncio.get_running_loop()
        reported: list[str] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        go = asyncio.Event()
        async with App("first", patience=0.05, signals=()):
            if patched:
                Library(loop)
            old = loop.create_task(fail_after(go))
            job = loop.run_in_executor(None, asyncio.run, fail_after(None))
        go.set()
        tasks = [old, loop.create_task(fail_after(go))]
        async with App("second", patience=None, signals=()):
            await asyncio.sleep(0.3)  # six times the patience of the first
        assert [str(each) for each in await asyncio.gather(*tasks, job, return_exceptions=True)] == ["mine"] * 3
        assert reported == []

    asyncio.run(main())


def test_nothing_is_left():
    """The loop's own method is its class's again, in whatever order the apps end."""

    async def main():
        loop = asyncio.get_running_loop()
        calls: list[str] = []
        first, second = (patch_method(loop, "create_task", counting(calls, name)) for name in ("first", "second"))
        await loop.create_task(asyncio.sleep(0))
        first()
        await loop.create_task(asyncio.sleep(0))
        second()
        await loop.create_task(asyncio.sleep(0))
        assert sorted(calls) == ["first", "second", "second"]
        assert "create_task" not in vars(loop)

    asyncio.run(main())
