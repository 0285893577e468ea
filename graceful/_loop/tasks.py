"""Supervised tasks: those of `App.create_task` and `background`, whose failure is noticed at once."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from typing_extensions import TypeVar

from graceful._loop.children import ChildTask
from graceful._loop.critical import CriticalBlocks
from graceful._loop.hidden import hide_from_all_tasks
from graceful._loop.ownership import as_work
from graceful._loop.unretrieved import UnretrievedExceptions

__all__ = ["SupervisedTasks"]

T = TypeVar("T", default=Any)


class SupervisedTasks:
    """
    Args:
        loop: Where they run.
        unretrieved: Watches the loop's other tasks; `None`: nothing does.
        blocks: The critical blocks, for messages.
        on_failed: Called in the loop with a task that has failed, a text that says how it was made, and its exception.

    Attributes:
        main: The task that main runs in; `None`: there is none, or it has not begun.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        unretrieved: UnretrievedExceptions | None,
        blocks: CriticalBlocks,
        on_failed: Callable[[asyncio.Task[Any], str, BaseException], None],
    ) -> None:
        self.main: asyncio.Task[Any] | None = None
        self._essential: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._loop = loop
        self._unretrieved = unretrieved
        self._blocks = blocks
        self._on_failed = on_failed
        self._running: dict[asyncio.Task[Any], str] = {}
        self._draining: set[asyncio.Task[Any]] = set()
        # Made once: a bound method and a copy of the context for each task would be 64 bytes for each.
        self._on_done = self._done
        self._context = Context()

    # By position, which is how Python calls it fastest.
    def create(
        self,
        coro: Coroutine[Any, Any, T],
        made: str,
        name: str | None = None,
        context: Context | None = None,
        drain: bool = False,
    ) -> asyncio.Task[T]:
        """
        Start a supervised task.

        Args:
            coro: What it runs.
            made: How it was made, for messages: `created at file:line in function`.
            name: The task's name; `None`: asyncio makes one up.
            context: The context it runs in; `None`: a copy of the current one.
            drain: Whether it is waited for before anything is cancelled.
        """
        if self._unretrieved is not None:
            self._unretrieved.skip(coro)
        # A user's task factory may take nothing but the coroutine.
        loop = self._loop
        task: asyncio.Task[T]
        if context is not None:
            task = loop.create_task(coro, context=context)
        elif (outside := as_work()) is not None:  # a startup hook or a resource starts it, and it is work all the same
            task = outside.run(loop.create_task, coro)
        else:
            task = loop.create_task(coro)
        if name is not None and hasattr(
            task, "set_name"
        ):  # asyncio puts up with a factory's task without it before 3.13
            task.set_name(name)
        self._running[task] = made
        task.add_done_callback(self._on_done, context=self._context)
        if drain:
            self._draining.add(task)
            task.add_done_callback(self._draining.discard, context=self._context)
        return task

    def create_main(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the task of main. It is not one of the supervised tasks: its end is the end of the program."""
        if self._unretrieved is not None:
            self._unretrieved.skip(coro)
        task = self._loop.create_task(coro)
        self.main = task
        return task

    def create_stand_in(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """
        Start a supervised task that stands for main, where main is the block of `async with app:`.

        Not in `asyncio.all_tasks()`: code in the block that cancels or gathers all other tasks would end the block, or wait
        for itself.
        """
        task = self.main = hide_from_all_tasks(self.create(coro, "", name))
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        made = self._running.pop(task, None)
        if made is None:
            return
        if task.cancelled():
            if not task.cancelling():  # nobody asked for it: a client has cancelled its futures, perhaps
                text = f"task {task.get_name()!r} was cancelled, and nobody asked for it"
                self._on_failed(task, made, asyncio.CancelledError(text))
        elif (error := task.exception()) is not None:
            self._on_failed(task, made, error)

    def is_essential(self, task: object) -> bool:
        """Whether the end of the task is the end of the program, like that of main."""
        return task in self._essential

    def make_essential(self, task: asyncio.Task[Any]) -> None:
        """The end of the task is to be the end of the program."""
        self._essential.add(task)

    def release(self, task: asyncio.Task[Any]) -> None:
        """No longer wait for the task, or stop it."""
        del self._running[task]

    def __contains__(self, task: object) -> bool:
        return task in self._running

    def running(self) -> set[asyncio.Task[Any]]:
        """Those that have not ended. Safe in another thread."""
        return {*self._running}

    def draining(self) -> set[asyncio.Task[Any]]:
        """Those that have not ended, and are waited for before anything is cancelled."""
        return {task for task in self._draining if not task.done()}

    def label(self, task: asyncio.Task[Any]) -> str:
        """What to call a task in a message: its name, and the critical block it is in."""
        if task is self.main:
            return f"main{self._blocks.label(task)}"
        if isinstance(task, ChildTask):
            return task.get_name()
        return f"task {task.get_name()!r}{self._blocks.label(task)}"
