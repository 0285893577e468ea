"""
hypercorn's workers: they are told to stop by an event that only the server itself looks at.

The command `hypercorn` serves in worker processes that handle no signal. Its main process sets an event, and a task of the
server in the worker looks at that ten times a second. When this task ends, the server closes its sockets, and then waits for
its connections. So the end of this task is what is announced; otherwise a request handler that waits in `App.sleep` would keep
the server for the whole of its `graceful_timeout`.

The task is found by the coroutine that it runs, `hypercorn.utils.raise_shutdown`, and by what that waits for. Checked with
hypercorn 0.18.0. Where these names are missing, nothing is announced before the server has closed its connections.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["hear_hypercorn"]

#: Seconds between two looks, and how many there are: the server begins to serve soon after the lifespan.
_EVERY, _LOOKS = 0.05, 200


def hear_hypercorn(loop: asyncio.AbstractEventLoop, on_told: Callable[[int], None]) -> None:
    """
    Call `on_told` with SIGTERM when a worker of hypercorn is told to stop; does nothing in any other process.

    Args:
        loop: The running loop, in which the lifespan has begun.
        on_told: Called in the loop.
    """
    utils = sys.modules.get("hypercorn.utils")
    if utils is not None and hasattr(utils, "raise_shutdown"):
        _look(loop, utils, on_told, _LOOKS)


def _look(loop: asyncio.AbstractEventLoop, utils: Any, on_told: Callable[[int], None], looks: int) -> None:
    for task in asyncio.all_tasks(loop):
        if _waits_for_event(task.get_coro(), utils):
            task.add_done_callback(lambda _: on_told(signal.SIGTERM))
            return
    if looks:
        loop.call_later(_EVERY, _look, loop, utils, on_told, looks - 1)


def _waits_for_event(coroutine: Any, utils: Any) -> bool:
    if not inspect.iscoroutine(coroutine) or coroutine.cr_code is not utils.raise_shutdown.__code__:
        return False
    frame = coroutine.cr_frame
    trigger = None if frame is None else frame.f_locals.get("shutdown_event")
    polls = getattr(utils, "check_multiprocess_shutdown_event", None)
    return isinstance(trigger, functools.partial) and trigger.func is polls
