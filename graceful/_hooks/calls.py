"""
What the methods of an app are called with: checked at the call, with the call that works in the message.

What cannot be used is closed: Python would warn that a coroutine was never awaited, next to an error that says why.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from contextvars import Context
from types import CoroutineType, FunctionType
from typing import Any, TypeGuard

from graceful._core.errors import HookError
from graceful._hooks.hook import described, local_name
from graceful._hooks.signature import close_coroutines

__all__ = ["check_callback", "check_context_manager", "check_main", "check_task", "is_coroutine"]


def is_coroutine(thing: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    """Whether it is a coroutine as asyncio takes them: the built-in type, or whatever has its methods."""
    return isinstance(thing, Coroutine)


def check_main(main: Any) -> None:
    """
    Check that a function can be called as main, without arguments.

    Raises:
        HookError: It cannot.
    """
    if not callable(main):
        raise HookError(
            f"run() takes a coroutine or a coroutine function, got {main!r}: write run(main), where main is an "
            "`async def`; a plain function that is called there has run already"
        )
    if error := _cannot_be_called(main):
        name = local_name(main)
        raise HookError(
            f"run() calls {described(main)}, {error}: write run({name}(...)), or bind it with functools.partial"
        )


def check_task(coro: Any, name: object, context: object) -> None:
    """
    Check the arguments of `App.create_task`.

    Raises:
        TypeError: One of them is of the wrong type.
    """
    # The first check is for speed. Cython's coroutines and aiohttp's requests pass the second one only.
    if not isinstance(coro, CoroutineType) and not isinstance(coro, Coroutine):
        raise TypeError(f"create_task() takes a coroutine, got {coro!r}: {_instead_of_coroutine(coro)}")
    if name is not None and not isinstance(name, str):
        coro.close()
        raise TypeError(f"name must be a string, got {name!r} ({type(name).__name__})")
    if context is not None and not isinstance(context, Context):
        coro.close()
        raise TypeError(f"context must be a contextvars.Context, got {context!r} ({type(context).__name__})")


def _instead_of_coroutine(given: object) -> str:
    if isinstance(given, asyncio.Future):
        return "it runs already; await it, or watch it with add_done_callback()"
    if inspect.isasyncgen(given) or inspect.isgenerator(given):
        return "iterate it in an `async def`, and pass that"
    return "call the function, create_task(work())"


def check_callback(callback: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """
    Check the arguments of `App.push_async_callback`.

    Raises:
        TypeError: The callback cannot be called with them.
    """
    if inspect.iscoroutine(callback):
        close_coroutines(callback)
        name = callback.__name__
        raise TypeError(
            f"push_async_callback() takes a function, got the coroutine object {name}(): "
            f"write push_async_callback({name}), without calling it"
        )
    if not callable(callback):
        raise TypeError(f"push_async_callback() takes a function and its arguments, got {callback!r}")
    if error := _cannot_be_called(callback, *args, **kwargs):
        raise TypeError(f"push_async_callback() would call {described(callback)}, {error}")


def check_context_manager(cm: Any) -> None:
    """
    Check the argument of `App.enter_async_context`.

    Raises:
        TypeError: It is no async context manager.
    """
    if isinstance(cm, type):
        raise TypeError(
            f"enter_async_context() takes an async context manager, got the class {cm.__name__}: "
            f"write enter_async_context({cm.__name__}(...))"
        )
    if hasattr(cm, "__aenter__") and hasattr(cm, "__aexit__"):
        return
    close_coroutines(cm)
    cure = ""
    if hasattr(cm, "__enter__"):
        cure = ": it is a synchronous one; use push_async_callback() for what closes it"
    elif inspect.isroutine(cm):
        cure = f": call it, enter_async_context({local_name(cm)}(...))"
    raise TypeError(f"enter_async_context() takes an async context manager, got {cm!r}{cure}")


def _takes_any_way(function: FunctionType, count: int) -> bool:
    """Whether it takes so many positional arguments; for speed: a signature takes 10 us, a third of what a hook costs."""
    code, defaults = function.__code__, function.__defaults__ or ()
    most = code.co_argcount
    return most - len(defaults) <= count <= most and not code.co_kwonlyargcount and not vars(function)


def _cannot_be_called(function: Any, *args: Any, **kwargs: Any) -> str:
    """Why it cannot be called with these arguments; empty: it can, or nobody knows."""
    if isinstance(function, FunctionType) and not kwargs and _takes_any_way(function, len(args)):
        return ""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return ""
