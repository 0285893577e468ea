"""
Telling tasks that the shutdown has begun: `App.sleep`, `App.wait_stopping` and `App.unless_stopping`.

`unless_stopping` awaits in the caller's own task, and cancels that, as `asyncio.timeout` does. Rejected: a task for the
awaitable, and waiting for whichever is first. If the caller is cancelled while that task ends, its result, perhaps an item
taken from a queue, is lost (`asyncio.wait_for` did that before 3.12); and it costs a task each time.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from graceful._core.deadline import Deadline
from graceful._loop.critical import CriticalBlocks
from graceful._loop.hidden import HiddenTask
from graceful._loop.waiting import resolve

__all__ = ["StopNotice"]

T = TypeVar("T")
D = TypeVar("D")


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
        self._stopping = asyncio.Event()
        self._told: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._sleep_ended: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._sleeping: set[asyncio.Future[bool]] = set()
        self._scopes: set[_Scope] = set()

    @property
    def _is_told(self) -> bool:
        return self._deadline.stopping or self._announced

    async def unless_stopping(self, awaitable: Awaitable[T], default: D) -> T | D:
        """The result of the awaitable, or `default` as soon as the shutdown begins; see `App.unless_stopping`."""
        if self._is_told:
            found: T | D = await _not_awaited(awaitable, default)
            return found
        task = asyncio.current_task()
        assert task is not None
        if not isinstance(task, HiddenTask):  # a hook has a time limit of its own
            self.expect_end_of(task)
        scope = _Scope(task)
        self._scopes.add(scope)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if not scope.was_cancelled_alone():
                raise
            late: T | D = _result_of(awaitable, default)
            return late
        finally:
            scope.leave()
            self._scopes.discard(scope)

    async def sleep(self, delay: float) -> bool:
        """
        `True` after `delay` seconds, `False` as soon as the shutdown begins.

        A task that was told so and sleeps again sleeps `delay` seconds: `while True: ...; await app.sleep(1)` must not spin.
        """
        task = asyncio.current_task()
        assert task is not None
        if self._is_told and (delay == math.inf or task not in self._sleep_ended):
            self._sleep_ended.add(task)
            await asyncio.sleep(0)
            return False
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        timer = None if delay == math.inf else loop.call_later(delay, resolve, woken, not self._is_told)
        if not self._is_told:
            self._sleeping.add(woken)
            if not isinstance(task, HiddenTask):  # a hook has a time limit of its own
                self.expect_end_of(task)
        try:
            slept = await woken
            if not slept:
                self._sleep_ended.add(task)
            return slept
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

    async def wait_begun(self) -> None:
        """Wait until the shutdown has begun; that it was announced is not enough."""
        await self._stopping.wait()

    def begin(self) -> None:
        """The shutdown has begun."""
        self._stopping.set()
        self.announce()

    def announce(self) -> None:
        """The end was announced, or the shutdown has begun: wake all that sleep."""
        self._announced = True
        for woken in self._sleeping:
            resolve(woken, False)
        scopes, self._scopes = self._scopes, set()
        for scope in scopes:
            scope.cancel()


class _Scope:
    """
    The time in which a task awaits something that the shutdown cancels.

    Args:
        task: The task.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self._pending = False
        self._alone = False

    def cancel(self) -> None:
        """The shutdown has begun; called once, while the task is suspended in the scope."""
        self._pending = True
        self._task.cancel()

    def leave(self) -> None:
        """Take the cancellation back, if there was one."""
        if self._pending:
            self._pending = False
            self._alone = self._task.uncancel() <= self._cancelling

    def was_cancelled_alone(self) -> bool:
        """Whether the shutdown has cancelled the task here, and nothing else has."""
        self.leave()
        return self._alone


async def _not_awaited(awaitable: Any, default: Any) -> Any:
    """The shutdown has begun already: what has not begun does not begin, and what runs is cancelled and awaited."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    elif asyncio.isfuture(awaitable) and not awaitable.done():
        awaitable.cancel()
        await asyncio.wait([awaitable])
    await asyncio.sleep(0)
    return _result_of(awaitable, default)


def _result_of(awaitable: Any, default: Any) -> Any:
    """The result, of a future that has one."""
    if not asyncio.isfuture(awaitable) or not awaitable.done() or awaitable.cancelled():
        return default
    if isinstance(awaitable.exception(), asyncio.CancelledError):  # a `gather` that was cancelled
        return default
    return awaitable.result()
