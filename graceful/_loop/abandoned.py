"""
Abandoned tasks: those that did not end when they were cancelled.

They are kept alive to the very end of the process. Whatever lets go of a suspended coroutine throws GeneratorExit into it:
the garbage collector while the program runs, and the interpreter when it ends and empties its modules. A coroutine that
swallows even that would spin there for ever, with no thread left to end the process. What a thread that never ends holds
is never let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from graceful._core.asyncio_private import abandon_silently

__all__ = ["abandon", "abandoned", "forget_abandoned", "keep_abandoned"]

abandoned: set[asyncio.Future[Any]] = set()
_keepers: list[threading.Thread] = []


def abandon(task: asyncio.Future[Any]) -> None:
    """Leave a task behind, after it was reported: it is not cancelled again, and asyncio does not complain about it."""
    if not task.done():
        abandon_silently(task)
        abandoned.add(task)
        task.add_done_callback(abandoned.discard)


def forget_abandoned(loop: asyncio.AbstractEventLoop) -> list[asyncio.Future[Any]]:
    """No longer keep those of this loop; returns them. For a loop of a process that is only simulated."""
    tasks = [task for task in abandoned if task.get_loop() is loop]
    abandoned.difference_update(tasks)
    return tasks


def keep_abandoned() -> None:
    """Have those that there are outlive the interpreter."""
    if abandoned and not _keepers:
        _keepers.append(threading.Thread(target=_hold, args=(abandoned,), name="graceful keeper", daemon=True))
        with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
            _keepers[0].start()


def _hold(_held: object) -> None:
    threading.Semaphore(0).acquire()
