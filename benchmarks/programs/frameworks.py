"""
The frameworks behind one interface: run a coroutine to completion, or serve until SIGTERM.

Only the framework in use is imported, because the whole process is measured.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graceful import App

Work = Callable[[], Coroutine[Any, Any, None]]
#: Starts a task in the framework's own way.
Spawn = Callable[[Work], object]
Main = Callable[[Spawn], Coroutine[Any, Any, None]]

logging.disable()  # some frameworks log the signal

GRACEFUL = ("graceful", "unwatched", "supervised")


def spawn(work: Work) -> object:
    return asyncio.get_running_loop().create_task(work())


def app_for(framework: str) -> tuple[App, Spawn]:
    """An app with a long grace, and the way it starts a task: plain, plain and unwatched, or supervised."""
    from graceful import App

    app = App("benchmark", grace=3600, patience=None if framework == "unwatched" else 1.0)
    return app, (lambda work: app.create_task(work())) if framework == "supervised" else spawn


async def in_task_group(main: Main) -> None:
    async with asyncio.TaskGroup() as group:
        await main(lambda work: group.create_task(work()))


async def in_anyio_group(main: Main) -> None:
    import anyio

    async with anyio.create_task_group() as group:
        await main(group.start_soon)
        group.cancel_scope.cancel()


def complete(framework: str, main: Main) -> None:
    """Run main to completion."""
    if framework in GRACEFUL:
        app, start = app_for(framework)
        app.run(main(start))
    elif framework == "TaskGroup":
        asyncio.run(in_task_group(main))
    elif framework == "anyio":
        import anyio

        anyio.run(in_anyio_group, main)
    elif framework == "aiorun":
        import aiorun

        async def main_and_stop() -> None:
            await main(spawn)
            asyncio.get_running_loop().stop()

        aiorun.run(main_and_stop())
    elif framework == "aiomisc":
        import aiomisc

        with aiomisc.entrypoint() as loop:
            loop.run_until_complete(main(spawn))
    elif framework == "uvloop":
        import uvloop

        uvloop.run(main(spawn))
    elif framework == "graceful-uvloop":
        import uvloop

        app_for(framework)[0].run(main(spawn), loop_factory=uvloop.new_event_loop)
    else:
        asyncio.run(main(spawn))


def serve(framework: str, prepare: Callable[[Spawn], None]) -> None:
    """Run until SIGTERM; print a line once `prepare` was called and the tasks it spawned have started."""

    async def begin(start: Spawn = spawn) -> None:
        prepare(start)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        print("ready", flush=True)

    async def until_told(start: Spawn = spawn) -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        await begin(start)
        await told.wait()

    if framework in GRACEFUL:
        app, start = app_for(framework)
        app.background(functools.partial(begin, start))
        app.run()
    elif framework == "aiorun":
        import aiorun

        aiorun.run(begin())
    elif framework == "aiomisc":
        import aiomisc

        with aiomisc.entrypoint() as loop:
            loop.run_until_complete(begin())
            loop.run_forever()
    else:
        complete(framework, until_told)
