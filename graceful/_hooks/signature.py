"""
What a decorator accepts: checked once, when a function is decorated.

So a mistake is reported on the line that made it, with the call that works.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from graceful._core.errors import HookError
from graceful._hooks.hook import Stage, described, local_name, unwrapped

__all__ = ["check_function", "close_coroutines", "is_context_manager"]


def check_function(decorator: str, function: Any, stage: Stage, offers: tuple[str, ...]) -> int:
    """
    Check that a decorator can take this function.

    Args:
        decorator: The decorator's name, for the message.
        function: What it was given.
        stage: What it is for.
        offers: The names of the arguments that it could be called with.

    Returns:
        How many of them it is to be called with.

    Raises:
        HookError: It cannot be called like that, or is not of the kind that is needed; with the call that works.
    """
    _check_callable(decorator, function)
    _check_kind(decorator, function, stage)
    return _arity(decorator, function, offers)


def close_coroutines(*given: Any) -> None:
    """Close what was passed by mistake: Python would warn that it was never awaited, next to an error that says why."""
    for each in given:
        if inspect.iscoroutine(each):
            each.close()


def _check_callable(decorator: str, function: Any) -> None:
    """Refuse what is no function, or what another decorator has turned into something else."""
    if inspect.iscoroutine(function):
        close_coroutines(function)
        name = function.__name__
        raise HookError(
            f"{decorator}() takes a function, got the coroutine object {name}(): "
            f"write app.{decorator}({name}), without calling it"
        )
    if inspect.isgenerator(function) or inspect.isasyncgen(function):
        name = function.__name__
        raise HookError(
            f"{decorator}() takes a function, got the generator object {name}(): "
            f"write app.resource({name}), without calling it"
        )
    if is_context_manager(function):
        raise HookError(
            f"{decorator}() takes a function, got the context manager {function!r}: use "
            f"`await app.enter_async_context(...)` while running, or @app.resource on a generator with `async with` in it"
        )
    if not callable(function) or isinstance(function, type):
        raise HookError(
            f"{decorator}() takes a function, got {function!r}: write @app.{decorator} above a def, or "
            f"app.{decorator}(function){_meant(decorator, function)}"
        )
    plain = unwrapped(function)
    inner = inspect.unwrap(plain)
    makes_context = inner is not plain and _is_generator(inner)
    if makes_context and getattr(plain, "__globals__", {}).get("__name__") == "contextlib":
        raise HookError(
            f"{decorator}() takes a function, got {described(function)}, which makes a context manager: use "
            f"@app.resource on the generator itself, or app.enter_async_context(...) while running"
        )


def is_context_manager(thing: object) -> bool:
    """Whether it is a context manager, and no function: what `contextlib` makes can be called, too, as a decorator."""
    if isinstance(thing, (type, *_MADE_BY_CONTEXTLIB)):
        return not isinstance(thing, type)
    return not callable(thing) and hasattr(thing, "__exit__" if hasattr(thing, "__enter__") else "__aexit__")


_MADE_BY_CONTEXTLIB = contextlib.ContextDecorator, contextlib.AsyncContextDecorator


def _meant(decorator: str, function: object) -> str:
    """What was probably meant by something that is no function, for the end of a message."""
    timed = decorator in ("on_startup", "on_shutdown", "resource")
    if timed and isinstance(function, (int, float)) and not isinstance(function, bool):
        return f"; did you mean @app.{decorator}(timeout={function!r})?"
    if decorator == "on_shutdown" and function in ("drain", "cleanup", "flush"):
        return f"; did you mean @app.on_shutdown(stage={function!r})?"
    return ""


def _check_kind(decorator: str, function: Any, stage: Stage) -> None:
    """Refuse a generator where a function is needed, and the other way round."""
    plain = unwrapped(function)
    generator = _is_generator(plain)
    if stage is Stage.RESOURCE and not generator:
        raise HookError(
            f"resource() takes a generator function with one yield, got {described(function)}: write "
            f"`async def {local_name(plain)}(): ...; yield; ...`, or use app.enter_async_context(...) for a context manager"
        )
    if stage is not Stage.RESOURCE and generator:
        raise HookError(
            f"{decorator}() takes a function, got the generator function {described(function)}: "
            f"use @app.resource for one with a yield"
        )
    if stage is Stage.BACKGROUND and not inspect.iscoroutinefunction(plain):
        cure = f"write `async def work(): await asyncio.to_thread({local_name(plain)})`"
        if inspect.iscoroutinefunction(inspect.unwrap(plain)):
            cure = "a decorator has made a plain function of it, and should return an `async def` function"
        raise HookError(f"background() takes an `async def` function, got {described(function)}: {cure}")


def _arity(decorator: str, function: Any, offers: tuple[str, ...]) -> int:
    """
    How many arguments to call a function with: as many as it requires. One with a default keeps its default.

    Two are only ever `loop, context`, so an `on_exception` hook that requires one is given the `Failure` instead.
    """
    required, keywords, takes_any = _required(function)
    unfilled = keywords + required[len(offers) :]
    if required and required[0] in ("self", "cls"):
        raise HookError(
            f"{decorator}() got the method {described(function)} without its object: "
            f"register it bound, app.{decorator}(obj.{local_name(function).rpartition('.')[2]})"
        )
    if unfilled:
        takes = {0: "no argument", 1: f"no argument or one ({offers[0] if offers else ''})"}.get(
            len(offers), "no argument, one (failure), or two (loop, context)"
        )
        raise HookError(
            f"{decorator}() calls its function with {takes}, but {described(function)} requires "
            f"{', '.join(unfilled)}: give a default, or bind it with functools.partial"
        )
    return max(len(required), min(len(offers), 1) if takes_any else 0)


def _required(function: Any) -> tuple[list[str], list[str], bool]:
    """The parameters without a default by position, those by keyword only, and whether it takes any number of others."""
    try:
        # A wrapper is called as its own signature says; only if that takes anything, what it wraps says more.
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return [], [], False
    missing = [p for p in parameters if p.default is p.empty]
    return (
        [p.name for p in missing if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)],
        [p.name for p in missing if p.kind is p.KEYWORD_ONLY],
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
    )


def _is_generator(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
