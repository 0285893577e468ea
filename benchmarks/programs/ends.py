"""
A program that is to end well, written with one of several libraries as its documentation shows: `ends.py LIBRARY SITUATION`.

It says "ready" when it can be stopped, and "cleaning up" when its cleanup begins. There are two resources, which are left in
reverse order, and each says when it is clean. In the situation `hanging` the cleanup of the inner one never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]

#: Seconds of cleanup that a library is told to allow, where it can be told.
GRACE = 8


def say(text: str) -> None:
    print(text, flush=True)


# --- what the program does -------------------------------------------------------------------------------------------


async def wait() -> None:
    say("ready")
    await asyncio.sleep(3600)


async def block() -> None:
    say("ready")
    time.sleep(3600)  # noqa: ASYNC251 - the fault


async def fail() -> None:
    say("ready")
    await asyncio.sleep(0.1)
    raise ConnectionError


def job(seconds: float) -> None:
    say("ready")
    time.sleep(seconds)
    say("job done")


async def use_thread() -> None:
    await asyncio.to_thread(job, 1)


async def get_stuck() -> None:
    await asyncio.to_thread(job, 3600)


WORK: dict[str, Work] = {
    "blocked": block,
    "failing": fail,
    "thread": use_thread,
    "stuck-thread": get_stuck,
}


async def leave_inner(situation: str) -> None:
    say("cleaning up")
    await asyncio.sleep(3600 if situation == "hanging" else 0.3)
    say("inner is clean")


async def leave_outer() -> None:
    say("outer is clean")


# --- how each library runs it ----------------------------------------------------------------------------------------


def with_graceful(work: Work, situation: str) -> None:
    from graceful import App

    app = App("program", grace=GRACE)
    app.on_shutdown(leave_outer)

    @app.on_shutdown
    async def inner() -> None:
        await leave_inner(situation)

    app.background(work)
    app.run()


@contextlib.asynccontextmanager
async def resources(situation: str) -> AsyncIterator[None]:
    """As anybody writes them."""
    try:
        try:
            yield
        finally:
            await leave_inner(situation)
    finally:
        await leave_outer()


def by_hand(work: Work, situation: str) -> None:
    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        async with resources(situation), asyncio.TaskGroup() as group:
            group.create_task(work())

    asyncio.run(main())


def with_anyio(work: Work, situation: str) -> None:
    import anyio

    async def listen(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for _ in received:
                scope.cancel()
                return

    async def main() -> None:
        try:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(listen, group.cancel_scope)
                    group.start_soon(work)
            finally:
                with anyio.move_on_after(GRACE / 2, shield=True):
                    await leave_inner(situation)
        finally:
            with anyio.move_on_after(GRACE / 2, shield=True):
                await leave_outer()

    anyio.run(main)


def with_aiorun(work: Work, situation: str) -> None:
    import aiorun

    async def main() -> None:
        async with resources(situation):
            await work()

    aiorun.run(main(), stop_on_unhandled_errors=True, timeout_task_shutdown=GRACE)


def with_fastapi(work: Work, situation: str) -> None:
    import uvicorn
    from fastapi import FastAPI

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with resources(situation):
            task = asyncio.create_task(work())
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    uvicorn.run(FastAPI(lifespan=lifespan), port=0, log_level="critical", timeout_graceful_shutdown=GRACE)


LIBRARIES = {
    "graceful": with_graceful,
    "by-hand": by_hand,
    "anyio": with_anyio,
    "aiorun": with_aiorun,
    "fastapi": with_fastapi,
}

if __name__ == "__main__":
    LIBRARIES[sys.argv[1]](WORK.get(sys.argv[2], wait), sys.argv[2])
