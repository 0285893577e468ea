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
from collections import deque
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from graceful._hooks.hook import Hook
from graceful._hooks.hook_run import HookRun
from graceful._hooks.order import Plan
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.ownership import Owner
from graceful._loop.waiting import Waiting

__all__ = ["Acquired", "Late", "Order", "Scheduler"]


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

    async def run(self, plan: Plan, acquired: deque[Acquired], late: list[Late] | None = None) -> None:
        """
        Run each hook of the plan when it may start.

        Args:
            plan: The order.
            acquired: What was acquired while running; before the next hook of the plan, the last one is released.
            late: Hooks that are in no plan; each starts as soon as what it needs has ended. `None`: there are none.
        """
        order = Order(plan, acquired, [] if late is None else late)
        supervised: dict[Hook, asyncio.Task[None]] = {}
        news = asyncio.Event()

        async def see_to_end(hook: Hook, run: HookRun) -> None:
            await self._supervise(run)
            order.done(hook)
            supervised.pop(hook, None)
            news.set()

        while True:
            hook = order.next()
            if hook is None:
                if not supervised:
                    return
                news.clear()
                await news.wait()
                continue
            run = self._start(hook, order.behind, order.owner)
            if run is None:
                order.done(hook)
            elif supervised or order.more():
                supervised[hook] = hide_from_all_tasks(HiddenTask(see_to_end(hook, run)))
            else:  # a single hook needs no task that waits for several
                await see_to_end(hook, run)

    def _start(self, hook: Hook, behind: int, owner: Owner | None) -> HookRun | None:
        """Start a hook; returns its run, if that has to be supervised."""
        run = None
        try:
            run = self._begin(hook, behind, owner)
            if run is not None:
                run.start(self._waiting)
                if run.ended_at_once():
                    self._on_ended(run)
        except BaseException as error:  # whatever a handler of the program raises; nothing is awaited here
            self._on_error(error)
        return None if run is None or run.ended or run.task is None else run


class Order:
    """
    Which hook is next. Other threads may append to `acquired` and `late`, which are copied before they are looked through.

    Attributes:
        behind: How many wait behind the one that `next` returned last.
        owner: What that one releases, if it releases an acquisition.
    """

    def __init__(self, plan: Plan, acquired: deque[Acquired], late: list[Late]) -> None:
        self.behind = 0
        self.owner: Owner | None = None
        self._plan = plan
        self._deepest = max(plan.behind.values(), default=-1) + 1
        self._sorter = plan.sorter()
        self._ready = deque(self._sorter.get_ready())
        self._acquired = acquired
        self._late = late
        self._late_running: set[Hook] = set()
        self._planned = {*plan.needs}
        self._released: Hook | None = None
        self._running = 0

    def more(self) -> bool:
        """Whether another hook may start; none may while something that was acquired is being released."""
        return self._released is None and (bool(self._ready) or self._is_unused() or self._next_late() is not None)

    def next(self) -> Hook | None:
        """The next hook, which counts as running from now on; `None`: none may start now."""
        if self._released is not None:
            return None
        if self._is_unused():
            acquired = self._acquired.pop()
            hook = self._released = acquired.hook
            self.owner = acquired.owner
            self.behind = len(self._acquired) + len(self._late) + self._deepest
        elif self._ready:
            hook = self._ready.popleft()
            self.owner = None
            self.behind = self._plan.behind[hook] + len(self._late)
        elif (late := self._next_late()) is not None:
            hook = late.hook
            self._late.remove(late)
            self._late_running.add(hook)
            self.owner = None
            self.behind = len(self._late)
        else:
            return None
        self._running += 1
        return hook

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
