"""
One run of a hook: within its time slice, isolated from all other hooks, until the tasks it left behind have ended.

Nothing here is awaited without a limit. `asyncio.wait_for` and `asyncio.timeout` are no limit: they wait for code that
swallows the cancellation (measured: 2.3 s for a limit of 0.3 s). So a hook is a task of its own that is watched from
outside: out of time it is cancelled, gets a moment to unwind, and is then abandoned.

What a hook leaves behind belongs to it: tasks that it started, and tasks that these started, are part of its run. They
are known by a context variable, which every task inherits from the one that created it (see `adoption`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

from graceful._core import clock
from graceful._core.budget import Slice, slice_of, within_timeout
from graceful._core.deadline import Deadline
from graceful._core.errors import HookTimeout
from graceful._core.frames import await_chain, strip_internal_frames, unwound_lines
from graceful._core.marks import calls_user_code
from graceful._core.types import Outcome, Verdict
from graceful._hooks.hook import Hook, is_awaitable
from graceful._loop.generators import closes_generator
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks, start_eagerly
from graceful._loop.ownership import Owner, own
from graceful._loop.waiting import Waiting
from graceful._process.fork import end_if_forked, forks
from graceful._process.unblock import split_unblocked

__all__ = ["HookRun", "current_hook_run"]


class HookRun:
    """
    A hook's run: from its start until it and everything it left behind have ended, or its time is up.

    Args:
        hook: The hook.
        stage: The step of the sequence, for the outcome.
        deadline: The deadline of the app's run.
        behind: How many hooks wait for it, one after the other.
        offered: What the hook is called with, as far as it takes it.
        limit: Says when its stage must be over, whatever the budget would allow; `None`: only the budget counts.
        holds: Says whether a task is in a critical block, and must not be cut short; `None`: no task is.
        resume: Starts it in the task where it lives, if it is the second half of a resource; `None`: it gets its own task.
        owner: What it acquires: what it starts belongs to that, and lives until that is released; `None`: nothing.
        release: Called when the hook's own part has ended, if it releases something; returns what is left of what was
            acquired: tasks, which are cancelled as part of this run, and futures for jobs, which are waited for.

    Attributes:
        task: The task it runs in, once it was started.
        tasks: The tasks that were created in it and have not ended.
        cut: Whether it is no longer wanted: a startup hook when the program is told to stop.
        ended: Whether it is over, and its outcome was taken.
        completed: Whether it came to its end without an error.
        verdict: How it ended, once it has.
        abandoned: Whether something of it did not end, although it was cancelled and given a moment.
        value: What the hook returned.
        error: What it raised.
        timeout: That its time was up, if it was; it may have raised something else then.
        stack: Where it was when it was timed out or cancelled, if it was.
        began_at: When it began, on the clock.
    """

    def __init__(
        self,
        hook: Hook,
        stage: str,
        deadline: Deadline,
        behind: int = 0,
        *,
        offered: tuple[Any, ...] = (),
        limit: Callable[[], float] | None = None,
        holds: Callable[[asyncio.Task[Any] | None], bool] | None = None,
        resume: Callable[[HookRun], asyncio.Task[None]] | None = None,
        owner: Owner | None = None,
        release: Callable[[], Iterable[asyncio.Future[Any]]] | None = None,
    ) -> None:
        self.hook = hook
        self.stage = stage
        self.behind = behind
        self.task: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Future[Any]] = set()
        self.cut = False
        self.ended = False
        self.completed = False
        self.abandoned = False
        self.verdict = Verdict.OK
        self.value: Any = None
        self.error: BaseException | None = None
        self.timeout: HookTimeout | None = None
        self.stack: tuple[str, ...] = ()
        self.began_at = clock.now()
        self._counted_from = deadline.fix(self.began_at)
        self._deadline = deadline
        self._offered = offered
        self._limit = limit
        self._holds = holds
        self._resume = resume
        self._owner = owner
        self._release = release
        self._loop = asyncio.get_running_loop()

    # --- its time --------------------------------------------------------------------------------------------------

    def until(self) -> float:
        """When its time is up, on the clock."""
        if self.cut:
            held = self._holds is not None and self._holds(self.task)
            until = self._deadline.half_of_rest(self._deadline.changed_at) if held else -math.inf
        else:
            until = self._slice.cancel_at
        return within_timeout(until, self._counted_from(), self.hook.timeout)

    def remaining(self) -> float:
        """Seconds until its time is up; never negative."""
        return max(0.0, self.until() - clock.now())

    def _abandon_at(self, cancelled_at: float) -> float:
        """When it is abandoned, if it is cancelled at this time: after a moment, and within its slice."""
        if self.cut:  # a start that is broken off may have much to undo
            return self._deadline.half_of_rest(max(cancelled_at, self._deadline.changed_at))
        return self._slice.abandon_after(cancelled_at)

    @property
    def _slice(self) -> Slice:
        end = self._deadline.at if self._limit is None else min(self._limit(), self._deadline.at)
        return slice_of(max(self.began_at, self._deadline.changed_at), end, self.behind)

    # --- running ---------------------------------------------------------------------------------------------------

    def start(self, waiting: Waiting) -> asyncio.Task[None]:
        """Run the hook, in a task of its own unless it has one. From now on it may block the loop until its time is up."""
        waiting.starts(self.until())
        if self._resume is not None:
            return self._resume(self)
        # Not by the loop's factory: that is the user's, and may take fewer arguments.
        task = self.task = start_eagerly(HiddenTask[None], self.carry_out(), self._loop, f"graceful {self.hook.name}")
        return task if task.done() else hide_from_all_tasks(task)

    @calls_user_code
    async def carry_out(self, steps: Awaitable[object] | None = None) -> None:
        """
        Run the hook, in a context that tells its children which run they belong to, and keep what comes of it.

        SystemExit and the like, which would stop the loop, do not leave. A cancellation does, and so does an error that
        comes after the outcome was reported: it is a failure of its own, noticed like that of any task.

        Args:
            steps: What to run, where that is only a part of the hook; `None`: all of it.
        """
        _current.set(self)
        if self._owner is not None:
            own(self._owner)
        before = forks()
        try:
            value = self.hook(*self._offered) if steps is None else steps
            self.value = await value if is_awaitable(value) else value
        except asyncio.CancelledError as error:
            self.stack = unwound_lines(error)
            raise
        except BaseException as error:
            if self.abandoned and isinstance(error, Exception):
                raise
            self._keep_error(error)
        if forks() != before:
            end_if_forked(before, self.error)
        self.completed = self.error is None

    def _keep_error(self, error: BaseException) -> None:
        """Keep what the hook raised. What was raised in it to unblock the loop is the end of its time, not its own error."""
        ours, theirs = split_unblocked(error)
        for each in ours:
            each.tell_once()
        if ours:
            self.error = self.timeout = self._make_timeout(ours[0].stack)
            self.error.__context__ = theirs
        else:
            self.error = strip_internal_frames(error)

    def lives_in(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """It runs in a task that was made for it; returns the task."""
        self.task = task
        return task

    def cut_short(self) -> None:
        """It is no longer wanted, and has no time left outside a critical block."""
        self.cut = True

    def adopt(self, task: asyncio.Future[Any]) -> None:
        """A task was created by the hook or by one of its tasks; one in another thread's loop is not its own."""
        if not task.done() and task.get_loop() is self._loop:
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    # --- its end ---------------------------------------------------------------------------------------------------

    def ended_at_once(self) -> bool:
        """Whether it has ended without an error, and left nothing behind."""
        task = self.task  # which may have cancelled itself on its way out
        released = self._release is None  # else there may be tasks left of it
        return self.completed and released and not self.tasks and task is not None and not task.cancelled()

    async def wait_ended(self, waiting: Waiting, done: asyncio.Future[Any] | None = None) -> None:
        """
        Wait until the hook and what it left behind have ended, or its time is up; then cancel and perhaps abandon it.

        Args:
            waiting: The waits of the app's run.
            done: What ends the hook's own part, where that is not the end of its task.
        """
        task = self.task
        assert task is not None
        in_time = await waiting.wait_done([done or task], self.until)
        if in_time:
            self._cancel_what_is_left()
        while in_time and (left := [child for child in self.tasks if not child.done()]):
            in_time = await waiting.wait_done(left, self.until)
        if not in_time:
            await self._time_out(task, waiting)
        elif isinstance(self.error, HookTimeout):
            self.stack = self.error.stack
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            self._keep_error(error)  # a resource that ended before its time, by a group or a scope around its yield
        self.verdict = self._judge(task, in_time=in_time)

    async def _time_out(self, task: asyncio.Task[None], waiting: Waiting) -> None:
        self._cancel_what_is_left()
        late: list[asyncio.Future[Any]] = [task, *self.tasks]
        stack = next((chain for each in late if (chain := await_chain(each))), ())
        if not self.cut:
            before, self.timeout = self.error, self._make_timeout(stack)
            self.error = self.timeout
            self.error.__context__ = before
        for each in late:
            each.cancel()
        now = self._deadline.fix(clock.now())
        self.abandoned = not await waiting.wait_done(late, lambda: self._abandon_at(now()))
        self.stack = stack

    def _make_timeout(self, stack: tuple[str, ...]) -> HookTimeout:
        took, timeout = clock.now() - self.began_at, self.hook.timeout
        why = ""
        if timeout is not None and self.until() < self._counted_from() + timeout:
            why = f"its share of the grace of {self._deadline.grace:g} s was over (its timeout is {timeout:g} s)"
        return HookTimeout(self.hook.name, took, stack, why)

    def _cancel_what_is_left(self) -> None:
        """Of what was acquired, and is released now."""
        release, self._release = self._release, None
        for left in () if release is None else release():
            if left is not self.task:
                if isinstance(left, asyncio.Task) and not closes_generator(left):  # that is waited for
                    left.cancel()
                self.adopt(left)

    def _judge(self, task: asyncio.Task[None], *, in_time: bool) -> Verdict:
        if self.error is not None and self.error is self.timeout:
            return Verdict.TIMED_OUT
        if self.error is not None:
            return Verdict.RAISED
        if in_time and not self.completed and task.done() and task.cancelled() and not task.cancelling():
            self.error = asyncio.CancelledError(f"{self.hook.name} was cancelled, and nobody asked for it")
        return Verdict.CANCELLED if not in_time or (task.done() and task.cancelled()) else Verdict.OK

    def was_cut_by_hurry(self) -> bool:
        """Whether it ran out of time only because somebody pressed Ctrl-C again."""
        timed_out = self.timeout is not None and self._deadline.hurried
        return timed_out and (self.hook.timeout is None or clock.now() < self._counted_from() + self.hook.timeout)

    def finish(self) -> Outcome:
        """It is over: returns its outcome."""
        self.ended = True
        self.task = None  # its context holds this object: a cycle, which would be left to the garbage collector
        hook, took = self.hook, clock.now() - self.began_at
        return Outcome(hook.name, self.verdict, hook.where, self.stage, self.began_at, took, self.error, self.stack)


_current: ContextVar[HookRun | None] = ContextVar("graceful hook run", default=None)


def current_hook_run(context: Any = None) -> HookRun | None:
    """The hook run that the running code belongs to, or the code in `context` would belong to; `None`: to none."""
    return _current.get() if context is None else context.get(_current)
