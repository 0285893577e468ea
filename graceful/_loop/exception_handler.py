"""
The loop's exception handler: which of the exceptions that it hears of are failures of the program.

Two ways lead here, and both call `loop.call_exception_handler`: asyncio's own reports, and failed tasks that nobody looks at
(see `unretrieved`). A fatal one goes to the app; the program's own exception handler, if it has set one, still hears
everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from graceful._core.asyncio_private import handle_owner
from graceful._loop.generators import closes_generator
from graceful._loop.patch import patch_method
from graceful._process.fork import forks

__all__ = ["ExceptionHandler", "is_fatal"]

Context = dict[str, Any]

_CONNECTION = ("transport", "protocol", "socket", "asyncgen")


def is_fatal(context: Context) -> bool:
    """
    Whether a call of the loop's exception handler means that the program has failed.

    Yes: an exception of a task or future that nobody retrieved, or of a callback; `SystemExit` and `KeyboardInterrupt`
    wherever they come from. No: one connection of many, the closing of an async generator, a warning without an exception.
    """
    error = context.get("exception")
    if error is None or isinstance(error, asyncio.CancelledError):
        return False  # 3.11.7 and 3.12.1 send a CancelledError when stream handlers are cancelled at the end
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return True
    if any(key in context for key in _CONNECTION) or "client_connected_cb" in context.get("message", ""):
        return False
    if "handle" in context:
        return _is_fatal_callback(context, error)
    task = context.get("future", context.get("task"))
    return task is not None and not closes_generator(task)


def _is_fatal_callback(context: Context, error: BaseException) -> bool:
    # asyncio calls `connection_made` and `datagram_received` by way of the loop, as it does any callback; uvloop's
    # handles show their callback in words only.
    owner = handle_owner(context["handle"])
    of_transport = isinstance(owner, (asyncio.BaseProtocol, asyncio.BaseTransport))
    # The loop's own callback for a socket may find the future cancelled meanwhile (seen in `sock_accept` on 3.11).
    of_loop = isinstance(owner, asyncio.AbstractEventLoop) and isinstance(error, asyncio.InvalidStateError)
    return not of_transport and not of_loop and "Transport._" not in context.get("message", "")


class ExceptionHandler:
    """
    Hears the loop's unhandled exceptions, from its creation to `detach`.

    Args:
        loop: The loop.
        on_fatal: Called in the loop with an exception that must stop the program, and its context.
        on_harmless: Called in the loop with the context of any other, before it is reported as without us.
        counts: Whether one that would stop the program does: during the shutdown most do not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_fatal: Callable[[BaseException, Context], None],
        on_harmless: Callable[[Context], None],
        counts: Callable[[Context], bool],
    ) -> None:
        self._loop = loop
        self._on_fatal = on_fatal
        self._on_harmless = on_harmless
        self._counts = counts
        self._forks = forks()
        self._unpatch = patch_method(loop, "call_exception_handler", self._wrap)

    def detach(self) -> None:
        """Hear no more."""
        self._unpatch()

    def _wrap(self, report: Callable[[Context], None]) -> Callable[[Context], None]:
        def call_exception_handler(context: Context) -> None:
            if forks() != self._forks:
                return  # in a forked child 3.14's loop complains that it is not running, over what the task itself says
            if is_fatal(context) and self._counts(context):
                self._on_fatal(context["exception"], context)
                if self._loop.get_exception_handler() is not None:  # asyncio's own would only print it now already
                    report(context)
            elif not isinstance(context.get("exception"), asyncio.CancelledError):
                self._on_harmless(context)
                report(context)

        return call_exception_handler
