"""
Crashes: exceptions that nobody handles, noticed.

Two ways lead here. The loop's exception handler is asyncio's own, and hears of a failed task only when that is garbage
collected, which is never while somebody holds it. So tasks are watched as well: a task factory adds a callback that
looks at each failed task once more after `patience` seconds. `Task._log_traceback` says whether anybody has retrieved
the exception by then; it is what asyncio's own report at garbage collection goes by.

While it waits, a task is held by nothing but a weak reference: watching must not keep it alive.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Crashes", "is_fatal"]

Context = dict[str, Any]
#: What hears of a crash: the exception and the context that the loop's exception handler was called with.
Report = Callable[[BaseException, Context], None]

_CONNECTION = ("transport", "protocol", "socket", "asyncgen")


def is_fatal(context: Context) -> bool:
    """
    Whether a call of the loop's exception handler means that the program has failed.

    Yes: an exception of a task or future that nobody retrieved, or of a callback; `SystemExit` and `KeyboardInterrupt`
    wherever they come from. No: one connection of many, an async generator's close, a warning without an exception.
    """
    error = context.get("exception")
    if error is None or isinstance(error, asyncio.CancelledError):
        return False  # 3.11.7 and 3.12.1 send a CancelledError when stream handlers are cancelled at the end
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return True
    if any(key in context for key in _CONNECTION) or "client_connected_cb" in context.get("message", ""):
        return False
    return "future" in context or "task" in context or "handle" in context


class Crashes:
    """
    The loop's exception handler and task factory, for the time of a run.

    Args:
        patience: Seconds a failed task may wait for somebody to retrieve its exception; `None`: tasks are not watched.
        fatal: Called in the loop for what must stop the program.
        harmless: Called in the loop for the rest, before the handler that was there reports it as ever.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patience: float | None,
        fatal: Report,
        harmless: Callable[[Context], None],
    ) -> None:
        self._loop = loop
        self._patience = patience
        self._fatal = fatal
        self._harmless = harmless
        self._pid = os.getpid()
        self._handler_before: Any = None
        self._factory_before: Any = None
        self._looking: dict[weakref.ref[asyncio.Future[Any]], asyncio.TimerHandle] = {}

    def attach(self) -> None:
        """Take both."""
        self._handler_before = self._loop.get_exception_handler()
        self._factory_before = self._loop.get_task_factory()
        self._loop.set_exception_handler(self._handle)
        if self._patience is not None:
            self._loop.set_task_factory(self._create)

    def detach(self) -> None:
        """Give both back; who has not retrieved an exception by now will not do so any more."""
        for reference in [*self._looking]:
            self._looking[reference].cancel()
            self._look_again(reference)
        self._loop.set_exception_handler(self._handler_before)
        self._loop.set_task_factory(self._factory_before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        if os.getpid() != self._pid:
            return  # in a forked child 3.14's loop complains that it is not running, over what the task itself tells
        if is_fatal(context):
            self._fatal(context["exception"], context)
            return
        if isinstance(context.get("exception"), asyncio.CancelledError):
            return
        self._harmless(context)
        if self._handler_before is None:
            loop.default_exception_handler(context)
        else:
            self._handler_before(loop, context)

    def _create(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        if self._factory_before is None:
            task: asyncio.Future[Any] = asyncio.Task(coro, loop=loop, **options)
        else:
            task = self._factory_before(loop, coro, **options)
        if task.done():  # an eager one: a callback would cost a turn of the loop
            self._ended(task)
        else:
            task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[Any]) -> None:
        if getattr(task, "_log_traceback", False) and self._patience is not None:
            reference = weakref.ref(task)
            self._looking[reference] = self._loop.call_later(self._patience, self._look_again, reference)

    def _look_again(self, reference: weakref.ref[asyncio.Future[Any]]) -> None:
        del self._looking[reference]
        task = reference()
        if task is None or not getattr(task, "_log_traceback", False):
            return
        error = task.exception()  # retrieved now, so that nobody reports it again
        if error is not None:
            message = f"nobody retrieved the exception of a task within {self._patience:g} s"
            self._fatal(error, {"message": message, "exception": error, "future": task})
