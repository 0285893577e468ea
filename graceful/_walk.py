"""
The walk: the hooks of a plan, each as soon as it may start.

Each runs in a task of its own, because that can be watched from outside, cancelled and left behind, and because nothing
that code ties to its task (a context variable, a session, a cancellation that comes later) may reach another hook. Most
hooks end in the very step in which they are started: these are dealt with here, one after the other. Only who waits for
something, or leaves something behind, is watched, which is most of what a hook costs.

Rejected: to let hooks that end at once share a task as well. It saves another third, but no look at what one has left
can tell who kept a reference to its task.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine

from graceful._alarm import Unblocked
from graceful._hook import Hook
from graceful._pace import Pace
from graceful._plan import Plan
from graceful._tasks import Unlisted, off_the_list
from graceful._turn import Turn

__all__ = ["walk"]


async def walk(
    plan: Plan,
    pushed: deque[Hook],
    pace: Pace,
    *,
    begin: Callable[[Hook, int], Turn | None],
    watch: Callable[[Turn], Coroutine[object, object, None]],
    ended: Callable[[Turn], None],
    spoilt: Callable[[BaseException], None],
) -> None:
    """
    Run each hook of the plan as soon as those it needs have ended, and before the next one what was pushed meanwhile.

    Args:
        pushed: What was acquired while running; the last is released first.
        begin: Gives the turn of a hook, told how many wait behind it; `None` where it has nothing to do.
        watch: Sees to the end of a turn that did not end at once; never raises.
        ended: Told of a turn that did, and well.
        spoilt: Told what somebody's signal handler raised while this walk itself was at work. The next hook runs anyway.
    """
    order = _Order(plan, pushed)
    watching: dict[Hook, asyncio.Task[None]] = {}
    news = asyncio.Event()
    limits = _Limits(pace)

    async def see_to(hook: Hook, turn: Turn) -> None:
        await watch(turn)
        order.over(hook)
        watching.pop(hook, None)
        news.set()

    while True:
        hook = order.next()
        if hook is None:
            if not watching:
                return
            news.clear()
            await news.wait()
            continue
        turn = None
        try:
            turn = begin(hook, order.behind)
            if turn is not None:
                turn.start(limits.of(turn))
                if turn.ended_at_once():
                    ended(turn)
        except (Exception, KeyboardInterrupt, Unblocked) as error:
            spoilt(error)
        if turn is None or turn.ended or turn.task is None:
            order.over(hook)
        elif watching or order.more():
            watching[hook] = off_the_list(Unlisted(see_to(hook, turn)))
        else:  # one hook needs nobody to wait for several
            await see_to(hook, turn)


class _Limits:
    """By when a turn that starts must be over; asked for anew only where that may be earlier than it was for the last one."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._limit, self._behind, self._since = math.inf, -1, math.nan

    def of(self, turn: Turn) -> float:
        """That of the turn which starts now."""
        if turn.behind > self._behind or self._since != self._pace.since or turn.hook.timeout is not None:
            self._limit, self._since = turn.until(), self._pace.since
        self._behind = turn.behind
        return self._limit


class _Order:
    """
    Which hook is next.

    Attributes:
        behind: How many wait behind the one that was given last.
    """

    def __init__(self, plan: Plan, pushed: deque[Hook]) -> None:
        self.behind = 0
        self._behind = plan.behind
        self._deepest = max(plan.behind.values(), default=-1) + 1
        self._sorter = plan.sorter()
        self._pushed = pushed
        self._released: Hook | None = None
        self._under_way = 0

    def more(self) -> bool:
        """Whether there is one that may start; none may while something that was pushed is released."""
        return self._released is None and (bool(self._sorter.ready) or self._is_unused())

    def next(self) -> Hook | None:
        """The next one, which is under way from now on; `None`: none may start now."""
        if self._released is not None:
            return None
        if self._is_unused():
            hook = self._released = self._pushed.pop()
            self.behind = len(self._pushed) + self._deepest
        elif self._sorter.ready:
            hook = self._sorter.ready.popleft()
            self.behind = self._behind[hook]
        else:
            return None
        self._under_way += 1
        return hook

    def _is_unused(self) -> bool:
        """Whether something was pushed, and who pushed it has ended, or was no hook of ours and none runs now."""
        if not self._pushed or not self._under_way:
            return bool(self._pushed)
        owner = self._pushed[-1].owner
        return owner is not None and owner.ended

    def over(self, hook: Hook) -> None:
        """It has ended: who waited for it may start."""
        self._under_way -= 1
        if hook is self._released:
            self._released = None
        else:
            self._sorter.done(hook)
