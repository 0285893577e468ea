"""
The turns under way: which hooks run now, how long they may, and what is told of how they ended.

Everything that is found not to end in time comes through here, a hook, a task or code that blocks, so that each is told
in the same words.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from typing import Any

from graceful._alarm import Unblocked
from graceful._budget import half_of_rest
from graceful._console import tell
from graceful._inbox import Inbox
from graceful._journal import Journal
from graceful._model import Verdict, describe, note
from graceful._pace import Pace
from graceful._stacks import await_chain, busy_threads, tip
from graceful._stragglers import leave_behind
from graceful._tasks import Tasks
from graceful._turn import Turn, current_turn, take_turn

__all__ = ["Turns"]


class Turns:
    """
    Args:
        owns_loop: Whether all code in the loop is ours to unblock, or only that of hooks and supervised tasks.

    Attributes:
        under_way: Those that have begun and are not over.
        starting: The startup hook that runs now, if one does; it is cut short when the program is told to stop.
        cancel_began: When the tasks were asked to end, on the pace's clock.
    """

    def __init__(self, pace: Pace, journal: Journal, inbox: Inbox, tasks: Tasks, *, owns_loop: bool) -> None:
        self.under_way: set[Turn] = set()
        self.starting: Turn | None = None
        self.cancel_began = -math.inf
        self._pace = pace
        self._journal = journal
        self._inbox = inbox
        self._tasks = tasks
        self._owns_loop = owns_loop

    # --- whose code runs -------------------------------------------------------------------------------------------

    def current(self) -> Turn | None:
        """The turn that the running code belongs to, if that is still under way."""
        if not self.under_way:
            return None
        turn = current_turn()  # a task that a startup hook created inherited its turn, which is long over
        return turn if turn in self.under_way else None

    def allowed(self) -> float:
        """
        Until when the code that runs now may block the loop: a hook until its time is up, other code for half of the grace.

        In a signal handler, which runs in the context of that code.
        """
        turn, stopping = self.current(), self._inbox.stopping
        starting = turn is not None and turn is self.starting
        if turn is not None and not (starting and stopping):
            return turn.until()
        if not stopping or not (self._owns_loop or starting or self._runs_supervised()):
            return math.inf
        return half_of_rest(max(self._pace.since, self.cancel_began), self._pace.deadline)

    def _runs_supervised(self) -> bool:
        return asyncio._get_running_loop() is not None and asyncio.current_task() in self._tasks.supervised

    def remaining(self) -> float:
        """Seconds left to the caller: see `App.remaining`."""
        if not self._inbox.stopping:
            return math.inf
        turn = self.current()
        return max(0.0, (self._pace.deadline if turn is None else turn.until()) - self._pace.clock())

    # --- from its begin to what is told of it ----------------------------------------------------------------------

    def begin(self, turn: Turn) -> None:
        """It is under way; to be called before it starts, because it may block at once. Once more does nothing."""
        self.under_way.add(turn)

    def end(self, turn: Turn) -> None:
        """It is over; how it ended is kept for the report."""
        self.under_way.discard(turn)
        self._journal.outcomes.append(turn.end())

    async def watch(self, turn: Turn, *, done: Any = None) -> None:
        """
        See to it that a turn ends, and start it unless it has been started.

        Args:
            done: What ends the hook's own part, where that is not the end of its task.
        """
        guarded = not self._inbox.stopping and turn.until() < math.inf  # while the program runs, nobody else sees to it
        if guarded:
            self._pace.guard(True)
        self.begin(turn)
        task = turn.task or turn.start()
        await take_turn(turn, task, self._pace, done=done)
        self.end(turn)
        if guarded:
            self._pace.guard(False)
        if turn.verdict is Verdict.TIMED_OUT:
            for late in (task, *turn.tasks):
                self.leave(late)
        _tell_of(turn)

    # --- what does not end in time ---------------------------------------------------------------------------------

    def leave(self, task: asyncio.Future[Any]) -> None:
        """Behind; if it still fails while the program stops, that is told."""
        leave_behind(task)
        if self._tasks.patience is not None and task not in self._tasks.supervised:
            self._tasks.patience.watch_again(task)

    def unblocked(self, error: Unblocked, what: str) -> None:
        """Something had blocked the loop for too long: say so, once, and what other threads did, one of which may know why."""
        if not error.told:
            error.told = True
            self.gave_up(what, error.stack, "blocked the loop, and was unblocked", others=True)

    def gave_up(
        self, what: str, stack: tuple[str, ...], why: str, stage: str = "cancel", *, others: bool = False
    ) -> None:
        """Tell, and keep for the report, that something was not left to end by itself; `others`: and what threads do."""
        at = self._inbox.cause.at if self._inbox.cause is not None else time.monotonic()
        where = stack[0].partition(" in ")[0] if stack else "?"
        took = max(0.0, time.monotonic() - at)
        self._journal.outcomes.append((what, Verdict.TIMED_OUT, where, stage, at, took, None, stack))
        parts = [f"{what} {why} after {took:.1f} s"]
        parts += [f"it stood at {tip(stack)}"] if stack else []
        if others:
            name = threading.current_thread().name
            parts += [f"thread {other} stands at {tip(its)}" for other, its in busy_threads() if other != name]
        tell(logging.WARNING, "; ".join(parts), stack=stack)

    def still_running(self) -> list[str]:
        """
        One line for each hook and task that has not ended, for the message that precedes a forced end.

        Who else runs now? Perhaps the main thread, which changes these sets: hence the copies.
        """
        now = self._pace.clock()
        stuck = [
            (f"hook {turn.hook} since {now - turn.began:.1f} s", await_chain(turn.task)) for turn in [*self.under_way]
        ]
        stuck += [(self._tasks.label(task), await_chain(task)) for task in [*self._tasks.supervised]]
        return [f"{what} at {tip(stack)}" if stack else what for what, stack in stuck]


def _tell_of(turn: Turn) -> None:
    what = f"{turn.stage} hook {turn.hook}"
    if turn.error is not None:
        note(turn.error, f"in {what}")
    if turn.verdict is Verdict.TIMED_OUT:
        tell(logging.INFO, f"{turn.stage} hook {turn.error}", hook=turn.hook.name, stack=turn.stack)
    elif turn.error is not None and turn.stage == "on_exception":  # it is not raised if another hook deals with it
        tell(logging.WARNING, f"{what} failed: {describe(turn.error)}", hook=turn.hook.name)
    elif turn.verdict is Verdict.CANCELLED and not turn.cut:
        tell(logging.WARNING, f"{what} was cancelled from inside: not all of it ran")
