"""
Lanes: the hooks of a plan, each as soon as it may start, in as few tasks as can be.

A hook runs in a task, because that can be watched from outside, cancelled and left behind. But most hooks end at once,
and then the task is most of what they cost. So hooks share one, a lane: where one has ended the next one starts. The lane
is a hook's own as soon as it waits for something, and nobody's after it if it left a trace: a task that still runs, a
context variable that was set, a cancellation that has not arrived. The next hook then starts in a lane of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from graceful._hook import Hook
from graceful._pace import Pace
from graceful._plan import Plan
from graceful._sequence import EAGER, Turn
from graceful._tasks import Unlisted

__all__ = ["walk"]


async def walk(
    plan: Plan,
    pushed: deque[Hook],
    pace: Pace,
    *,
    begin: Callable[[Hook, int], Turn | None],
    watch: Callable[[Turn], Coroutine[object, object, None]],
    ended: Callable[[Turn], None],
) -> None:
    """
    Run each hook of the plan as soon as those it needs have ended, and before the next one what was pushed meanwhile.

    Args:
        pushed: What was acquired while running; the last is released first.
        begin: Gives the turn of a hook, told how many wait behind it; `None` where it has nothing to do.
        watch: Sees to the end of a turn that did not end at once; never raises.
        ended: Told of a turn that did, and well.
    """
    order = _Order(plan, pushed, begin)
    watching: dict[Turn, asyncio.Task[None]] = {}
    news = asyncio.Event()

    async def see_to(turn: Turn) -> None:
        await watch(turn)
        order.over(turn)
        watching.pop(turn, None)
        news.set()

    while True:
        if order.more():
            lane = _Lane(order, pace, ended)
            await lane.open()
            turn = lane.turn
            if turn is None:
                continue
            if watching or order.more():
                watching[turn] = Unlisted(see_to(turn))
            else:  # one hook needs nobody to wait for several
                await see_to(turn)
        elif watching:
            news.clear()
            await news.wait()
        else:
            return


class _Order:
    """Which hook is next."""

    def __init__(self, plan: Plan, pushed: deque[Hook], begin: Callable[[Hook, int], Turn | None]) -> None:
        self._deepest = max(plan.behind.values(), default=-1) + 1
        self._behind = plan.behind
        self._sorter = plan.sorter()
        self._pushed = pushed
        self._begin = begin
        self._released: Turn | None = None

    def more(self) -> bool:
        """Whether there is one that may start; none may while something that was pushed is released."""
        return self._released is None and bool(self._pushed or self._sorter.ready)

    def next(self) -> Turn | None:
        """The next turn; `None`: no hook may start now."""
        pushed = self._pushed
        while self.more():
            if pushed:
                turn = self._released = self._begin(pushed.pop(), len(pushed) + self._deepest)
            else:
                hook = self._sorter.ready.popleft()
                turn = self._begin(hook, self._behind[hook])
                if turn is None:
                    self._sorter.done(hook)
            if turn is not None:
                return turn
        return None

    def over(self, turn: Turn) -> None:
        """It has ended: who waited for it may start."""
        if turn is self._released:
            self._released = None
        else:
            self._sorter.done(turn.hook)


class _Lane:
    """
    Attributes:
        turn: The turn that somebody must see to; `None`: all have ended that could start.
    """

    def __init__(self, order: _Order, pace: Pace, ended: Callable[[Turn], None]) -> None:
        self.turn: Turn | None = None
        self._order = order
        self._pace = pace
        self._ended = ended
        self._own = False

    async def open(self) -> None:
        """Run hooks until one waits for something, or left a trace, or no other may start."""
        task = Unlisted(self._run(), loop=asyncio.get_running_loop(), name="graceful hooks", **EAGER)
        if not EAGER:
            await asyncio.sleep(0)
        if self.turn is not None and not task.done():
            self._own = True
            task.set_name(f"graceful {self.turn.hook.name}")

    async def _run(self) -> None:
        task: Any = asyncio.current_task()
        limit, behind = math.inf, -1
        while (turn := self._order.next()) is not None:
            self.turn = turn
            if turn.residence is not None:
                return  # it lives in a task already
            turn.task = task
            if turn.behind > behind or turn.hook.timeout is not None:  # else its limit is not earlier
                limit = turn.until()
            behind = turn.behind
            self._pace.expect(limit)
            context = turn.take_up()
            await turn.carry()
            if self._own or turn.error or turn.tasks or task._must_cancel or copy_context() != context:
                return
            self._ended(turn)
            self._order.over(turn)
            self.turn = None
