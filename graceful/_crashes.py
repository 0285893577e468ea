"""
Crashes: exceptions that nobody handles, noticed.

Two ways lead here, and both end in `loop.call_exception_handler`: asyncio's own reports, and failed tasks that nobody
looks at (see `_patience`). What is fatal goes to the app; the program's own exception handler, if it has set one, hears
of everything as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from graceful._overlay import cover
from graceful._patience import Patience
from graceful._signals import forks

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
    if "handle" in context:
        # asyncio calls `connection_made` and `datagram_received` by way of the loop, as it does any callback; uvloop's
        # handles show their callback in words only.
        owner = getattr(getattr(context["handle"], "_callback", None), "__self__", None)
        of_transport = isinstance(owner, (asyncio.BaseProtocol, asyncio.BaseTransport))
        # Its own callback for a socket may find the future cancelled meanwhile (seen in `sock_accept` on 3.11).
        of_loop = isinstance(owner, asyncio.AbstractEventLoop) and isinstance(error, asyncio.InvalidStateError)
        return not of_transport and not of_loop and "Transport._" not in context.get("message", "")
    # An async generator that is let go is closed in a task.
    coro = getattr(context.get("future", context.get("task")), "_coro", None)
    return ("future" in context or "task" in context) and type(coro).__name__ != "async_generator_athrow"


class Crashes:
    """
    What hears of the loop's unhandled exceptions, for the time of a run.

    Args:
        patience: What watches tasks; `None`: they are not watched.
        fatal: Called in the loop for what must stop the program.
        harmless: Called in the loop for the rest, before it is reported as ever.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patience: Patience | None,
        fatal: Report,
        harmless: Callable[[Context], None],
    ) -> None:
        self._loop = loop
        self._patience = patience
        self._fatal = fatal
        self._harmless = harmless
        self._forks = forks()
        self._uncover: Callable[[], None]

    def attach(self) -> None:
        """Begin to hear."""
        self._uncover = cover(self._loop, "call_exception_handler", self._hearing)
        if self._patience is not None:
            self._patience.attach()

    def detach(self, *, over: bool) -> None:
        """End it. `over`: the loop ends with it, so what is still unretrieved is told now."""
        if self._patience is not None:
            self._patience.detach(over=over)
        self._uncover()

    def _hearing(self, report: Callable[[Context], None]) -> Callable[[Context], None]:
        def call_exception_handler(context: Context) -> None:
            if forks() != self._forks:
                return  # in a forked child 3.14's loop complains that it is not running, over what the task itself tells
            if is_fatal(context):
                self._fatal(context["exception"], context)
                if self._loop.get_exception_handler() is not None:  # asyncio's own would only print it now already
                    report(context)
            elif not isinstance(context.get("exception"), asyncio.CancelledError):
                self._harmless(context)
                report(context)

        return call_exception_handler
