"""
Turns: a hook that runs inside a budget, isolated from all others.

Nothing here is awaited without a limit. `asyncio.wait_for` and `asyncio.timeout` are no limit: they wait for whoever
swallows the cancellation (measured: 2.3 s for a limit of 0.3 s). So a hook is a task of its own that is watched from
outside: out of time it is cancelled, gets a moment to unwind, and is then left behind.

What a hook leaves behind belongs to it: tasks it started, and tasks that these started, are part of its turn. They
are known by a context variable, which every task inherits from the one that created it; it is read where tasks are
created, for the time of the shutdown only.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

from graceful._alarm import sift
from graceful._budget import MOMENT, Slice, half_of_rest, slice_of
from graceful._errors import HookTimeout
from graceful._exit import end_if_forked
from graceful._hook import Hook, is_awaitable
from graceful._model import Verdict
from graceful._overlay import cover
from graceful._pace import Pace
from graceful._signals import forks
from graceful._stacks import await_chain, strip_our_frames, unwound_lines
from graceful._tasks import Unlisted, eager, off_the_list

__all__ = ["Turn", "adopting", "current_turn", "take_turn"]


class Turn:
    """
    A hook's turn: from its start until it and all it left behind have ended, or its time has.

    Args:
        stage: The step of the sequence, for the outcome.
        behind: How many hooks wait for it, one after the other.

    Attributes:
        offered: What the hook is called with, as far as it takes it.
        resume: Starts it where it lives, if it is the second half of a resource; `None`: it is given a task of its own.
        holds: Says whether a task is in a critical block, and so not to be cut; `None`: none is.
        limit: Says when its stage must be over, whatever the budget would allow; `None`: nothing more.
        task: The task it runs in, once it was started.
        tasks: The tasks that were created in it and have not ended.
        cut: Whether it is no longer wanted: a startup hook when the program is told to stop.
        ended: Whether it is over, and told.
        carried: Whether it came to its end, and well.
        given_up: Whether it had not ended when its time was over.
        verdict: How it ended, once it has.
        value: What the hook returned.
        error: What it raised.
        stack: Where it was when it was timed out or cancelled, if it was.
    """

    def __init__(self, hook: Hook, pace: Pace, stage: str, behind: int = 0) -> None:
        self.hook = hook
        self.stage = stage
        self.behind = behind
        self.offered: tuple[Any, ...] = ()
        self.resume: Callable[[Turn], asyncio.Task[None]] | None = None
        self.holds: Callable[[asyncio.Task[Any] | None], bool] | None = None
        self.limit: Callable[[], float] | None = None
        self.task: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Future[Any]] = set()
        self.cut = False
        self.ended = False
        self.carried = False
        self.given_up = False
        self.verdict = Verdict.OK
        self.value: Any = None
        self.error: BaseException | None = None
        self.stack: tuple[str, ...] = ()
        self.began = pace.clock()
        self._pace = pace
        self._loop = asyncio.get_running_loop()

    def until(self) -> float:
        """When its time is up, on the pace's clock."""
        if self.cut:
            held = self.holds is not None and self.holds(self.task)
            until = half_of_rest(self._pace.since, self._pace.deadline) if held else -math.inf
        else:
            until = self._slice.until
        return until if self.hook.timeout is None else min(until, self.began + self.hook.timeout)

    def over(self) -> float:
        """When it is given up, if it has been cancelled now: after a moment, and within its slice."""
        now = self._pace.clock()
        if self.cut:  # a start that is broken off may have much to undo
            return half_of_rest(now, self._pace.deadline)
        return max(now, min(now + MOMENT, self._slice.over))

    @property
    def _slice(self) -> Slice:
        end = self._pace.deadline if self.limit is None else min(self.limit(), self._pace.deadline)
        return slice_of(max(self.began, self._pace.since), end, self.behind)

    def raised(self, error: BaseException) -> None:
        """Keep what the hook raised; what the alarm raised in it is no error of its own, but the end of its time."""
        ours, theirs = sift(error)
        for each in ours:
            each.told = True
        if ours:
            self.error = HookTimeout(self.hook.name, self._pace.clock() - self.began, ours[0].stack)
            self.error.__context__ = theirs
        else:
            self.error = strip_our_frames(error)

    def adopt(self, task: asyncio.Future[Any]) -> None:
        """A task was created by the hook, or by one that it created; one in another loop, of a thread, is not its own."""
        if not task.done() and task.get_loop() is self._loop:
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def carry(self, steps: Awaitable[object] | None = None) -> None:
        """
        Run the hook, in a context that tells its children whose they are, and keep what comes of it.

        SystemExit and its like, which would stop the loop, do not leave; a cancellation does, and an error that comes when
        the outcome was told, because that is a failure of its own, and watched like that of any task.

        Args:
            steps: What to run, where that is but a part of the hook; `None`: all of it.
        """
        _TURN.set(self)
        before = forks()
        try:
            value = self.hook(*self.offered) if steps is None else steps
            self.value = await value if is_awaitable(value) else value
        except asyncio.CancelledError as error:
            self.stack = unwound_lines(error)
            raise
        except BaseException as error:
            if self.given_up and isinstance(error, Exception):
                raise
            self.raised(error)
        if forks() != before:
            end_if_forked(before, self.error)
        self.carried = self.error is None

    def start(self, limit: float | None = None) -> asyncio.Task[None]:
        """
        Run the hook, in a task of its own unless it has one.

        Args:
            limit: A time at which it has to be over at the latest; `None`: to be asked for.
        """
        self._pace.expect(self.until() if limit is None else limit)
        if self.resume is not None:
            return self.resume(self)
        # Not by the loop's factory: that is somebody else's, and may take fewer arguments.
        name = f"graceful {self.hook.name}"
        task = self.task = eager(Unlisted, self.carry(), self._loop, name)
        return task if task.done() else off_the_list(task)

    def ended_at_once(self) -> bool:
        """Whether it has ended, and well, and left nothing behind."""
        task = self.task  # which may have cancelled itself on its way out
        return self.carried and not self.tasks and task is not None and not task.cancelled()

    def end(self) -> tuple[Any, ...]:
        """It is over: how it ended, for the journal."""
        self.ended = True
        self.task = None  # whose context holds the turn: a circle, which would be left to the garbage collector
        hook, took = self.hook, self._pace.clock() - self.began
        return hook.name, self.verdict, hook.code, self.stage, self.began, took, self.error, self.stack


