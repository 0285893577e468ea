"""Async generators: one that is let go before its end is closed by asyncio, in a task of its own."""

from __future__ import annotations

from typing import Any

from graceful._core.asyncio_private import coroutine_of

__all__ = ["closes_generator"]


def closes_generator(task: Any) -> bool:
    """Whether the task closes an async generator: it runs the generator's `finally`, and belongs to what iterated it."""
    return type(coroutine_of(task)).__name__ == "async_generator_athrow"  # what aclose() returns; it has no public name
