"""The last things in a loop of ours: async generators are closed, and the default executor is emptied, within a limit."""

from __future__ import annotations

import asyncio
import logging

from graceful._core.deadline import Deadline
from graceful._core.types import Cause
from graceful._loop.abandoned import abandon, abandoned
from graceful._loop.executor import DefaultExecutor
from graceful._loop.hidden import start_eagerly
from graceful._loop.waiting import Waiting
from graceful._observe.log import log

__all__ = ["finish"]


async def finish(
    loop: asyncio.AbstractEventLoop,
    executor: DefaultExecutor,
    deadline: Deadline,
    waiting: Waiting,
    cause: Cause | None,
) -> None:
    """
    Close and empty them.

    Args:
        loop: The loop that is about to be closed.
        executor: Its default executor.
        deadline: When everything must be over; async generators get half of what is left.
        waiting: The waits of the run.
        cause: Why the program ends. After a signal, what is still running is named at the forced end instead.
    """
    closing = start_eagerly(asyncio.Task[None], loop.shutdown_asyncgens(), loop, "graceful shutdown_asyncgens")
    await waiting.wait_done([closing], deadline.half_of_rest)
    emptied = await executor.shut_down()
    if emptied and await waiting.wait_done([closing], lambda: deadline.at):
        # One that the program has set in place of ours.
        theirs = start_eagerly(
            asyncio.Task[None], loop.shutdown_default_executor(), loop, "graceful shutdown_default_executor"
        )
        if not await waiting.wait_done([theirs], lambda: deadline.at):
            abandon(theirs)
    if abandoned or not closing.done():  # what they have started, too
        for task in asyncio.all_tasks():
            abandon(task)
    if not closing.done():
        log(logging.WARNING, "async generators did not close in time, and are abandoned")
    if not emptied and cause is not None and cause.signal is None:
        log(logging.WARNING, "jobs in the default executor are still running; the process ends when they do")
