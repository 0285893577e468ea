"""Functions by their names, and hooks made of them."""

from __future__ import annotations

from collections.abc import Callable

from graceful import Hooks
from graceful._hooks.hook import Hook


def named(name: str) -> Callable[[], None]:
    """A function of this name."""

    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    return function


def hooks_of(*registered: tuple[Callable[[], None], object]) -> list[Hook]:
    """These functions as shutdown hooks, in the order of registration, each with its `after`."""
    collection = Hooks()
    for function, after in registered:
        collection.on_shutdown(after=after)(function)
    return [*collection._hooks()]


A, B, C, D, E = (named(name) for name in "ABCDE")
