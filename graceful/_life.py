"""
The life of a run, inside its loop: start, serve, wind down.

It is a coroutine in a task that cannot be cancelled, and everything it waits for is either news or has a limit. When
it has ended the loop stops, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from graceful._alarm import Unblocked, sift
from graceful._budget import HURRY, drain_until, half_of_rest
from graceful._console import tell
from graceful._errors import Interrupted
from graceful._exit import end_child
from graceful._hook import Hook, Stage
from graceful._inbox import Inbox
from graceful._journal import Journal
from graceful._machine import Sighting, State
from graceful._model import Cause, Failure, Kind, Settings, Verdict, describe, note
from graceful._pace import Pace, resolve
from graceful._plan import Plan, plan, startups_of
from graceful._sequence import Residence, Turn, adopting, current_turn, leave_turn, take_turn
from graceful._signals import forks
from graceful._stacks import await_chain, busy_threads, origin, strip_our_frames, tip
from graceful._stragglers import leave_behind, stragglers
from graceful._tasks import Tasks, Unlisted, off_the_list
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
        pushed: What was acquired while running, to be released before the registered hooks.
        result: What main returned.
        told: The tasks that have asked to be told, and end by themselves if there is time.
        finished: Whether main ended by itself.
    """

    def __init__(
        self, hooks: Sequence[Hook], settings: Settings, pace: Pace, journal: Journal, *, owns_loop: bool
    ) -> None:
        self.tasks = Tasks(self._task_failed)
        self.pushed: deque[Hook] = deque()
        self._listeners: set[asyncio.Future[bool]] = set()
        self.signalled: deque[signal.Signals] = deque()
        self.result: Any = None
        self.finished = False
        self._cleaned = False
        self.main: asyncio.Future[Any] | None = None
        self.inbox: Inbox
        self._hooks = hooks
        self._forks = forks()
        self._settings = settings
        self._pace = pace
        self._journal = journal
        self._owns_loop = owns_loop
        self._drains = plan(self.hooks_of(Stage.DRAIN))
        self._cleanups = plan(self.hooks_of(Stage.CLEANUP, Stage.RESOURCE))
        self._startups = startups_of(hooks)
        self._completed: set[Hook] = set()
        self._residences: dict[Hook, Residence] = {}
        self._turns: set[Turn] = set()
        self._starting: Turn | None = None
        self._drain_end = math.inf
        self._failing_since = math.inf
        self._hurry_told = False
        self._cancel_began = -math.inf
        self.tasks.blocks.left = pace.reconsider
        self.told: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._news: asyncio.Event = asyncio.Event()
        self._reacting: dict[Hook, dict[signal.Signals, None]] = {}

    def acquire(self, hook: Hook) -> None:
        """Release it in the cleanup; not before the hook has ended that acquires it."""
        if self._turns:
            hook.owner = current_turn()
        self.pushed.append(hook)

    @property
    def over(self) -> bool:
        """Whether the cleanup is over, or its time is, so that what is acquired now would never be released."""
        return self._cleaned or self._pace.clock() >= self._pace.deadline

    def hooks_of(self, *stages: Stage) -> list[Hook]:
        """The hooks of these stages, in the order of registration."""
        return [hook for hook in self._hooks if hook.stage in stages]

    # --- what was heard, and who fails -----------------------------------------------------------------------------

    def heed(self) -> None:
        """In the loop, soon after anything was posted: whoever waits hears of it."""
        self.inbox.decide_all()
        if self.inbox.stopping:
            for listener in self._listeners:
                resolve(listener, False)
            if self._starting is not None:
                self._starting.cut = True
        self._pace.reconsider()
        self._news.set()
        if self._pace.hurried and not self._hurry_told:
            self._hurry_told = True
            tell(
                logging.INFO, f"{self._settings.name} hurries: {HURRY:g} s to clean up; Ctrl-C again to end it at once"
            )

    def fail(
        self,
        error: BaseException,
        message: str,
        context: dict[str, Any] | None = None,
        task: Any = None,
        *,
        came: str = "",
    ) -> None:
        """
        An exception that nobody handled. The same one is told once, however many ways lead here.

        Args:
            came: Where from, as a note for who reads its traceback.
        """
        self._end_if_forked(error)
        strip_our_frames(error)  # the last to hold a task, perhaps, which asyncio then reports at this very moment
        cause = self.inbox.cause
        if self._journal.knows(error) or (cause is not None and cause.exception is error):
            return
        ours, theirs = sift(error)
        for each in ours:
            self.unblocked(each, message if task is None else "main" if task is self.main else self.tasks.label(task))
        if theirs is None:
            return
        error, at = theirs, time.monotonic()
        if came:
            note(error, came)
        if isinstance(error, KeyboardInterrupt):
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
            self.inbox.post(Sighting.SIGNAL, Cause(Kind.SIGNAL, at, signal=number, exception=error))
        else:
            context = {"message": message, "exception": error, **(context or {})}
            self.inbox.post(
                Sighting.FAILURE, Cause(Kind.EXCEPTION, at, exception=error), Failure(error, message, context, task, at)
            )

    def unblocked(self, error: Unblocked, what: str) -> None:
        """Something had blocked the loop for too long: say so, once, and what other threads did, one of which may know why."""
        if not error.told:
            error.told = True
            self._gave_up(what, error.stack, "blocked the loop, and was unblocked", others=True)

    def allowed(self) -> float:
        """
        Until when the code that runs now may block the loop: a hook until its time is up, other code for half of the grace.

        In a signal handler, which runs in the context of that code.
        """
        turn = current_turn()
        if turn is not None and turn in self._turns and not (turn is self._starting and self.inbox.stopping):
            return turn.until()
        starting = turn is not None and turn is self._starting
        if not self.inbox.stopping or not (self._owns_loop or starting or self._runs_supervised()):
            return math.inf
        return half_of_rest(max(self._pace.since, self._cancel_began), self._pace.deadline)

    def _runs_supervised(self) -> bool:
        return asyncio._get_running_loop() is not None and asyncio.current_task() in self.tasks.supervised

    def note(self, context: dict[str, Any]) -> None:
        """The loop reported what is no failure of the program: one connection of many, a warning."""
        error = context.get("exception")
        if error is not None:
            failure = Failure(error, str(context.get("message", "")), context, at=time.monotonic())
            self._journal.failures.append(failure)

    def _task_failed(self, task: asyncio.Task[Any], made: str, error: BaseException) -> None:
        """A supervised task has failed, and so has the program."""
        self.fail(error, f"task {task.get_name()!r} failed", {"task": task}, task, came=f"in {origin(task, made)}")

    def main_ended(self, task: asyncio.Task[Any]) -> None:
        """Main is done, and with it the program."""
        self._end_if_forked(SystemExit(0) if task.cancelled() else task.exception() or SystemExit(0))
        if task.cancelled():
            if not self.inbox.stopping:
                self.fail(asyncio.CancelledError("main was cancelled"), "main was cancelled", {"task": task}, task)
        elif (error := task.exception()) is not None and not self._journal.knows(error):
            self.fail(error, "main failed", {"task": task}, task)
        elif error is not None:  # it was told already, by the task that main had awaited: main is over all the same
            self.inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, time.monotonic()))
        else:
            self.result = task.result()
            self.finished = True
            self.inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, time.monotonic()))

    def _end_if_forked(self, error: BaseException) -> None:
        """A forked child that comes here fell out of its parent's work: the parent's hooks are not for it to run."""
        if forks() != self._forks:
            end_child(error)

    async def _handle_all(self) -> None:
        while self._journal.unhandled:
            await self._regardless(self._handle(self._journal.unhandled.popleft()))

    async def _handle(self, failure: Failure) -> None:
        """Ask the on_exception hooks; what none of them deals with stops the program."""
        at = self._failing_since = min(self._failing_since, time.monotonic())
        starting = self.inbox.cause is not None and self.inbox.cause.exception is failure.exception
        dealt_with = False
        raised: list[BaseException] = []
        loop = asyncio.get_running_loop()
        asked = [hook for hook in self.hooks_of(Stage.EXCEPTION) if isinstance(failure.exception, hook.types)]
        for behind, hook in zip(reversed(range(len(asked))), asked, strict=True):
            turn = Turn(hook, self._pace, "on_exception", behind)
            turn.offered = (failure,) if hook.arity == 1 else (loop, {**failure.context})
            turn.limit = lambda: half_of_rest(at, at + self._settings.grace)
            # While the program runs, what a hook starts (the worker that failed, say) is to go on.
            with adopting() if self.inbox.stopping else contextlib.nullcontext():
                await self._watch(turn)
            dealt_with = dealt_with or turn.value is True
            raised += [] if turn.error is None else [turn.error]
        exits = [error for error in raised if not isinstance(error, Exception)]  # sys.exit() in a hook says how to end
        if exits or not dealt_with or starting:  # a start that failed cannot go on, whatever a hook says
            errors = [*exits, failure.exception, *(error for error in raised if isinstance(error, Exception))]
            self._journal.errors += errors
            self.inbox.post(Sighting.UNHANDLED, Cause(Kind.EXCEPTION, at, exception=errors[0]))
            return
        self._failing_since = math.inf
        if failure.task is not None and failure.task is self.main:
            self.inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, at))

    # --- start and serve -------------------------------------------------------------------------------------------

    async def live(self, go: Callable[[], asyncio.Future[Any] | None]) -> None:
        """
        From the first startup hook to the last task.

        Args:
            go: Called when the start is over, to start main; not called if the program was told to stop before.
        """
        leave_turn()
        self.inbox.decide_all()
        self._warn_of_timeouts()
        await self._start_up()
        self.inbox.enter(State.RUNNING)
        if not self.inbox.stopping:
            try:
                for hook in self.hooks_of(Stage.BACKGROUND):
                    made = f"registered as a background hook at {hook.where}"
                    self.tasks.create(hook.function(), made, hook.name, drain=hook.drain)
                self.main = go()
            # SystemExit of an eager task's first step leaves create_task; a task factory may raise whatever it likes.
            except BaseException as error:
                self.fail(error, "a task could not be started")
        self._news.set()  # there may be some from before the loop
        while not self.inbox.stopping:
            await self._news.wait()
            self._news.clear()
            await self._handle_all()
            while self.signalled:
                self._react(self.signalled.popleft())
        assert self.inbox.cause is not None
        await self._wind_down(self.inbox.cause)

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
        self.inbox.enter(State.STARTING)
        for hook in self.hooks_of(Stage.STARTUP, Stage.RESOURCE):
            if self.inbox.stopping:
                return
            turn = self._starting = Turn(hook, self._pace, "startup")
            turn.holds = self.tasks.blocks.holds
            await (self._enter(turn) if hook.stage is Stage.RESOURCE else self._start(turn))
            self._starting = None
            if turn.error is not None:
                self.fail(turn.error, f"{hook} failed", {})
            elif turn.verdict is Verdict.CANCELLED and not self.inbox.stopping:
                self.fail(asyncio.CancelledError(f"{hook} was cancelled"), f"{hook} was cancelled")

    async def _start(self, turn: Turn) -> None:
        await self._watch(turn)
        if turn.verdict is Verdict.OK:
            self._completed.add(turn.hook)

    async def _enter(self, turn: Turn) -> None:
        residence = Residence(turn.hook)
        residence.enter(turn)
        await self._watch(turn, done=residence.entered)
        if residence.inside:
            self._completed.add(turn.hook)
            self._residences[turn.hook] = residence
            residence.task.add_done_callback(functools.partial(self._residence_ended, turn.hook))

    def _residence_ended(self, hook: Hook, task: asyncio.Task[Any]) -> None:
        """By a group or a scope around its yield: what else it raises is the outcome of its turn."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error, f"resource {hook.name} failed", {"task": task}, task, came=f"in resource {hook}")

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
                    self.fail(error, f"{hook} could not be started")

    async def _reaction(self, hook: Hook) -> None:
        try:
            while pending := self._reacting[hook]:
                number = next(iter(pending))
                del pending[number]
                await hook(number)
        finally:
            del self._reacting[hook]

    async def sleep(self, delay: float) -> bool:
        """Sleep, or be told: see `App.sleep`."""
        if self.inbox.stopping:
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

    def remaining(self) -> float:
        """Seconds left to the caller: see `App.remaining`."""
        if not self.inbox.stopping:
            return math.inf
        turn = current_turn()
        # A task that a startup hook created inherited its turn, which is long over.
        limit = turn.until() if turn is not None and turn in self._turns else self._pace.deadline
        return max(0.0, limit - self._pace.clock())

    # --- wind down -------------------------------------------------------------------------------------------------

    async def _wind_down(self, cause: Cause) -> None:
        self._announce(cause)
        await self._handle_all()
        with adopting():
            await self._regardless(self._drain(cause))
            await self._regardless(self._cancel())
            await self._regardless(self._walk(self._cleanups, self.pushed))
            await self._regardless(self._last())

    async def _regardless(self, step: Coroutine[Any, Any, None]) -> None:
        """The last resort: whatever goes wrong in a step of our own, the next one is taken, and the error is raised."""
        try:
            await step
        except (Exception, KeyboardInterrupt, Unblocked) as error:  # Ctrl-C, where the signals are somebody else's
            self._went_wrong(error)

    def _went_wrong(self, error: BaseException) -> None:
        if isinstance(error, Unblocked):  # somebody's `__str__`, say, that blocks while it is told
            self.unblocked(error, "what was asked for a text")
        else:
            self._journal.errors.append(error)
            self.inbox.stop()

    async def _walk(self, hooks: Plan, pushed: deque[Hook]) -> None:
        def watch(turn: Turn) -> Coroutine[Any, Any, None]:
            return self._regardless(self._see_to(turn))

        await walk(
            hooks, pushed, self._pace, begin=self._begin, watch=watch, ended=self._ended, spoilt=self._went_wrong
        )

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
                    self._gave_up(
                        self.tasks.label(task), await_chain(task), "was waited for, and is cancelled now", "drain"
                    )
        for _ in range(2):  # whoever awaited one of these comes to its turn, and may end by itself
            await asyncio.sleep(0)

    def _drain_limit(self) -> float:
        return self._unless_hurried(self._drain_end)

    def _unless_hurried(self, limit: float) -> float:
        return -math.inf if self._pace.hurried else limit

    async def _cancel(self) -> None:
        self._cancel_began = self._pace.clock()
        for task in await self.tasks.cancel(self._work, self._pace, self._cut_short):
            self._gave_up(self.tasks.label(task), await_chain(task), "would not be cancelled, and is left behind")
            self._leave(task)

    def _leave(self, task: asyncio.Future[Any]) -> None:
        """Behind; if it still fails while the program stops, that is told."""
        leave_behind(task)
        if self.tasks.patience is not None and task not in self.tasks.supervised:
            self.tasks.patience.watch_again(task)

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        self._gave_up(self.tasks.label(task), await_chain(task), "did not end in time, and is cut short")

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

    def _gave_up(
        self, what: str, stack: tuple[str, ...], why: str, stage: str = "cancel", *, others: bool = False
    ) -> None:
        at = self.inbox.cause.at if self.inbox.cause is not None else time.monotonic()
        where = stack[0].partition(" in ")[0] if stack else "?"
        took = max(0.0, time.monotonic() - at)
        self._journal.outcomes.append((what, Verdict.TIMED_OUT, where, stage, at, took, None, stack))
        parts = [f"{what} {why} after {took:.1f} s"]
        parts += [f"it stood at {tip(stack)}"] if stack else []
        if others:
            name = threading.current_thread().name
            parts += [f"thread {other} stands at {tip(its)}" for other, its in busy_threads() if other != name]
        tell(logging.WARNING, "; ".join(parts), stack=stack)

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
        turn.offered, turn.residence = (self.inbox.cause,), residence
        if hook.stage is Stage.DRAIN:
            turn.stage, turn.limit = "drain", self._drain_limit
        self._turns.add(turn)  # before it begins: it may block
        return turn

    def _ended(self, turn: Turn) -> None:
        self._turns.discard(turn)
        self._journal.outcomes.append(turn.end())

    async def _see_to(self, turn: Turn) -> None:
        await self._watch(turn)
        if turn.error is not None and not self._journal.knows(turn.error):
            self._journal.errors.append(turn.error)

    async def _watch(self, turn: Turn, *, done: Any = None) -> None:
        """See to it that a turn ends, and begin it unless it has begun."""
        guarded = not self.inbox.stopping and turn.until() < math.inf  # while the program runs, nobody else sees to it
        if guarded:
            self._pace.guard(True)
        self._turns.add(turn)  # before it begins: an eager task runs at once, and may block
        task = turn.task or turn.start()
        await take_turn(turn, task, self._pace, done=done)
        self._turns.discard(turn)
        if guarded:
            self._pace.guard(False)
        self._journal.outcomes.append(turn.end())
        what = f"{turn.stage} hook {turn.hook}"
        if turn.error is not None:
            note(turn.error, f"in {what}")
        if turn.verdict is Verdict.TIMED_OUT:
            for late in (task, *turn.tasks):
                self._leave(late)
            tell(logging.INFO, f"{turn.stage} hook {turn.error}", hook=turn.hook.name, stack=turn.stack)
        elif turn.error is not None and turn.stage == "on_exception":  # it is not raised if another hook deals with it
            tell(logging.WARNING, f"{what} failed: {describe(turn.error)}", hook=turn.hook.name)
        elif turn.verdict is Verdict.CANCELLED and not turn.cut:
            tell(logging.WARNING, f"{what} was cancelled from inside: not all of it ran")

    def still_running(self) -> list[str]:
        """
        One line for each hook and task that has not ended, for the message that precedes a forced end.

        Who else runs now? Perhaps the main thread, which changes these sets: hence the copies.
        """
        now = self._pace.clock()
        stuck = [
            (f"hook {turn.hook} since {now - turn.began:.1f} s", await_chain(turn.task)) for turn in [*self._turns]
        ]
        stuck += [(self.tasks.label(task), await_chain(task)) for task in [*self.tasks.supervised]]
        return [f"{what} at {tip(stack)}" if stack else what for what, stack in stuck]
