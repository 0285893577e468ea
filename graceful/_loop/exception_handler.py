"""
The loop's exception handler: which of the exceptions that it hears of are failures of the program.

Two ways lead here, and both call `loop.call_exception_handler`: asyncio's own reports, and failed tasks that nobody looks at
(see `unretrieved`). A fatal one goes to the app; the program's own exception handler, if it has set one, still hears
everything.

It is heard through asyncio's public slot, `loop.set_exception_handler`, so that `loop.get_exception_handler()` shows that an
app is there. A handler that was there before is below ours, and is called by it. But there is one slot, and the last to set
it makes the others deaf, unless it calls them: the program sets a handler of its own, an error tracker replaces that, and
puts it back later. And from 3.12 on asyncio calls what is in the slot in the context of the task that a report names, and
cannot if that task is running. So `call_exception_handler` is wrapped besides: the apps are told whatever is in the slot,
and what a handler is then called with by the one above it is not heard a second time.

Rejected: to wrap `set_exception_handler` and keep ours on top. The program would not find in the slot what it has set, and
a report that names the running task would be lost.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, cast

from typing_extensions import override

from graceful._core.asyncio_private import handle_owner
from graceful._loop.generators import closes_generator
from graceful._loop.patch import patch_method
from graceful._process.fork import forks

__all__ = ["ExceptionHandler", "is_fatal"]

Context = dict[str, Any]
Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, Context], object]

_CONNECTION = ("transport", "protocol", "socket", "asyncgen")


def is_fatal(context: Context) -> bool:
    """
    Whether a call of the loop's exception handler means that the program has failed.

    Yes: an exception of a task or future that nobody retrieved, or of a callback; `SystemExit` and `KeyboardInterrupt`
    wherever they come from. No: one connection of many, the closing of an async generator, a warning without an exception;
    nor what a library reports by hand, even if it names the task in which it happened.
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
    future = context.get("future", context.get("task"))
    return _has_failed_with(future, error) and not closes_generator(future)


def _has_failed_with(future: Any, error: BaseException) -> bool:
    return asyncio.isfuture(future) and future.done() and not future.cancelled() and future.exception() is error


def _is_fatal_callback(context: Context, error: BaseException) -> bool:
    # asyncio calls `connection_made` and `datagram_received` by way of the loop, as it does any callback; uvloop's
    # handles show their callback in words only, so there the traceback must say whose method it was.
    owner = handle_owner(context["handle"]) or _called_on(error.__traceback__)
    of_transport = isinstance(owner, (asyncio.BaseProtocol, asyncio.BaseTransport))
    # The loop's own callback for a socket may find the future cancelled meanwhile (seen in `sock_accept` on 3.11).
    of_loop = isinstance(owner, asyncio.AbstractEventLoop) and isinstance(error, asyncio.InvalidStateError)
    return not of_transport and not of_loop and "Transport._" not in context.get("message", "")


def _called_on(traceback: TracebackType | None) -> object:
    """The object whose method an exception came through first, outside of compiled code; `None`: it was a function."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.endswith(".pyx"):
        traceback = traceback.tb_next
    if traceback is None or not traceback.tb_frame.f_code.co_argcount:
        return None
    code = traceback.tb_frame.f_code
    first = cast(object, traceback.tb_frame.f_locals.get(code.co_varnames[0]))
    method = getattr(type(first), code.co_name, None)
    return first if getattr(method, "__code__", None) is code else None


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
        self._on_fatal = on_fatal
        self._on_harmless = on_harmless
        self._counts = counts
        self._forks = forks()
        self._slot = _slots.get(loop) or _Slot(loop)
        self._slot.add(self)

    def detach(self) -> None:
        """Hear no more."""
        self._slot.remove(self)

    def hear(self, context: Context) -> bool | None:
        """One report. Returns whether it stops the program; `None`: nobody is to be told of it."""
        if forks() != self._forks:
            return (
                None  # in a forked child 3.14's loop complains that it is not running, over what the task itself says
            )
        if is_fatal(context) and self._counts(context):
            self._on_fatal(context["exception"], context)
            return True
        if isinstance(context.get("exception"), asyncio.CancelledError):
            return None
        self._on_harmless(context)
        return False


class _Slot:
    """What is in the slot of a loop, for all apps in it: a handler that tells the apps, then the one below it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._apps: list[ExceptionHandler] = []
        self._told: tuple[Context, ...] = ()
        self._below: Handler | None = loop.get_exception_handler()
        self._unpatch = patch_method(loop, "call_exception_handler", self._wrap)
        loop.set_exception_handler(self)
        _slots[loop] = self

    @override
    def __repr__(self) -> str:
        below = "that of asyncio" if self._below is None else repr(self._below)
        return f"<exception handler of graceful, then {below}>"

    def add(self, app: ExceptionHandler) -> None:
        self._apps.append(app)

    def remove(self, app: ExceptionHandler) -> None:
        """The last app gives the slot back; a handler that the program has set meanwhile stays."""
        self._apps.remove(app)
        if not self._apps:
            del _slots[self._loop]
            self._unpatch()
            if self._loop.get_exception_handler() is self:
                self._loop.set_exception_handler(self._below)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Called by the loop, by a handler above it, or by hand."""
        self._hear(context, None if self._below is None else functools.partial(self._below, loop))

    def _wrap(self, report: Callable[[Context], None]) -> Callable[[Context], None]:
        def call_exception_handler(context: Context) -> None:
            handler = self._loop.get_exception_handler()
            nothing_below = handler is None or (handler is self and self._below is None)
            self._hear(context, None if nothing_below else report)

        return call_exception_handler

    def _hear(self, context: Context, pass_on: Callable[[Context], object] | None) -> None:
        """Tell the apps, if they were not told before, and pass it on; `None`: to asyncio's own handler."""
        if any(_is_same(context, told) for told in self._told):
            (pass_on or self._loop.default_exception_handler)(context)
            return
        before, self._told = self._told, (*self._told, context)
        try:
            stops = self._tell_apps(context)
            # asyncio's own handler would only print now already what is raised, with its traceback, in the end.
            if stops is False or (stops and pass_on is not None):
                (pass_on or self._loop.default_exception_handler)(context)
        finally:
            self._told = before

    def _tell_apps(self, context: Context) -> bool | None:
        """The app that began last is told first; one that takes the report for a failure of its own keeps it."""
        heard: bool | None = False
        for app in reversed(self._apps):
            heard = app.hear(context)
            if heard is not False:
                break
        return heard


def _is_same(context: Context, other: Context) -> bool:
    """Whether two calls are about the same report; a handler may pass on a changed copy."""
    error = context.get("exception")
    return context is other or (error is not None and error is other.get("exception"))


_slots: dict[asyncio.AbstractEventLoop, _Slot] = {}
