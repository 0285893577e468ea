"""
The app in which the running code runs: what `graceful.current_app` finds.

A context variable says it. Tasks, callbacks and `asyncio.to_thread` inherit the context in which they were made, so what an
app starts knows its app, and the innermost of several. A server is the exception: it runs the lifespan in a task of its own,
and its request handlers inherit nothing from that. So an app whose lifespan runs is found without a context, too, if it is
the only one; by the running loop where there is one, since a handler in a thread pool has none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

__all__ = ["apps_around", "enter_app", "is_part_of", "leave_app", "serving_loop"]

_around: ContextVar[tuple[Any, ...]] = ContextVar("graceful apps", default=())
#: The apps whose lifespan runs, each with its loop.
_serving: list[tuple[asyncio.AbstractEventLoop, Any]] = []


def enter_app(app: object) -> None:
    """What the calling code does and starts from now on is done in this app."""
    _around.set((*_around.get(), app))


def leave_app(app: object) -> None:
    """Undo `enter_app`; without effect in a context that has not entered it."""
    around = _around.get()
    if app in around:
        last = len(around) - 1 - around[::-1].index(app)
        _around.set(around[:last] + around[last + 1 :])


@contextlib.contextmanager
def serving_loop(app: object) -> Generator[None]:
    """Meanwhile all code of the running loop that is in no app is in this one."""
    entry = asyncio.get_running_loop(), app
    _serving.append(entry)
    try:
        yield
    finally:
        _serving.remove(entry)


def is_part_of(app: object) -> bool:
    """Whether the running code was started by what runs in this app; that it shares the loop with it is not enough."""
    return app in _around.get()


def apps_around() -> tuple[Any, ...]:
    """The apps that the running code is in, the innermost last. Some may have ended: code may outlive its app."""
    around = _around.get()
    if around:
        return around
    loop = asyncio._get_running_loop()
    found = [app for its, app in [*_serving] if loop is None or its is loop]
    return tuple(found) if len(found) == 1 else ()
