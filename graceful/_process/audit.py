"""
Audit events: Python tells of an uncaught exception before it is displayed, and of an `exec` before it happens.

Nothing else does. `sys.excepthook` can be put back by the program in a `finally` around `run()`, as crash reporters do, and
an `exec` leaves no time for anything. The event `sys.excepthook` is documented for this: a hook that raises a RuntimeError
keeps the exception from being displayed.

An audit hook cannot be removed, and costs each later event 0.26 µs (3.11 and 3.13; serving a request raises none, opening a
file one, which takes 4 µs). So there is one for the whole process, and it is added only when a shutdown begins, or a hook
with a time limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["listen", "listen_too", "unlisten", "unlisten_too"]

Listener = Callable[..., None]

_listeners: dict[str, Listener] = {}
_others: dict[tuple[str, Listener], None] = {}
_added: list[bool] = []


def listen(event: str, listener: Listener) -> None:
    """
    Call `listener` with the arguments of each such event from now on, instead of the one before. Safe in a signal handler.

    What it raises is raised by whatever caused the event.
    """
    _listeners[event] = listener
    _add_hook()


def unlisten(event: str, listener: Listener) -> None:
    """No longer call it; no effect if another one has taken its place. Safe in a signal handler."""
    if _listeners.get(event) == listener:
        del _listeners[event]


def listen_too(event: str, listener: Listener) -> None:
    """Call this one beside the others. Safe in a signal handler."""
    _others[event, listener] = None
    _add_hook()


def unlisten_too(event: str, listener: Listener) -> None:
    """No longer call it. Safe in a signal handler."""
    _others.pop((event, listener), None)


def _add_hook() -> None:
    if not _added:
        _added.append(True)
        sys.addaudithook(_hear)


def _hear(
    event: str,
    arguments: tuple[Any, ...],
    # Bound now: modules are empty when the last events come.
    listeners: dict[str, Listener] = _listeners,
    others: dict[tuple[str, Listener], None] = _others,
) -> None:
    if event in listeners:
        listeners[event](*arguments)
    for name, listener in [*others] if others else ():
        if name == event:
            listener(*arguments)
