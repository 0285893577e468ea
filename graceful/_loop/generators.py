"""Async generators: one that is let go before its end is closed by asyncio, in a task of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from graceful._core.asyncio_private import coroutine_of

__all__ = ["closes_generator"]


async def _generator() -> AsyncGenerator[None]:
    yield


#: The type of what `aclose()` returns, which has no public name.
_closing = _generator().aclose()
_CLOSING = type(_closing)
_closing.close()


def closes_generator(task: Any) -> bool:
    """Whether the task closes an async generator: it runs the generator's `finally`, and belongs to who iterated it."""
    return type(coroutine_of(task)) is _CLOSING
