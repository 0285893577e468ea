"""
The process guard of `async with app:`, where the process is somebody else's.

`asyncio.run` answers the second Ctrl-C with a KeyboardInterrupt in whatever runs, which would be a hook, or this package;
and it closes the loop without waiting for any tasks but those it knows. So from the moment the app stops until it has
stopped, SIGINT is taken if it would do that (and SIGALRM if nobody has it, to unblock what blocks); the owner's handler is
called afterwards.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

from typing_extensions import override

from graceful._core.errors import StateError
from graceful._process.handlers import SignalHandlers, in_main_thread, raises_interrupt
from graceful._process.unblock import Unblocker
from graceful._run.process_guard import ProcessGuard

__all__ = ["BlockGuard"]


class BlockGuard(ProcessGuard):
    """Takes SIGINT and SIGALRM while the app stops; arguments as for `ProcessGuard`."""

    _interrupted = False

    @override
    def deadline_changed(self) -> None:
        if self._handlers is None and in_main_thread() and raises_interrupt(signal.getsignal(signal.SIGINT)):
            self._handlers = SignalHandlers({signal.SIGINT}, (), self._on_signal, None)
            self._handlers.__enter__()
        self._make_unblocker_if_free()
        super().deadline_changed()

    @override
    def hook_limited(self, begins: bool) -> None:
        self._make_unblocker_if_free()
        super().hook_limited(begins)

    @override
    def check_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        raise StateError(
            "inside `async with app:` the signals are the business of the loop's owner; use loop.add_signal_handler()"
        )

    def _make_unblocker_if_free(self) -> None:
        """A hook that blocks has nothing else to unblock it."""
        free = in_main_thread() and Unblocker.available() and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if free and self._unblocker is None:
            self._make_unblocker()

    @override
    def _on_signal(self, number: int) -> None:
        self._interrupted = True
        super()._on_signal(number)

    def give_back(self) -> None:
        """The app has stopped: give both signals back."""
        if self._handlers is not None:
            self._handlers.__exit__()
        if self._unblocker is not None:
            self._unblocker.disarm()

    def pass_on(self) -> None:
        """In the block's task: the owner's handler is called now for the Ctrl-C that came meanwhile."""
        if self._interrupted:
            signal.raise_signal(signal.SIGINT)
