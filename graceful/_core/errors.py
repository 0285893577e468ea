"""Every error that `graceful` raises of its own accord: one tree, and one exception that must stand outside it."""

from __future__ import annotations

import signal as _signal

from typing_extensions import override

from graceful._core.places import innermost

__all__ = ["GracefulError", "HookError", "HookTimeout", "Interrupted", "OrderError", "StateError"]


class GracefulError(Exception):
    """The root of the tree: `except GracefulError` catches every error of the package itself, apart from bad arguments."""


class HookError(GracefulError, TypeError):
    """A function cannot be the hook it was registered as; the message shows the call that works."""


class OrderError(GracefulError, ValueError):
    """The hooks' `after=` cannot be satisfied: a cycle, or a name that no hook has."""


class StateError(GracefulError, RuntimeError):
    """The call does not fit the app's state: a second `run()` while it runs, a task for an app that is not running."""


class HookTimeout(GracefulError):
    """
    A hook ran out of time and was cancelled; if it did not end then, it was abandoned.

    Attributes:
        hook: The hook's qualified name.
        allowed: Seconds it had.
        stack: Where it was stuck, one line a frame, from the hook down to the innermost await; empty if it had no frame.
        why: Why it had less time than its `timeout=` says; empty if it had not.
    """

    def __init__(self, hook: str, allowed: float, stack: tuple[str, ...] = (), why: str = "") -> None:
        self.hook = hook
        self.allowed = allowed
        self.stack = stack
        self.why = why
        super().__init__(hook, allowed, stack, why)

    @override
    def __str__(self) -> str:
        stuck = f"; stuck at {innermost(self.stack)}" if self.stack else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.hook} timed out after {self.allowed:.3g} s{why}{stuck}"


class Interrupted(KeyboardInterrupt):
    """
    A signal ended the program before its work was done.

    It is a `KeyboardInterrupt`, as `asyncio.run` raises it, so that `except Exception` lets it pass and the usual
    `except KeyboardInterrupt` works. If it is caught, the program goes on. If not, the process dies by that signal.

    Attributes:
        signal: The signal that was the cause.
    """

    def __init__(self, signal: _signal.Signals) -> None:
        self.signal = signal
        super().__init__(signal)

    @override
    def __str__(self) -> str:
        return f"interrupted by {self.signal.name}"
