"""
Critical blocks: which tasks the shutdown may not cancel now.

Not only those in a block. asyncio passes a cancellation on: who awaits a task, gathers it, or has it in a TaskGroup,
cancels it when he is cancelled himself. So whoever waits for a task in a block is spared for as long as that is; and so is
what the block itself waits for, the tasks of a `gather` or a TaskGroup in it. Who waits is read off the callbacks that
asyncio has left on the task. (3.14 keeps `Task._asyncio_awaited_by`; earlier ones do not.)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Task: TypeAlias = asyncio.Task[Any]

__all__ = ["Blocks", "Critical"]


class Blocks:
    """
    The blocks that tasks are in.

    Attributes:
        stands_for: Tasks that are not ours to cancel, each with the one that is cancelled in its place.
        left: Called in the loop when a task is in no block any more.
    """

    def __init__(self) -> None:
        self.stands_for: dict[asyncio.Future[Any], Task] = {}
        self._labels: dict[asyncio.Future[Any], list[str]] = {}
        self._postponed: set[Task] = set()
        self.left: Callable[[], None] = lambda: None

    def open(self, task: Task, label: str) -> None:
        """From here on the shutdown does not cancel it; `label` says what for."""
        self._labels.setdefault(self.stands_for.get(task, task), []).append(label)

    def close(self, task: Task) -> None:
        """It may be cancelled again, and whoever waits for it; cancellations that had to wait are made good."""
        task = self.stands_for.get(task, task)
        self._labels[task].pop()
        if not self._labels[task]:
            del self._labels[task]
            # Soon, not now: if this was the last thing it had to do, it ends by itself.
            task.get_loop().call_soon(self._make_good)

    def holds(self, task: Task | None) -> bool:
        """Whether it is in a block."""
        return task in self._labels

    def label(self, task: Task) -> str:
        """The block it is in, for a message."""
        return "".join(f" in critical block {label!r}" for label in self._labels.get(task, [])[-1:])

    def postpone(self, tasks: Iterable[Task]) -> set[Task]:
        """Those of the tasks that must not be cancelled now; they are when nothing speaks against it any more."""
        spared: set[Task] = self._spared(tasks).intersection(tasks) if self._labels else set()
        self._postponed |= spared
        return spared

    def give_up(self) -> set[Task]:
        """Their time is over: those that are still postponed, to be cancelled at once."""
        late, self._postponed = self._postponed, set()
        return {task for task in late if not task.done()}

    def _make_good(self) -> None:
        if self._postponed:
            ready = self._postponed - self._spared(self._postponed)
            self._postponed -= ready
            for task in ready:
                task.cancel()
        self.left()

    def _spared(self, tasks: Iterable[Task]) -> set[Any]:
        waits_for: dict[Any, set[Any]] = {}
        waiters = functools.partial(self._waiters_of, waits_for)
        _reach({*tasks}, waiters)
        inside = _reach({*self._labels}, lambda future: waits_for.get(future, set()))
        return _reach(inside, waiters)

    def _waiters_of(self, waits_for: dict[Any, set[Any]], future: Any) -> set[Any]:
        """Who waits for it; and takes note of that in the other direction."""
        waiters = {self.stands_for.get(waiter, waiter) for waiter in _waiters(future)}
        for waiter in waiters:
            waits_for.setdefault(waiter, set()).add(future)
        return waiters


class Critical(contextlib.AbstractAsyncContextManager[None]):
    """One block: what `App.critical` returns. No generator, because the loop would close that while the block is open."""

    def __init__(self, find: Callable[[], Blocks], label: str) -> None:
        self._find = find
        self._label = label
        self._opened: dict[Task, list[Blocks]] = {}

    async def __aenter__(self) -> None:
        blocks, task = self._find(), asyncio.current_task()
        assert task is not None
        blocks.open(task, self._label)
        self._opened.setdefault(task, []).append(blocks)

    async def __aexit__(self, *_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        # A generator that is let go is closed by the loop, in a task of its own: then the block is that of who entered it.
        owner = task if task in self._opened else next(reversed(self._opened))
        opened = self._opened[owner]
        opened.pop().close(owner)
        if not opened:
            del self._opened[owner]


def _reach(start: set[Any], following: Callable[[Any], set[Any]]) -> set[Any]:
    """All that one comes to from there, each looked at once."""
    reached, unseen = {*start}, [*start]
    while unseen:
        found = following(unseen.pop()) - reached
        reached |= found
        unseen += found
    return reached


def _waiters(future: Any) -> Iterator[asyncio.Future[Any]]:
    """Whoever is woken when it is done: the tasks that await it, the futures of `gather` and `wait_for`, a group's owner."""
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        arguments: Any = getattr(callback, "args", ())
        held = [
            getattr(callback, "__self__", None),
            *(arguments if tuple in type(arguments).__mro__ else ()),
        ]  # method, partial
        for cell in getattr(callback, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # still empty
                held.append(cell.cell_contents)
        for each in held:
            if isinstance(each, asyncio.Future):
                yield each
            elif isinstance(each, asyncio.TaskGroup) and each._parent_task is not None:  # type: ignore[attr-defined]
                yield each._parent_task  # type: ignore[attr-defined]
