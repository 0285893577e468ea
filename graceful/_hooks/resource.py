"""
Resources: each lives in one task, from its first half to its second.

One task, so that an `async with`, a `TaskGroup` or a cancel scope around the `yield` is left by the task that entered it,
and so that a child that fails inside such a group cancels the resource and nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from typing import Any

from graceful._core.errors import HookError
from graceful._core.marks import calls_user_code
from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.ownership import Owner
from graceful._loop.waiting import resolve

__all__ = ["ResourceTask"]


class ResourceTask:
    """
    A resource that was entered, or is about to be.

    Args:
        hook: What makes it: a hook whose function is a generator function.
        owner: What it starts belongs to it.

    Attributes:
        hook: The same.
        owner: The same.
        entered: Done when its first half is over, however that ended.
        value: What it yielded; `None` before that, and once its second half has begun.
    """

    def __init__(self, hook: Hook, owner: Owner) -> None:
        loop = asyncio.get_running_loop()
        self.hook = hook
        self.owner = owner
        self.entered: asyncio.Future[None] = loop.create_future()
        self.value: Any = None
        self._has_yielded = False
        self._leave: asyncio.Future[HookRun] = loop.create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def inside(self) -> bool:
        """Whether its first half is over, and its second is owed."""
        return not self.task.done() and self.entered.done()

    @property
    def usable(self) -> bool:
        """Whether its first half is over, and its second has not begun."""
        return self.inside and not self._leave.done()

    @property
    def task(self) -> asyncio.Task[None]:
        """The task it lives in, once it was told to enter."""
        assert self._task is not None
        return self._task

    def enter(self, run: HookRun) -> asyncio.Task[None]:
        """Start its first half."""
        task = hide_from_all_tasks(HiddenTask(self._live(run), name=f"graceful {self.hook.name}"))
        task.add_done_callback(lambda _: resolve(self.entered, None))
        self._task = run.lives_in(task)
        return task

    def leave(self, run: HookRun) -> asyncio.Task[None]:
        """Start its second half; the task is done when that is over."""
        if not self._leave.done():
            self._leave.set_result(run)
        return run.lives_in(self.task)

    async def _live(self, run: HookRun) -> None:
        generator = self.hook.function()
        await run.carry_out(self._enter(generator))
        if not self._has_yielded:  # one that was out of time may have yielded all the same
            return
        resolve(self.entered, None)
        try:
            run = await self._leave
        except asyncio.CancelledError as cancelled:
            # A group or a scope around the yield cancels it here, and must see the cancellation in order to end.
            await self._throw(generator, cancelled)
            return
        await run.carry_out(self._exit(generator))

    async def _enter(self, generator: Any) -> None:
        if not await self._step(generator):
            raise HookError(f"{self.hook} must yield once, and ended before its yield")
        self._has_yielded = True

    async def _exit(self, generator: Any) -> None:
        self.value = None
        if await self._step(generator):
            await self._throw(generator, GeneratorExit())
            raise HookError(f"{self.hook} must yield once, and came to a second yield")

    @calls_user_code
    async def _step(self, generator: Any) -> bool:
        """Go on to the next yield; returns `False` if there is none."""
        try:
            self.value = await _next(generator) if inspect.isasyncgen(generator) else next(generator)
        except (StopAsyncIteration, StopIteration):
            return False
        return True

    async def _throw(self, generator: Any, error: BaseException) -> None:
        try:
            if inspect.isasyncgen(generator):
                await generator.athrow(error)
            else:
                generator.throw(error)
        except (StopAsyncIteration, StopIteration, GeneratorExit):
            pass


def _next(generator: Any) -> Awaitable[Any]:
    """
    The step to the next yield. The loop is not told of the generator when it starts, as it would be by its hooks.

    `loop.shutdown_asyncgens` would close it, and `asyncio.run` calls that after a second Ctrl-C, while hooks still run.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return anext(generator)
    finally:
        sys.set_asyncgen_hooks(*hooks)
