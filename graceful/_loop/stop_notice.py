"""Telling tasks that the shutdown has begun: `App.sleep` and `App.wait_stopping`."""

from __future__ import annotations

import asyncio
import math
import weakref
from typing import Any

from graceful._core.deadline import Deadline
from graceful._loop.critical import CriticalBlocks
from graceful._loop.hidden import HiddenTask
from graceful._loop.waiting import resolve

__all__ = ["StopNotice"]


class StopNotice:
    """
    The tasks that asked to be told. They are expected to end by themselves, and are cancelled only after their share.

    Args:
        deadline: Says whether the shutdown has begun.
        blocks: Says which task is cancelled in the place of another.
    """

    def __init__(self, deadline: Deadline, blocks: CriticalBlocks) -> None:
        self._deadline = deadline
        self._blocks = blocks
        self._announced = False
        self._told: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._sleeping: set[asyncio.Future[bool]] = set()

    async def sleep(self, delay: float) -> bool:
        """`True` after `delay` seconds, `False` as soon as the shutdown begins."""
        if self._deadline.stopping or self._announced:
            await asyncio.sleep(0)
            return False
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        timer = None if delay == math.inf else loop.call_later(delay, resolve, woken, True)
        self._sleeping.add(woken)
        task = asyncio.current_task()
        if task is not None and not isinstance(task, HiddenTask):  # a hook has a time limit of its own
            self.expect_end_of(task)
        try:
            return await woken
        finally:
            self._sleeping.discard(woken)
            if timer is not None:
                timer.cancel()

    def expect_end_of(self, task: asyncio.Task[Any]) -> None:
        """The task ends by itself, if there is time."""
        self._told.add(self._blocks.cancellable(task))

    def told(self) -> set[asyncio.Task[Any]]:
        """The tasks that asked to be told and have not ended."""
        return {task for task in self._told if not task.done()}

    def announce(self) -> None:
        """The end was announced, or the shutdown has begun: wake all that sleep."""
        self._announced = True
        for woken in self._sleeping:
            resolve(woken, False)
