"""
Whose task is it: work, which is cancelled, or part of something acquired, which is in use until that is released.

What a startup hook, a resource or `enter_async_context` starts belongs to what was acquired: a client's sender and reader, a
server's connection tasks. Cancelling it before the acquisition is released would lose what a client had to flush, and the
requests that a server is answering. So it is left alone until then.

A context variable says who started a task: tasks, callbacks, handles and servers keep the context in which they were made,
and what they start inherits it. `Task.get_context()` came with 3.12; on 3.11 each such task is noted when it is created.

Rejected: asking which tasks an object refers to (a client keeps its tasks in attributes of any name, or in none), and
letting users list them (the first program that forgets one loses data).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any

from graceful._loop.hidden import listed_tasks
from graceful._loop.patch import patch_method

__all__ = ["Owner", "Ownership", "as_work", "current_owner", "own", "owning"]


class Owner:
    """Something that was acquired and starts tasks; in use until it is released."""

    def __init__(self) -> None:
        self.in_use = True

    def release(self) -> None:
        """What is left of it is work from now on."""
        self.in_use = False


_owner: ContextVar[Owner | None] = ContextVar("graceful owner", default=None)


def own(owner: Owner) -> None:
    """What the current task starts from now on belongs to `owner`."""
    _owner.set(owner)


@contextlib.contextmanager
def owning(owner: Owner) -> Generator[None]:
    """What the current task starts in this block belongs to `owner`."""
    token = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(token)


def current_owner() -> Owner | None:
    """What the running code belongs to, if that is in use."""
    owner = _owner.get()
    return owner if owner is not None and owner.in_use else None


def as_work() -> Context | None:
    """The context for a task that is work although an owner starts it; `None`: the current one will do."""
    if _owner.get() is None:
        return None
    context = copy_context()
    context.run(_owner.set, None)
    return context


class Ownership:
    """
    The owners of one run, and the tasks that belong to them.

    Args:
        loop: The loop they run in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._owners: set[Owner] = set()
        self._noted: weakref.WeakKeyDictionary[asyncio.Future[Any], Owner] = weakref.WeakKeyDictionary()
        self._hidden: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._loop = loop
        self._unpatch: Callable[[], None] | None = None

    def detach(self) -> None:
        """Give the loop's method back, if one was patched."""
        if self._unpatch is not None:
            self._unpatch()

    def new_owner(self) -> Owner:
        """An owner of this run."""
        if sys.version_info < (3, 12) and self._unpatch is None:
            self._unpatch = patch_method(self._loop, "create_task", self._wrap_create_task)
        owner = Owner()
        self._owners.add(owner)
        return owner

    def in_use(self, tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
        """Those of the tasks that belong to something in use, and so must not be cancelled."""
        if not any(owner.in_use for owner in self._owners):
            return set()
        return {task for task in tasks if (owner := self._owner_of(task)) is not None and owner.in_use}

    def release(self, owner: Owner) -> set[asyncio.Task[Any]]:
        """The acquisition is released: returns the tasks that are left of it, to be cancelled."""
        owner.release()
        self._owners.discard(owner)
        tasks = listed_tasks() | {task for task in self._hidden if not task.done()}
        return {task for task in tasks if self._owner_of(task, released=owner) is owner}

    def add_hidden(self, task: asyncio.Task[Any], context: Context) -> None:
        """A task that is not in `asyncio.all_tasks()` belongs to what is acquired in its context, too."""
        self._hidden.add(task)
        if (owner := context.get(_owner)) is not None:
            self._noted[task] = owner

    def _owner_of(self, task: asyncio.Task[Any], released: Owner | None = None) -> Owner | None:
        """The owner of this run that the task belongs to; one of another run does not count."""
        get_context = getattr(task, "get_context", None)
        owner = self._noted.get(task) if get_context is None else get_context().get(_owner)
        return owner if owner is released or owner in self._owners else None

    def _wrap_create_task(self, create_task: Callable[..., asyncio.Future[Any]]) -> Callable[..., asyncio.Future[Any]]:
        def create(coro: Any, **options: Any) -> asyncio.Future[Any]:
            task = create_task(coro, **options)
            context = options.get("context")
            owner = _owner.get() if context is None else context.get(_owner)
            if owner is not None:
                self._noted[task] = owner
            return task

        return create
