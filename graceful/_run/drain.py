"""Draining: before anything is cancelled, the app goes on serving for a while, stops accepting work, and finishes what it has."""

from __future__ import annotations

import asyncio
import math

from graceful._core import clock
from graceful._core.asyncio_private import nothing_is_ready
from graceful._core.budget import drain_until
from graceful._core.deadline import Deadline
from graceful._core.settings import Settings
from graceful._core.types import Cause, Kind
from graceful._hooks.adoption import adopting
from graceful._hooks.stuck import StuckReporter
from graceful._loop.children import Children
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.stop_notice import StopNotice
from graceful._loop.tasks import SupervisedTasks
from graceful._loop.waiting import Waiting
from graceful._run.dispatcher import Dispatcher
from graceful._run.shutdown_hooks import ShutdownHooks

__all__ = ["Drain"]

#: Iterations of the loop until what awaited the work has ended, at most: a group of tasks in another one takes two or three.
_TURNS = 50

#: Seconds that they may take, where all of them are busy.
_TURNS_TAKE = 0.05

Tasks = set[asyncio.Task[object]]


class Drain:
    """
    Args:
        settings: What the app was made with.
        deadline: When everything must be over.
        dispatcher: Says whether the owner of the process, a server, has handled the signal.
        waiting: The waits of the run.
        hooks: Runs the `stage="drain"` hooks.
        tasks: Those with `drain=True` are waited for.
        children: The same.
        notice: So are those that asked to be told.
        stuck: Where those are reported that did not end in time.

    Attributes:
        ends_at: Says when the time for work to end by itself is over, once it has begun.
        serves_until: Says when the delay before that is over, once it has begun.
        is_serving: Whether that is now.
    """

    def __init__(
        self,
        settings: Settings,
        deadline: Deadline,
        dispatcher: Dispatcher,
        waiting: Waiting,
        hooks: ShutdownHooks,
        tasks: SupervisedTasks,
        children: Children,
        notice: StopNotice,
        stuck: StuckReporter,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._dispatcher = dispatcher
        self._waiting = waiting
        self._hooks = hooks
        self._tasks = tasks
        self._children = children
        self._notice = notice
        self._stuck = stuck
        self.ends_at = self.serves_until = deadline.fix(math.inf)
        self.is_serving = False
        self._has_served = False
        self._early: asyncio.Task[None] | None = None

    def begin_to_serve(self) -> None:
        """The startup is over."""
        self._has_served = True

    def announce(self) -> None:
        """The end was announced: run the drain hooks, while everything goes on. Calling it again does nothing."""
        if self._early is None:
            self._early = hide_from_all_tasks(HiddenTask(self._drain_early(), name="graceful drain"))

    async def run(self, cause: Cause) -> None:
        """Take its three steps, as long as there is time and nobody hurries."""
        # One whose startup was cut short does not serve, and a server that has handled the signal has left already.
        serves = self._has_served and cause.kind is Kind.SIGNAL and not self._dispatcher.told_owner
        delay = self._settings.drain_delay if serves else 0.0
        began_at = self._deadline.counted_from
        ends_at = drain_until(began_at, delay, self._deadline.at, self._settings.drain_share)
        self.ends_at = self._deadline.fix(ends_at)
        if delay:
            await self._go_on_serving(began_at + delay)
        if self._early is None:
            await self._hooks.drain(self._limit)
        else:
            await self._waiting.wait_done([self._early], self._limit)
        await self._finish_work()
        await self._let_others_end()

    async def _let_others_end(self) -> None:
        """A task that awaited one of these gets its turn, and may end by itself; and so may one that awaits that."""
        loop, until = asyncio.get_running_loop(), clock.now() + _TURNS_TAKE
        for turn in range(_TURNS):
            await asyncio.sleep(0)
            if nothing_is_ready(loop) or (turn and clock.now() >= min(until, self._limit())):
                return

    def waited_for(self) -> Tasks:
        """The tasks and children that are to end by themselves, and have not."""
        return {*self._tasks.draining(), *self._notice.told(), *self._children.draining_tasks()}

    def serving(self) -> list[str]:
        """One line that says so, while the app goes on serving; empty: it does not."""
        if not self.is_serving:
            return []
        return [f"serving for another {max(self.serves_until() - clock.now(), 0.1):.1f} s (drain_delay)"]

    async def _drain_early(self) -> None:
        with adopting():
            await self._hooks.drain(self._limit)

    async def _go_on_serving(self, until: float) -> None:
        self.serves_until, self.is_serving = self._deadline.fix(until), True
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await self._waiting.wait_done([never], lambda: self._unless_hurried(self.serves_until()))
        finally:
            self.is_serving = False

    async def _finish_work(self) -> None:
        in_time, left = True, Tasks()
        children = self._children.draining()
        while in_time and ((left := self._tasks.draining() | self._notice.told()) or children):
            in_time = await self._waiting.wait_done([*left, *children], self._limit)
            children = self._children.draining()
        if not in_time and not self._deadline.hurried:
            for task in left:
                if not task.done():
                    self._stuck.task_gave_up(
                        task, self._tasks.label(task), "was waited for, and is cancelled now", "drain"
                    )
            for child in self._children.draining_tasks():
                self._stuck.gave_up(self._tasks.label(child), (), "was waited for, and is told to end now", "drain")

    def _limit(self) -> float:
        return self._unless_hurried(self.ends_at())

    def _unless_hurried(self, limit: float) -> float:
        return -math.inf if self._deadline.hurried else limit
