"""Every decorator in every way to apply it, and functions to decorate."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from graceful import Hooks
from graceful._hooks.hook import Hook

#: Every decorator: a way to apply it to `function`, on a collection `h`.
BARE: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup(function),
    "on_shutdown": lambda h, function: h.on_shutdown(function),
    "on_exception": lambda h, function: h.on_exception(function),
    "resource": lambda h, function: h.resource(function),
    "background": lambda h, function: h.background(function),
}


CALLED: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup(timeout=1)(function),
    "on_shutdown": lambda h, function: h.on_shutdown(timeout=1, after=(), stage="drain")(function),
    "on_exception": lambda h, function: h.on_exception(OSError, timeout=1)(function),
    "on_signal": lambda h, function: h.on_signal(signal.SIGTERM)(function),
    "resource": lambda h, function: h.resource(timeout=1)(function),
    "background": lambda h, function: h.background(drain=True)(function),
}


EMPTY: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup()(function),
    "on_shutdown": lambda h, function: h.on_shutdown()(function),
    "on_exception": lambda h, function: h.on_exception()(function),
    "resource": lambda h, function: h.resource()(function),
    "background": lambda h, function: h.background()(function),
}


WAYS = [
    pytest.param(name, apply, id=f"{name}-{way}")
    for way, table in (("bare", BARE), ("called", CALLED), ("empty", EMPTY))
    for name, apply in table.items()
]


def sync_function() -> None: ...


async def async_function() -> None: ...


async def async_generator() -> AsyncIterator[None]:
    yield


class Thing:
    """Something with methods of each kind."""

    def __init__(self) -> None:
        self.got: list[tuple[object, ...]] = []

    def close(self) -> None:
        self.got.append(())

    async def aclose(self) -> None:
        self.got.append(())

    def take(self, what: object) -> None:
        self.got.append((what,))

    async def __call__(self) -> None:
        self.got.append(())

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static() -> None: ...


def only(hooks: Hooks) -> Hook:
    """The one hook there is."""
    (hook,) = hooks._hooks()
    return hook
