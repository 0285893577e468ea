"""The default app behind the functions of the module, for scripts that want no object."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, overload

from typing_extensions import override

from graceful._app import App, watch_runs
from graceful._hooks.hook import Hook

__all__ = [
    "app",
    "background",
    "on_exception",
    "on_shutdown",
    "on_signal",
    "on_startup",
    "resource",
    "run",
]

T = TypeVar("T")


class _DefaultApp(App):
    """
    The app behind the functions of the module, for scripts that want no object.

    It is made by `import graceful`. So it reads the environment variables when it is first run, because a bad one must not
    break the import; and if its hooks will not run because the program runs an app of its own, it says so.
    """

    def __init__(self) -> None:
        self._used = False
        self._others: list[App] = []
        super().__init__()

    @override
    def _check_early(self) -> None:
        pass

    @override
    def _run_begins(self) -> None:
        self._used = True
        super()._run_begins()

    @override
    def _admit_late(self, hooks: Sequence[Hook]) -> Callable[[], None] | None:
        return super()._admit_late(hooks) or self._warn_if_unused

    def other_begins(self, other: App) -> None:
        """An app of the program's own begins to run."""
        if other is not self and threading.current_thread() is threading.main_thread():
            self._others.append(other)
            self._warn_if_unused()

    def other_ended(self, other: App) -> None:
        """It has ended."""
        if other in self._others:
            self._others.remove(other)

    def _warn_if_unused(self) -> None:
        """Once: that there are hooks which do not run with the app that runs now."""
        if self._used or not self._others:
            return
        other = self._others[-1]
        theirs = {*other._hooks()}
        hooks = [hook for hook in self._hooks() if hook not in theirs]
        if hooks:
            from graceful._observe.log import log  # here, to save 2 ms in a program that has nothing to warn of

            self._used = True
            more = f" and {len(hooks) - 1} more" if len(hooks) > 1 else ""
            log(
                logging.WARNING,
                f"{hooks[0]}{more}, registered with the functions of the module graceful, belong to its default app and "
                f"do not run with {other!r}: use the decorators of that app, or its include(graceful.app)",
            )


_default = _DefaultApp()
app: App = _default
watch_runs(_default.other_begins, _default.other_ended)
background = app.background
on_exception = app.on_exception
on_shutdown = app.on_shutdown
on_signal = app.on_signal
on_startup = app.on_startup
resource = app.resource


@overload
def run(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T: ...
@overload
def run(
    main: None = None,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None: ...
def run(
    main: Any = None,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Any:
    """
    Run the default app, `graceful.app`: `App.run` as a function, and a drop-in for `asyncio.run`.

    Like `asyncio.run` it can be called in several threads at once. The hooks of the default app belong to the run that
    began first; one beside it has none.

    Args:
        main: A coroutine, or a coroutine function without required parameters; `None`: run until stopped.
        debug: asyncio's debug mode; `None`: as `PYTHONASYNCIODEBUG` says.
        loop_factory: What makes the loop, such as `uvloop.new_event_loop`; `None`: asyncio's own.

    Returns:
        What main returned; `None` where `stop()` came before that.

    Raises:
        Interrupted: SIGINT came, or another signal before main was done. Uncaught, the process dies by it.
        BaseException: What main, a task, a callback or a hook raised and nobody dealt with.
        StateError: A loop is running in this thread.
        OrderError: The hooks' `after=` cannot be satisfied.
    """
    raised, result = app._run_main(main, debug, loop_factory, instead=App)
    try:
        if raised is not None:
            raise raised  # here, so that its traceback has one frame of the package
        return result
    finally:
        del raised  # or the exception, its traceback and this frame would keep each other alive
