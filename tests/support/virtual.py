"""Virtual time: a loop in which an hour passes at once, and hooks and apps that run in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from graceful import Hooks, Outcome
from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._hooks.order import make_plan
from graceful._hooks.scheduler import Acquired, Additions, Scheduler
from graceful._loop.waiting import Waiting

T = TypeVar("T")


async def run_hooks(
    hooks: Hooks, deadline: Deadline, waiting: Waiting, told: Callable[[Outcome], None], pushed: Iterable[Hook] = ()
) -> None:
    """Run the cleanup hooks of a collection, without an app; `pushed` are those acquired before."""

    def ended(run: HookRun) -> None:
        told(run.finish())

    async def supervise(run: HookRun) -> None:
        await run.wait_ended(waiting)
        ended(run)

    def begin(hook: Hook, behind: int, _: object) -> HookRun:
        return HookRun(hook, "cleanup", deadline, behind)

    scheduler = Scheduler(waiting, begin=begin, supervise=supervise, on_ended=ended, on_error=pytest.fail)
    await scheduler.run(make_plan([*hooks._hooks()]), Additions(map(Acquired, pushed)))


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while something runs, and jumps to the next timer when nothing does."""

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        self.now = 0.0
        self._poll = selector.select
        selector.select = self._jump

    def _jump(self, timeout: float | None = None) -> object:
        assert timeout is not None, "everything waits, and nothing will come"
        self.now += timeout
        return self._poll(0)

    def time(self) -> float:
        return self.now


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run(main())` in virtual time; an app in there must be a guest (`async with app:`)."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, clock.replaced(runner.get_loop().time):
        return runner.run(main())
