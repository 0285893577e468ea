"""The event loop of a run: what `loop_factory` returns, checked before anything is started in it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

from graceful._core.errors import StateError

__all__ = ["check_factory", "check_loop"]

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

#: What a loop has, and a module, a policy or a Runner has not.
_METHODS = ("run_forever", "create_task", "call_soon_threadsafe", "is_closed", "close")


def check_factory(loop_factory: Any) -> LoopFactory | None:
    """
    A factory that checks what `loop_factory` returns; `None` where that is `None`.

    Raises:
        TypeError: It cannot be called, such as a module, a name or a loop.
    """
    if loop_factory is None:
        return None
    if not callable(loop_factory):
        raise TypeError(
            f"loop_factory must be a function that makes a loop, such as uvloop.new_event_loop, without (); "
            f"got {loop_factory!r}"
        )
    return functools.partial(_make_loop, loop_factory)


def _make_loop(loop_factory: Callable[[], Any]) -> asyncio.AbstractEventLoop:
    loop = loop_factory()
    _check_made(loop)
    return loop  # type: ignore[no-any-return]


def _check_made(loop: Any) -> None:
    """
    Raises:
        TypeError: It is no loop.
        StateError: It is one that cannot be run.
    """
    if not all(callable(getattr(loop, method, None)) for method in _METHODS):
        raise TypeError(f"loop_factory returned {loop!r}, which is not an event loop")
    if loop.is_closed():
        raise StateError(f"loop_factory returned {loop!r}, which is closed: it must make a new loop for each run")
    if loop.is_running():
        raise StateError(
            f"loop_factory returned {loop!r}, which is already running: it must make a new loop for each run"
        )
    try:
        check_loop(loop)
    except TypeError:
        with contextlib.suppress(Exception):  # of a user's own loop
            loop.close()
        raise


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """
    Check that the loop can be watched, before anything is started in it.

    Raises:
        TypeError: It takes no attributes.
    """
    try:
        weakref.ref(loop)
        watchable = hasattr(loop, "__dict__")
    except TypeError:
        watchable = False
    if not watchable:
        raise TypeError(f"{loop!r} cannot be watched: it takes no attributes (its class has __slots__)")
