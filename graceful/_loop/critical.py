"""
Critical blocks (`App.critical`): which tasks the shutdown must not cancel now.

Not only those in a block. asyncio passes a cancellation on: a task that awaits another one, gathers it or has it in a
TaskGroup cancels it when it is cancelled itself. So whatever waits for a task in a block is spared as long as the block
lasts; and so is what the block itself waits for, such as the tasks of a `gather` or a TaskGroup in it. Which tasks wait is
read off the callbacks that asyncio has left on the task. (3.14 keeps `Task._asyncio_awaited_by`; earlier ones do not.)

What is still spared when a block ends is found by looking at all that are. For thousands of blocks that end one after the
other this would take quadratic time, so it is done for all that have ended meanwhile, and takes a fifth of the time at most:
8,000 blocks, the last of which ends 1.2 s after the signal, take 1.4 s instead of using up a grace of 8 s. With a few blocks
the pause is a fraction of a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from typing_extensions import override

from graceful._core.asyncio_private import waiters_of
from graceful._core.pace import Pace

__all__ = ["CriticalBlock", "CriticalBlocks"]

Task: TypeAlias = asyncio.Task[Any]

#: The share of the time that looking for the tasks to cancel may take.
_SHARE = 0.2


class CriticalBlocks:
    """
    The blocks that tasks are in.

    Args:
        on_left: Called in the loop when a task is in no block any more.
    """

    def __init__(self, on_left: Callable[[], None]) -> None:
        self._on_left = on_left
        self._stand_ins: dict[asyncio.Future[Any], Task] = {}
        self._labels: dict[asyncio.Future[Any], list[str]] = {}
        self._postponed: set[Task] = set()
        self._checking = False
        self._checked: asyncio.Future[None] | None = None
        self._pace = Pace(_SHARE)

    def stand_in_for(self, task: Task, stand_in: Task) -> None:
        """`task` is not ours to cancel: `stand_in` is cancelled in its place, and what `task` enters counts for it."""
        self._stand_ins[task] = stand_in

    def cancellable(self, task: Task) -> Task:
        """The task that is cancelled in the place of this one; nearly always the task itself."""
        return self._stand_ins.get(task, task)

    async def settle(self, task: Task) -> None:
        """
        The task is about to enter a block: if it, or what waits for it, was to be cancelled when the last one ended, it is now.

        Else a loop that awaits nothing between its blocks would never be cancelled.
        """
        if self._checking and self._postponed and not self.holds(self.cancellable(task)):
            if self._checked is None:
                self._checked = task.get_loop().create_future()
            await asyncio.wait([self._checked])

    def enter(self, task: Task, label: str) -> None:
        """From now on the shutdown does not cancel the task; `label` says what it is doing."""
        self._labels.setdefault(self.cancellable(task), []).append(label)

    def leave(self, task: Task) -> None:
        """The task may be cancelled again, and so may what waits for it; cancellations that had to wait are made up for."""
        task = self.cancellable(task)
        self._labels[task].pop()
        if not self._labels[task]:
            del self._labels[task]
            self._check_soon(task.get_loop())

    def holds(self, task: Task | None) -> bool:
        """Whether the task is in a block."""
        return task in self._labels

    def label(self, task: Task) -> str:
        """The block that the task is in, for a message; empty if it is in none."""
        return "".join(f" in critical block {label!r}" for label in self._labels.get(task, [])[-1:])

    def postpone(self, tasks: Iterable[Task], among: Iterable[Task] | None = None) -> set[Task]:
        """
        Those of the tasks that must not be cancelled now; they are as soon as nothing holds them any more.

        Args:
            tasks: What is about to be cancelled.
            among: All tasks that may wait for each other; `None`: the same ones.
        """
        if not self._labels:
            return set()
        spared: set[Task] = self._spared(tasks if among is None else among).intersection(tasks)
        self._postponed |= spared
        return spared

    def give_up(self) -> set[Task]:
        """The time for blocks is over: returns the tasks that are still postponed, to be cancelled at once."""
        late, self._postponed = self._postponed, set()
        return {task for task in late if not task.done()}

    def _check_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Soon, not now: if this was the last thing that a task had to do, it ends by itself."""
        if not self._checking:
            self._checking = True
            if pause := self._pace.pause():
                loop.call_later(pause, self._cancel_postponed)
            else:
                loop.call_soon(self._cancel_postponed)

    def _cancel_postponed(self) -> None:
        self._checking = False
        with self._pace.measured():
            if self._postponed:
                ready = self._postponed - self._spared(self._postponed)
                self._postponed -= ready
                for task in ready:
                    task.cancel()
            if self._checked is not None:
                self._checked.set_result(None)
                self._checked = None
            self._on_left()

    def _spared(self, tasks: Iterable[Task]) -> set[Any]:
        waits_for: dict[Any, set[Any]] = {}
        waiters = functools.partial(self._waiters, waits_for)
        _reach({*tasks}, waiters)
        inside = _reach({*self._labels}, lambda future: waits_for.get(future, set()))
        return _reach(inside, waiters)

    def _waiters(self, waits_for: dict[Any, set[Any]], future: Any) -> set[Any]:
        """What waits for the future; and notes that in the other direction."""
        waiters: set[Any] = {self.cancellable(waiter) for waiter in waiters_of(future)}  # type: ignore[arg-type] # a future stands for itself
        for waiter in waiters:
            waits_for.setdefault(waiter, set()).add(future)
        return waiters


class CriticalBlock(contextlib.AbstractAsyncContextManager[None]):
    """
    One block: what `App.critical` returns. Not a generator, because the loop would close that while the block is open.

    Args:
        find: Returns the blocks of the running app, when the block is entered.
        label: What it is called in messages.
    """

    def __init__(self, find: Callable[[], CriticalBlocks], label: str) -> None:
        if not isinstance(label, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"critical() takes a label, got {label!r}: write `async with app.critical():`")
        self._find = find
        self._label = label
        self._used = False
        self._entered: dict[Task, list[CriticalBlocks]] = {}

    def __del__(self) -> None:
        """As for a coroutine that was never awaited: without `async with` it protects nothing."""
        if not getattr(self, "_used", True):
            text = f"critical({self._label!r}) was never entered: write `async with app.critical():`"
            warnings.warn(text, RuntimeWarning, stacklevel=2, source=self)

    @override
    async def __aenter__(self) -> None:
        self._used = True
        blocks, task = self._find(), asyncio.current_task()
        assert task is not None
        await blocks.settle(task)
        blocks.enter(task, self._label)
        self._entered.setdefault(task, []).append(blocks)

    @override
    async def __aexit__(self, *_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        # The loop closes a generator that is let go in a task of its own: then the block is that of the task that entered.
        owner = task if task in self._entered else next(reversed(self._entered))
        entered = self._entered[owner]
        entered.pop().leave(owner)
        if not entered:
            del self._entered[owner]


def _reach(start: set[Any], following: Callable[[Any], set[Any]]) -> set[Any]:
    """Everything that can be reached from there, each looked at once."""
    reached, unseen = {*start}, [*start]
    while unseen:
        found = following(unseen.pop()) - reached
        reached |= found
        unseen += found
    return reached
