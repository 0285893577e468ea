"""
Running hooks in order: each as soon as those it waits for have ended.

Each runs in a task of its own, because that can be watched from outside, cancelled and abandoned, and because nothing that
code ties to its task (a context variable, a session, a cancellation that comes later) may reach another hook. Most hooks
end in the very step in which they are started: these are dealt with here, one after the other. Only a hook that waits for
something, or leaves something behind, is supervised; this halves what a hook costs.

Rejected: letting hooks that end at once share a task as well. It saves another third, but nothing that one leaves behind
shows whether something has kept a reference to its task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._hooks.order import HookPlan
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.ownership import Owner
from graceful._loop.waiting import Waiting

__all__ = ["Acquired", "Additions", "Late", "Order", "Scheduler"]


class Acquired(NamedTuple):
    """
    What was acquired while the app runs, and must be released before the registered hooks run.

    Attributes:
        hook: Releases it.
        during: The hook run in which it was acquired; it is not released before that has ended. `None`: in none.
        owner: What it started belongs to this; `None`: to nothing.
    """

    hook: Hook
    during: HookRun | None = None
    owner: Owner | None = None


class Late(NamedTuple):
    """
    A hook with an `after=` that was registered while the app runs, and so is in no plan.

    Attributes:
        hook: The hook.
        needs: What must have ended before it starts.
    """

    hook: Hook
    needs: tuple[Hook, ...]


class Additions:
    """
    What is added to the hooks of a step while the app runs, perhaps in another thread.

    Attributes:
        acquired: The last one is released first.
        late: Each starts as soon as what it needs has ended.
    """

    def __init__(self, acquired: Iterable[Acquired] = ()) -> None:
        self.acquired = deque(acquired)
        self.late: list[Late] = []

    def __bool__(self) -> bool:
        return bool(self.acquired or self.late)

    def add(self, one: Acquired | Late) -> None:
        """One more."""
        if isinstance(one, Acquired):
            self.acquired.append(one)
        else:
            self.late.append(one)

    def move_to(self, others: Additions) -> None:
        """Whatever runs the step may still take one, and another thread add one: each is here or there, and never in both."""
        while self.acquired:
            others.acquired.append(self.acquired.popleft())
        while self.late:
            others.late.append(self.late.pop(0))

    def take_back(self, hook: Hook) -> bool:
        """Whether the hook was still here; now it is not."""
        waiting: Any
        for waiting in (self.acquired, self.late):
            for each in [*waiting]:
                if each.hook is hook:
                    with contextlib.suppress(ValueError):  # it is being run after all
                        waiting.remove(each)
                        return True
        return False


class Next(NamedTuple):
    """
    A hook that starts now.

    Attributes:
        hook: The hook.
        behind: How many wait behind it.
        owner: What it releases, if it releases an acquisition.
    """

    hook: Hook
    behind: int
    owner: Owner | None = None


class Scheduler:
    """
    Args:
        waiting: The waits of the run.
        begin: Makes the run of a hook, given how many wait behind it, and what it releases if that was acquired while
            the app ran; `None`: it has nothing to do.
        on_ended: Called with a run that is over.
        on_error: Called with what the package's own code raised, perhaps because a user's signal handler did. The next
            hook runs anyway.
        supervise: Awaits the end of a run and never raises.
    """

    def __init__(
        self,
        waiting: Waiting,
        *,
        begin: Callable[[Hook, int, Owner | None], HookRun | None],
        supervise: Callable[[HookRun], Coroutine[object, object, None]],
        on_ended: Callable[[HookRun], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._waiting = waiting
        self._begin = begin
        self._supervise = supervise
        self._on_ended = on_ended
        self._on_error = on_error

    async def run(self, plan: HookPlan, additions: Additions) -> None:
        """
        Run each hook of the plan when it may start.

        Args:
            plan: The order.
            additions: What comes besides: before the next hook of the plan, what was acquired last is released.
        """
        order = Order(plan, additions)
        supervised: dict[Hook, asyncio.Task[None]] = {}
        news = asyncio.Event()

        async def see_to_end(hook: Hook, run: HookRun) -> None:
            await self._supervise(run)
            order.done(hook)
            supervised.pop(hook, None)
            news.set()

        while True:
            due = order.next()
            if due is None:
                if not supervised:
                    return
                news.clear()
                await news.wait()
                continue
            run = self._start(due)
            if run is None:
                order.done(due.hook)
            elif supervised or order.more():
                supervised[due.hook] = hide_from_all_tasks(HiddenTask(see_to_end(due.hook, run)))
            else:  # a single hook needs no task that waits for several
                await see_to_end(due.hook, run)

    def _start(self, due: Next) -> HookRun | None:
        """Start a hook; returns its run, if that has to be supervised."""
        run = None
        try:
            run = self._begin(*due)
            if run is not None:
                run.start(self._waiting)
                if run.ended_at_once():
                    self._on_ended(run)
        except BaseException as error:  # whatever a handler of the program raises; nothing is awaited here
            self._on_error(error)
        return None if run is None or run.ended or run.task is None else run


class Order:
    """Which hook is next. What other threads may add to is copied before it is looked through."""

    def __init__(self, plan: HookPlan, additions: Additions) -> None:
        self._plan = plan
        self._deepest = max(plan.behind.values(), default=-1) + 1
        self._sorter = plan.sorter()
        self._ready = deque(self._sorter.get_ready())
        self._acquired = additions.acquired
        self._late = additions.late
        self._late_running: set[Hook] = set()
        self._planned = {*plan.needs}
        self._released: Hook | None = None
        self._running = 0

    def more(self) -> bool:
        """Whether another hook may start; none may while something that was acquired is being released."""
        return self._released is None and (bool(self._ready) or self._is_unused() or self._next_late() is not None)

    def next(self) -> Next | None:
        """The next hook, which counts as running from now on; `None`: none may start now."""
        due = None if self._released is not None else self._take()
        if due is not None:
            self._running += 1
        return due

    def _take(self) -> Next | None:
        if self._is_unused():
            hook, _, owner = self._acquired.pop()
            self._released = hook
            return Next(hook, len(self._acquired) + len(self._late) + self._deepest, owner)
        if self._ready:
            hook = self._ready.popleft()
            return Next(hook, self._plan.behind[hook] + len(self._late))
        if (late := self._next_late()) is not None:
            self._late.remove(late)
            self._late_running.add(late.hook)
            return Next(late.hook, len(self._late))
        return None

    def _is_unused(self) -> bool:
        """Whether something was acquired, and the hook that acquired it has ended, or no hook did and none runs now."""
        if not self._acquired or not self._running:
            return bool(self._acquired)
        during = self._acquired[-1].during
        return during is not None and during.ended

    def _next_late(self) -> Late | None:
        """The first late hook whose needs have all ended; what is not about to run here has ended."""
        if not self._late:
            return None
        late = [*self._late]
        unfinished = self._planned | self._late_running
        unfinished.update(each.hook for each in late)
        unfinished.update(each.hook for each in [*self._acquired])
        return next((each for each in late if unfinished.isdisjoint(each.needs)), None)

    def done(self, hook: Hook) -> None:
        """It has ended: those that waited for it may start."""
        self._running -= 1
        if hook is self._released:
            self._released = None
        elif hook in self._late_running:
            self._late_running.discard(hook)
        else:
            self._planned.discard(hook)
            self._sorter.done(hook)
            self._ready.extend(self._sorter.get_ready())
