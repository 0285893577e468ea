"""
Stragglers: tasks that would not end when they were told to.

They are held for as long as they live, and beyond that to the very end of the process. Whatever lets go of a suspended
coroutine throws GeneratorExit into it: the garbage collector while the program runs, the interpreter when it ends and
empties its modules. One that swallows even that would spin there, for ever, with no thread left to end the process. What a
thread holds that never ends is never let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

__all__ = ["keep_stragglers", "leave_behind", "stragglers"]

stragglers: set[asyncio.Future[Any]] = set()
_keepers: list[threading.Thread] = []


def leave_behind(task: asyncio.Future[Any]) -> None:
    """It was told, or is part of what was: nobody is to cancel it again, or to say that it was destroyed."""
    if not task.done():
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        stragglers.add(task)
        task.add_done_callback(stragglers.discard)


def keep_stragglers() -> None:
    """Have those that there are, if any, outlive the interpreter."""
    if stragglers and not _keepers:
        _keepers.append(threading.Thread(target=_keep, args=(stragglers,), name="graceful keeper", daemon=True))
        with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
            _keepers[0].start()


def _keep(_held: object) -> None:
    threading.Semaphore(0).acquire()