_TURN: ContextVar[Turn | None] = ContextVar("graceful turn", default=None)


def current_turn() -> Turn | None:
    """The turn that the running code belongs to, if any."""
    return _TURN.get()


@contextlib.contextmanager
def adopting() -> Generator[None, None, None]:
    """Cover `create_task`, so that a turn learns of the tasks created in it."""

    def adopt(create_task: Callable[..., asyncio.Future[Any]]) -> Callable[..., asyncio.Future[Any]]:
        def create(coro: Any, **options: Any) -> asyncio.Future[Any]:
            task = create_task(coro, **options)
            context = options.get("context")
            turn = _TURN.get() if context is None else context.get(_TURN)
            if turn is not None:
                turn.adopt(task)
            return task

        return create

    uncover = cover(asyncio.get_running_loop(), "create_task", adopt)
    try:
        yield
    finally:
        uncover()


async def take_turn(
    turn: Turn, task: asyncio.Task[None], pace: Pace, *, done: asyncio.Future[Any] | None = None
) -> None:
    """
    Watch a hook's task until it and what it left behind have ended, or its time has.

    Args:
        done: What ends the hook's own part, where that is not the end of its task.
    """
    in_time = await pace.settle([done or task], turn.until)
    while in_time and (left := [child for child in turn.tasks if not child.done()]):
        in_time = await pace.settle(left, turn.until)
    if not in_time:
        stack = next((chain for each in (task, *turn.tasks) if (chain := await_chain(each))), ())
        if not turn.cut:
            turn.raised(HookTimeout(turn.hook.name, pace.clock() - turn.began, stack))
        late: list[asyncio.Future[Any]] = [task, *turn.tasks]
        for each in late:
            each.cancel()
        over = turn.over()
        turn.given_up = not await pace.settle(late, lambda: over)
        turn.stack = stack
    elif isinstance(turn.error, HookTimeout):
        turn.stack = turn.error.stack
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        turn.raised(error)  # a resource that ended before its time, by a group or a scope around its yield
    turn.verdict = _verdict(turn, task, in_time)


def _verdict(turn: Turn, task: asyncio.Task[None], in_time: bool) -> Verdict:
    if isinstance(turn.error, HookTimeout) and turn.error.hook == turn.hook.name:
        return Verdict.TIMED_OUT
    if turn.error is not None:
        return Verdict.RAISED
    return Verdict.CANCELLED if not in_time or (task.done() and task.cancelled()) else Verdict.OK
