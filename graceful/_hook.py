"""
A hook: a function that a user has registered, brought into one shape at the border.

It is looked at once, when it is decorated, so that a mistake is reported on the line that made it and with the call that
works. What comes out says how many arguments it is called with, whether it is a resource, and where it stands.
"""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable
from enum import StrEnum
from types import CodeType, CoroutineType, FunctionType

from graceful._errors import HookError
from graceful._stacks import place

__all__ = ["Hook", "Stage", "close", "handle_of", "is_awaitable", "look_at"]

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    #: What `after=` names a hook by.
    Reference: TypeAlias = Callable[..., Any] | str


class Stage(StrEnum):
    """What a hook is for. `drain` and `cleanup` are those that `on_shutdown(stage=)` takes."""

    STARTUP = "startup"
    RESOURCE = "resource"
    BACKGROUND = "background"
    SIGNAL = "signal"
    EXCEPTION = "on_exception"
    DRAIN = "drain"
    CLEANUP = "cleanup"


class Hook:
    """
    A registered function in the one shape that the rest of the package knows.

    Attributes:
        function: What the user wrote.
        name: Its qualified name, without the functions it was defined in.
        code: What it is made of; `None`: not of Python.
        stage: What it is for.
        arity: How many arguments it is called with.
        timeout: Seconds it may take; `None`: what the budget allows.
        after: The hooks it waits for; `None`: it is part of the default chain.
        types: The exceptions an `on_exception` hook is for.
        signals: The signals an `on_signal` hook is for.
        owner: The turn in which it was acquired, if it was in one.
        drain: Whether a background task is waited for before anything is cancelled.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        stage: Stage,
        *,
        arity: int = 0,
        timeout: float | None = None,
        after: tuple[Reference, ...] | None = None,
        types: tuple[type[BaseException], ...] = (Exception,),
        signals: tuple[signal.Signals, ...] = (),
        drain: bool = False,
    ) -> None:
        self.function = function
        self.stage = stage
        self.code: CodeType | None
        if _is_plain(function):
            self.code, name = function.__code__, function.__qualname__
        else:
            self.code, name = _code(function), _qualified_name(function)
        self.name = name.rpartition("<locals>.")[2]
        self.arity = arity
        self.timeout = timeout
        self.after = after
        self.types = types
        self.signals = signals
        self.drain = drain
        self.owner: Any = None

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return place(self.code)

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"

    def handles(self) -> set[object]:
        """What `after=` may call it by."""
        return {handle_of(self.function), self.name, getattr(self.function, "__name__", self.name)}

    def __call__(self, *offered: Any) -> Any:
        """
        Call the function with as many of the offered arguments as it takes.

        Returns:
            What it returned, which may have to be awaited: `is_awaitable` says so.

        Raises:
            RuntimeError: It raised StopIteration, which would end a generator that calls `run()` (PEP 479).
        """
        try:
            return self.function(*offered[: self.arity])
        except StopIteration as error:
            raise RuntimeError(f"{self.name} raised StopIteration") from error


def look_at(decorator: str, function: Any, stage: Stage, offers: tuple[str, ...]) -> int:
    """
    See whether `decorator` can take this function.

    Args:
        offers: The names of the arguments that it could be called with.

    Returns:
        With how many of them it is to be called.

    Raises:
        HookError: It cannot be called like that, or is not of the kind that is needed; with the call that works.
    """
    _check_kind(decorator, function, stage)
    return _arity(decorator, function, offers)


def is_awaitable(result: object) -> bool:
    """Whether what a hook returned is to be awaited; quickly, for what nearly all hooks are."""
    return type(result) is CoroutineType or (result is not None and inspect.isawaitable(result))


def handle_of(reference: object) -> object:
    """A function or a name, as a key: equal for what `after=` takes for the same."""
    try:
        hash(reference)
    except TypeError:  # a callable object of somebody's own
        return id(reference)
    return reference


def close(*given: Any) -> None:
    """Or Python would warn that a coroutine was never awaited, next to an error that says why."""
    for each in given:
        if inspect.iscoroutine(each):
            each.close()


def _check_kind(decorator: str, function: Any, stage: Stage) -> None:
    """Refuse what is not a function of the kind that `decorator` needs, and show the call that works."""
    plain = function
    if not _is_plain(function):
        _check_function(decorator, function)
        plain = _unwrapped(function)
    generator = _is_generator(plain)
    if stage is Stage.RESOURCE and not generator:
        raise HookError(
            f"resource() takes a generator function with one yield, got {_described(function)}: write "
            f"`async def {_name(plain)}(): ...; yield; ...`, or use app.enter_async_context(...) for a context manager"
        )
    if stage is not Stage.RESOURCE and generator:
        raise HookError(
            f"{decorator}() takes a function, got the generator function {_described(function)}: "
            f"use @app.resource for one with a yield"
        )
    if stage is Stage.BACKGROUND and not inspect.iscoroutinefunction(plain):
        raise HookError(f"background() takes an `async def` function, got {_described(function)}")


def _check_function(decorator: str, function: Any) -> None:
    """Refuse what is no function, or one that somebody has decorated into something else."""
    if inspect.iscoroutine(function):
        close(function)
        name = function.__name__
        raise HookError(
            f"{decorator}() takes a function, got the coroutine object {name}(): "
            f"write app.{decorator}({name}), without calling it"
        )
    if not callable(function) or isinstance(function, type):
        raise HookError(
            f"{decorator}() takes a function, got {function!r}: write @app.{decorator} above a def, or "
            f"app.{decorator}(function)"
        )
    plain = _unwrapped(function)
    inner = plain if _is_plain(plain) else inspect.unwrap(plain)
    makes_context = inner is not plain and _is_generator(inner)
    if makes_context and getattr(plain, "__globals__", {}).get("__name__") == "contextlib":
        raise HookError(
            f"{decorator}() takes a function, got {_described(function)}, which makes a context manager: use "
            f"@app.resource on the generator itself, or app.enter_async_context(...) while running"
        )


def _arity(decorator: str, function: Any, offers: tuple[str, ...]) -> int:
    """
    How many arguments to call `function` with: as many as it requires. One with a default keeps its default.

    Two are only ever `loop, context`, so an `on_exception` hook that requires one is given the `Failure` instead.
    """
    required, keywords, takes_any = _required(function)
    unfilled = keywords + required[len(offers) :]
    if required and required[0] in ("self", "cls"):
        raise HookError(
            f"{decorator}() got the method {_described(function)} without its object: "
            f"register it bound, app.{decorator}(obj.{_name(function).rpartition('.')[2]})"
        )
    if unfilled:
        takes = {0: "no argument", 1: f"no argument or one ({offers[0] if offers else ''})"}.get(
            len(offers), "no argument, one (failure), or two (loop, context)"
        )
        raise HookError(
            f"{decorator}() calls its function with {takes}, but {_described(function)} requires "
            f"{', '.join(unfilled)}: give a default, or bind it with functools.partial"
        )
    return max(len(required), min(len(offers), 1) if takes_any else 0)


def _required(function: Any) -> tuple[list[str], list[str], bool]:
    """The parameters that have no default, those by keyword only apart, and whether it takes any number of others."""
    if _is_plain(function):  # or `inspect` would take longer than all the rest of a registration
        code, defaults = function.__code__, function.__kwdefaults__ or ()
        positional, keyword = code.co_argcount, code.co_kwonlyargcount
        by_position = code.co_varnames[: max(0, positional - len(function.__defaults__ or ()))] if positional else ()
        keywords = code.co_varnames[positional : positional + keyword] if keyword else ()
        takes_any = bool(code.co_flags & inspect.CO_VARARGS)
        return [*by_position], [name for name in keywords if name not in defaults], takes_any
    try:
        # A wrapper is called as it says itself; only where it takes anything does what it wraps say more.
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


def _is_plain(function: Any) -> bool:
    """Whether it is what a `def` makes, and says nothing else about itself, as nearly all are."""
    return type(function) is FunctionType and not function.__dict__


def _is_generator(function: Any) -> bool:
    if _is_plain(function):
        return bool(function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isfunction(function):
        return function.__call__
    return function


def _name(function: Any) -> str:
    return _qualified_name(function).rpartition("<locals>.")[2]


def _qualified_name(function: Any) -> str:
    function = _unwrapped(function) if isinstance(function, functools.partial) else function
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _code(function: Any) -> CodeType | None:
    return getattr(inspect.unwrap(_unwrapped(function)), "__code__", None)


def _described(function: Any) -> str:
    return f"{_name(function)} ({place(_code(function))})"
