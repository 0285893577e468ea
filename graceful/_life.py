"""
The life of a run, inside its loop: start, serve, wind down.

It is a coroutine in a task that cannot be cancelled, and everything it waits for is either news or has a limit. When
it has ended the loop stops, not before.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import signal
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from graceful._budget import HURRY, drain_until
from graceful._console import tell
from graceful._failures import Failures
from graceful._hook import Hook, Stage, is_awaitable
from graceful._inbox import Inbox
from graceful._journal import Journal
from graceful._machine import Sighting, State
from graceful._model import Cause, Kind, Settings, Verdict
from graceful._pace import Pace, resolve
from graceful._plan import Plan, plan, startups_of
from graceful._residence import Residence
from graceful._stacks import await_chain
from graceful._stragglers import stragglers
from graceful._tasks import Tasks, Unlisted, off_the_list
from graceful._turn import Turn, adopting
from graceful._turns import Turns
from graceful._walk import walk

__all__ = ["Life", "LifeTask"]


class LifeTask(Unlisted[None]):
    """The task of the heart. Whoever cancels all tasks of a loop asks it to stop; it cleans up all the same."""

    def __init__(
        self, live: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, asked: Callable[[], None]
    ) -> None:
        super().__init__(live, loop=loop, name="graceful")
        self._asked = asked
        off_the_list(self)

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - it is asyncio's signature
        """Ask instead of cancelling."""
        self._asked()
        return False


class Life:
    """
    Args:
        hooks: Every hook, in the order of registration.
        owns_loop: Whether every task of the loop is ours to stop, or only those that were created through us.

    Attributes:
        tasks: The supervised tasks.
        turns: The hooks that run now.
        failures: What nobody handled.
        pushed: What was acquired while running, to be released before the registered hooks.
        signalled: Signals that the on_signal hooks have not been called for.
        told: The tasks that have asked to be told, and end by themselves if there is time.
        result: What main returned.
        finished: Whether main ended by itself.
    """

    def __init__(
        self, hooks: Sequence[Hook], settings: Settings, pace: Pace, journal: Journal, inbox: Inbox, *, owns_loop: bool
    ) -> None:
        self._hooks = hooks
        self._settings = settings
        self._pace = pace
        self._journal = journal
        self._inbox = inbox
        self._owns_loop = owns_loop
        self.tasks = tasks = Tasks()
        self.turns = Turns(pace, journal, inbox, tasks, owns_loop=owns_loop)
        self.failures = Failures(
            self.hooks_of(Stage.EXCEPTION), settings, pace, journal, inbox, tasks=tasks, turns=self.turns
        )
        self.pushed: deque[Hook] = deque()
        self.signalled: deque[signal.Signals] = deque()
        self.told: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.result: Any = None
        self.finished = False
        self._cleaned = False
        self._drains = plan(self.hooks_of(Stage.DRAIN))
        self._cleanups = plan(self.hooks_of(Stage.CLEANUP, Stage.RESOURCE))
        self._startups = startups_of(hooks)
        self._completed: set[Hook] = set()
        self._residences: dict[Hook, Residence] = {}
        self._drain_end = math.inf
        self._hurry_told = False
        self._news: asyncio.Event = asyncio.Event()
        self._listeners: set[asyncio.Future[bool]] = set()
        self._reacting: dict[Hook, dict[signal.Signals, None]] = {}
        inbox.heed = self.heed
        tasks.blocks.left = pace.reconsider

    def acquire(self, hook: Hook) -> None:
        """Release it in the cleanup; not before the hook has ended that acquires it."""
        hook.owner = self.turns.current()
        self.pushed.append(hook)

    @property
    def over(self) -> bool:
        """Whether the cleanup is over, or its time is, so that what is acquired now would never be released."""
        return self._cleaned or self._pace.clock() >= self._pace.deadline

    def hooks_of(self, *stages: Stage) -> list[Hook]:
        """The hooks of these stages, in the order of registration."""
        return [hook for hook in self._hooks if hook.stage in stages]

    # --- what was heard --------------------------------------------------------------------------------------------

    def heed(self) -> None:
        """In the loop, soon after anything was posted: whoever waits hears of it."""
        self._inbox.decide_all()
        if self._inbox.stopping:
            for listener in self._listeners:
                resolve(listener, False)
            if self.turns.starting is not None:
                self.turns.starting.cut = True
        self._pace.reconsider()
        self._news.set()
        if self._pace.hurried and not self._hurry_told:
            self._hurry_told = True
            tell(
                logging.INFO, f"{self._settings.name} hurries: {HURRY:g} s to clean up; Ctrl-C again to end it at once"
            )

    def main_ended(self, task: asyncio.Task[Any]) -> None:
        """Main is done, and with it the program."""
        self.failures.end_if_forked(SystemExit(0) if task.cancelled() else task.exception() or SystemExit(0))
        if task.cancelled():
            if not self._inbox.stopping:
                self.failures.fail(
                    asyncio.CancelledError("main was cancelled"), "main was cancelled", {"task": task}, task
                )
        elif (error := task.exception()) is not None and not self._journal.knows(error):
            self.failures.fail(error, "main failed", {"task": task}, task)
        elif error is not None:  # it was told already, by the task that main had awaited: main is over all the same
            self._inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, time.monotonic()))
        else:
            self.result = task.result()
            self.finished = True
            self._inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, time.monotonic()))

    # --- start and serve -------------------------------------------------------------------------------------------

    async def live(self, go: Callable[[], asyncio.Future[Any] | None]) -> None:
        """
        From the first startup hook to the last task.

        Args:
            go: Called when the start is over, to start main; not called if the program was told to stop before.
        """
        self._inbox.decide_all()
        self._warn_of_timeouts()
        await self._start_up()
        self._inbox.enter(State.RUNNING)
        if not self._inbox.stopping:
            try:
                for hook in self.hooks_of(Stage.BACKGROUND):
                    made = f"registered as a background hook at {hook.where}"
                    self.tasks.create(hook.function(), made, hook.name, drain=hook.drain)
                self.tasks.main = go()
            # SystemExit of an eager task's first step leaves create_task; a task factory may raise whatever it likes.
            except BaseException as error:
                self.failures.fail(error, "a task could not be started")
        self._news.set()  # there may be some from before the loop
        while not self._inbox.stopping:
            await self._news.wait()
            self._news.clear()
            await self.failures.handle_all()
            while self.signalled:
                self._react(self.signalled.popleft())
        assert self._inbox.cause is not None
        await self._wind_down(self._inbox.cause)

    def _warn_of_timeouts(self) -> None:
        settings, drains, cleanups = self._settings, self._drains.declared(), self._cleanups.declared()
        declared = settings.drain_delay + drains + cleanups
        if declared > settings.grace:
            tell(
                logging.WARNING,
                f"the shutdown of {settings.name} may take {declared:g} s by its timeouts (drain_delay "
                f"{settings.drain_delay:g} + drain hooks {drains:g} + cleanup hooks {cleanups:g}), and is cut short "
                f"after its grace of {settings.grace:g} s: raise the grace or lower the timeouts",
                declared=declared,
                grace=settings.grace,
            )

    async def _start_up(self) -> None:
        self._inbox.enter(State.STARTING)
        for hook in self.hooks_of(Stage.STARTUP, Stage.RESOURCE):
            if self._inbox.stopping:
                return
            turn = self.turns.starting = Turn(hook, self._pace, "startup")
            turn.holds = self.tasks.blocks.holds
            await (self._enter(turn) if hook.stage is Stage.RESOURCE else self._start(turn))
            self.turns.starting = None
            if turn.error is not None:
                self.failures.fail(turn.error, f"{hook} failed", {})
            elif turn.verdict is Verdict.CANCELLED and not self._inbox.stopping:
                self.failures.fail(asyncio.CancelledError(f"{hook} was cancelled"), f"{hook} was cancelled")

    async def _start(self, turn: Turn) -> None:
        await self.turns.watch(turn)
        if turn.verdict is Verdict.OK:
            self._completed.add(turn.hook)

    async def _enter(self, turn: Turn) -> None:
        residence = Residence(turn.hook)
        residence.enter(turn)
        await self.turns.watch(turn, done=residence.entered)
        if residence.inside:
            self._completed.add(turn.hook)
            self._residences[turn.hook] = residence
            residence.task.add_done_callback(functools.partial(self._residence_ended, turn.hook))

    def _residence_ended(self, hook: Hook, task: asyncio.Task[Any]) -> None:
        """By a group or a scope around its yield: what else it raises is the outcome of its turn."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.fail(error, f"resource {hook.name} failed", {"task": task}, task, came=f"in resource {hook}")

    def _react(self, number: signal.Signals) -> None:
        """Run the on_signal hooks; one that still runs runs once more after that, for each signal that came."""
        for hook in self.hooks_of(Stage.SIGNAL):
            if number not in hook.signals:
                continue
            if hook in self._reacting:
                self._reacting[hook][number] = None
            else:
                self._reacting[hook] = {number: None}
                made = f"registered as an on_signal hook at {hook.where}"
                try:
                    self.tasks.create(self._reaction(hook), made, hook.name)
                except BaseException as error:  # as above
                    self.failures.fail(error, f"{hook} could not be started")

    async def _reaction(self, hook: Hook) -> None:
        try:
            while pending := self._reacting[hook]:
                number = next(iter(pending))
                del pending[number]
                result = hook(number)
                if is_awaitable(result):
                    await result
        finally:
            del self._reacting[hook]

    async def sleep(self, delay: float) -> bool:
        """Sleep, or be told: see `App.sleep`."""
        if self._inbox.stopping:
            await asyncio.sleep(0)
            return False
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        timer = None if delay == math.inf else loop.call_later(delay, resolve, woken, True)
        self._listeners.add(woken)
        task = asyncio.current_task()
        if task is not None and not isinstance(task, Unlisted):  # those are hooks, which have a time of their own
            self.told.add(self.tasks.blocks.stands_for.get(task, task))
        try:
            return await woken
        finally:
            self._listeners.discard(woken)
            if timer is not None:
                timer.cancel()

    # --- wind down -------------------------------------------------------------------------------------------------

    async def _wind_down(self, cause: Cause) -> None:
        self._announce(cause)
        await self.failures.handle_all()
        with adopting():
            await self.failures.regardless(self._drain(cause))
            await self.failures.regardless(self._cancel())
            await self.failures.regardless(self._walk(self._cleanups, self.pushed))
            await self.failures.regardless(self._last())

    async def _walk(self, hooks: Plan, pushed: deque[Hook]) -> None:
        def watch(turn: Turn) -> Coroutine[Any, Any, None]:
            return self.failures.regardless(self._see_to(turn))

        ended, spoilt = self.turns.end, self.failures.went_wrong
        await walk(hooks, pushed, self._pace, begin=self._begin, watch=watch, ended=ended, spoilt=spoilt)

    def _announce(self, cause: Cause) -> None:
        again = "; Ctrl-C again to hurry" if cause.signal is not None else ""
        name, grace = self._settings.name, self._settings.grace
        message = f"{name} stops: {cause}; {grace:g} s to clean up{again}"
        on_terminal = cause.kind is not Kind.COMPLETED  # else it simply ends, and nobody waits to hear of it
        tell(logging.INFO, message, on_terminal=on_terminal, app=name, cause=cause, grace=grace)

    async def _drain(self, cause: Cause) -> None:
        """Go on serving for the delay, stop accepting, and let those finish who were to be waited for, or were told."""
        delay = self._settings.drain_delay if cause.kind is Kind.SIGNAL else 0.0
        self._drain_end = drain_until(cause.at, delay, self._pace.deadline)
        if delay:
            never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self._pace.settle([never], lambda: self._unless_hurried(cause.at + delay))
        await self._walk(self._drains, deque())
        in_time, left = True, set[asyncio.Task[Any]]()
        while in_time and (left := {task for task in (*self.tasks.draining, *self.told) if not task.done()}):
            in_time = await self._pace.settle(left, self._drain_limit)
        if not in_time and not self._pace.hurried:
            for task in left:
                if not task.done():
                    self.turns.gave_up(
                        self.tasks.label(task), await_chain(task), "was waited for, and is cancelled now", "drain"
                    )
        for _ in range(2):  # whoever awaited one of these comes to its turn, and may end by itself
            await asyncio.sleep(0)

    def _drain_limit(self) -> float:
        return self._unless_hurried(self._drain_end)

    def _unless_hurried(self, limit: float) -> float:
        return -math.inf if self._pace.hurried else limit

    async def _cancel(self) -> None:
        self.turns.cancel_began = self._pace.clock()
        for task in await self.tasks.cancel(self._work, self._pace, self._cut_short):
            self.turns.gave_up(self.tasks.label(task), await_chain(task), "would not be cancelled, and is left behind")
            self.turns.leave(task)

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        self.turns.gave_up(self.tasks.label(task), await_chain(task), "did not end in time, and is cut short")

    async def _last(self) -> None:
        """Tasks that were started during the cleanup, and what they acquired while they ended."""
        await self._cancel()
        await self._walk(plan([]), self.pushed)
        self._cleaned = True

    def _work(self) -> set[asyncio.Task[Any]]:
        """Every task that is to be stopped: on a loop of ours all that are listed."""
        if not self._owns_loop:
            return {task for task in self.tasks.supervised if not task.done() and task not in stragglers}
        work = asyncio.all_tasks()
        work.difference_update(stragglers)
        return work

    def _begin(self, hook: Hook, behind: int) -> Turn | None:
        """The turn of a hook that is to clean up; `None`: there is nothing to clean up."""
        residence = self._residences.get(hook)
        if hook.stage is Stage.RESOURCE and residence is None:
            return None  # never entered: its outcome at the start says so
        startups = self._startups.get(hook)
        if startups and self._completed.isdisjoint(startups):
            self._journal.outcomes.append((hook.name, Verdict.SKIPPED, hook.code, hook.stage, time.monotonic()))
            return None
        turn = Turn(hook, self._pace, "cleanup", behind)
        turn.offered = (self._inbox.cause,)
        if residence is not None:
            turn.resume = residence.leave
        if hook.stage is Stage.DRAIN:
            turn.stage, turn.limit = "drain", self._drain_limit
        self.turns.begin(turn)
        return turn

    async def _see_to(self, turn: Turn) -> None:
        await self.turns.watch(turn)
        if turn.error is not None and not self._journal.knows(turn.error):
            self._journal.errors.append(turn.error)
