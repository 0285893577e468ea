"""
What is stuck: reported when it is given up, and named before a forced end.

Everything that does not end in time comes through here, a hook, a task or code that blocks, so that each is
reported in the same words.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.frames import await_chain, busy_threads
from graceful._core.places import innermost
from graceful._core.types import EventKind, Outcome, Verdict
from graceful._hooks.active import ActiveHooks
from graceful._observe.journal import Journal
from graceful._observe.log import log
from graceful._process.unblock import Unblocked

__all__ = ["StuckReporter", "still_running"]

#: How many lines of what is still running are shown.
_MOST = 30


class StuckReporter:
    """
    Args:
        deadline: The deadline of the run.
        journal: Where it is kept for the report.
    """

    def __init__(self, deadline: Deadline, journal: Journal) -> None:
        self._deadline = deadline
        self._journal = journal

    def unblocked(self, error: Unblocked, what: str) -> None:
        """Code had blocked the loop for too long: report it, once, with what other threads do; one may be the reason."""
        if error.tell_once():
            self.gave_up(what, error.stack, "blocked the loop, and was unblocked", name_threads=True)

    def task_gave_up(self, task: asyncio.Task[Any], label: str, why: str, stage: str = "cancel") -> None:
        """As `gave_up`, for a task, with where it is stuck; `label` is what to call it."""
        self.gave_up(label, await_chain(task), why, stage)

    def gave_up(
        self, what: str, stack: tuple[str, ...], why: str, stage: str = "cancel", *, name_threads: bool = False
    ) -> None:
        """
        Log, and keep for the report, that something was not left to end by itself.

        Args:
            what: What to call it.
            stack: Where it was stuck, outermost first.
            why: What it did, and what was done about it.
            stage: The step of the sequence.
            name_threads: Whether to add where other threads are.
        """
        at = self._deadline.began_at if self._deadline.stopping else clock.now()
        where = stack[0].partition(" in ")[0] if stack else "?"
        took = max(0.0, clock.now() - at)
        outcome = Outcome(what, Verdict.TIMED_OUT, where, stage, at, took, None, stack)
        self._journal.add_outcome(outcome, EventKind.GAVE_UP)
        parts = [f"{what} {why} after {took:.1f} s"]
        parts += [f"stuck at {innermost(stack)}"] if stack else []
        if name_threads:
            name = threading.current_thread().name
            parts += [f"thread {other} is at {innermost(its)}" for other, its in busy_threads() if other != name]
        log(logging.WARNING, "; ".join(parts), stack=stack)


def still_running(
    active: ActiveHooks, tasks: Sequence[tuple[str, asyncio.Task[Any]]], jobs: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """
    One line for each hook, task and job that has not ended, for the message before a forced end; 30 at most.

    Called in the watchdog's thread, perhaps, while the main thread changes what is looked at.

    Args:
        active: The hooks that run now.
        tasks: The other tasks, each with what to call it.
        jobs: The jobs in executors, each with what to call it and where it is.
    """
    now = clock.now()
    stuck: list[tuple[str, tuple[str, ...]]] = []
    told: set[asyncio.Future[Any]] = set()
    for run in active.running():
        children = [child for child in [*run.tasks] if isinstance(child, asyncio.Task) and not child.done()]
        stuck.append((f"hook {run.hook} since {now - run.began_at:.1f} s", await_chain(run.task)))
        stuck += [(f"    its task {child.get_name()!r}", await_chain(child)) for child in children]
        told.update(children)
    stuck += [(label, await_chain(task)) for label, task in tasks if task not in told]
    stuck += jobs
    lines = [f"{what} at {innermost(stack)}" if stack else what for what, stack in stuck[:_MOST]]
    return [*lines, f"and {len(stuck) - _MOST} more"] if len(stuck) > _MOST else lines
