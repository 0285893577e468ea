"""A hook: a function that a user has registered, in the one shape that the rest of the package knows."""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable
from enum import StrEnum
from types import CodeType, CoroutineType
from typing import Any, TypeAlias

from graceful._core.marks import calls_user_code, calls_without_frame
from graceful._core.places import place

__all__ = ["Hook", "Reference", "Stage", "is_awaitable", "reference_key"]

#: What `after=` names a hook by.
Reference: TypeAlias = Callable[..., Any] | str


class Stage(StrEnum):
    """What a hook is for. `drain`, `cleanup` and `flush` are those that `on_shutdown(stage=)` takes."""

    STARTUP = "startup"
    RESOURCE = "resource"
    BACKGROUND = "background"
    SIGNAL = "signal"
    EXCEPTION = "on_exception"
    DRAIN = "drain"
    CLEANUP = "cleanup"
    FLUSH = "flush"


class Hook:
    """
    A registered function.

    Attributes:
        function: What the user wrote.
        stage: What it is for.
        arity: How many arguments it is called with.
        timeout: Seconds it may take; `None`: what the budget allows.
        after: The hooks it waits for; `None`: it is part of the default chain.
        types: The exceptions that an `on_exception` hook is for.
        signals: The signals that an `on_signal` hook is for.
        drain: Whether a background task is waited for before anything is cancelled.
        essential: Whether the program ends when a background task does.
    """

    # Not a dataclass: nobody but the package sees it, and to define one takes a millisecond of the import.
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
        essential: bool = False,
    ) -> None:
        self.function = function
        self.stage = stage
        self.arity = arity
        self.timeout = timeout
        self.after = after
        self.types = types
        self.signals = signals
        self.drain = drain
        self.essential = essential

    @functools.cached_property
    def name(self) -> str:
        """The function's qualified name, without the functions it was defined in."""
        return local_name(self.function)

    def replace(self, function: Callable[..., Any]) -> None:
        """Call another function from now on. The hook keeps its name and its place; for tests that have hooks fail."""
        kept = self.name, self.code  # from now on, whatever the function is called
        del kept
        self.function = function

    @property
    def short_name(self) -> str:
        """The function's name alone, without a class that it is a method of."""
        return self.name.rpartition(".")[2]

    @functools.cached_property
    def code(self) -> CodeType | None:
        """The function's code object; `None`: it is not written in Python."""
        return code_of(self.function)

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return place(self.code)

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"

    def references(self) -> set[object]:
        """What `after=` may call it by."""
        return {reference_key(self.function), self.name, getattr(self.function, "__name__", self.name)}

    @calls_without_frame
    @calls_user_code
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


def is_awaitable(result: object) -> bool:
    """Whether what a hook returned is to be awaited."""
    return type(result) is CoroutineType or (result is not None and inspect.isawaitable(result))


def reference_key(reference: object) -> object:
    """A function or a name as a key: equal for whatever `after=` takes for the same hook."""
    try:
        hash(reference)
    except TypeError:  # a user's callable object
        return id(reference)
    return reference


# --- what a function is called, and where it stands --------------------------------------------------------------------


def unwrapped(function: Any) -> Any:
    """
    The function inside a `functools.partial`, and the `__call__` of an object that is none.

    Of the `__aexit__` that `contextlib.asynccontextmanager` makes: the generator, which has the name and the code of the user's
    function.
    """
    while isinstance(function, functools.partial):
        function = function.func
    manager = getattr(function, "__self__", None)
    if type(manager).__module__ == "contextlib" and inspect.isasyncgen(generator := getattr(manager, "gen", None)):
        return generator
    if not inspect.isroutine(function) and not inspect.isfunction(function):
        return function.__call__
    return function


def local_name(function: Any) -> str:
    """Its qualified name, without the functions it was defined in."""
    function = unwrapped(function) if isinstance(function, functools.partial) else function
    name = str(getattr(function, "__qualname__", None) or type(function).__qualname__)
    return name.rpartition("<locals>.")[2]


def code_of(function: Any) -> CodeType | None:
    """Its code object; `None`: it is not written in Python."""
    plain = inspect.unwrap(unwrapped(function))
    return plain.ag_code if inspect.isasyncgen(plain) else getattr(plain, "__code__", None)


def described(function: Any) -> str:
    """`name (file:line)`."""
    return f"{local_name(function)} ({place(code_of(function))})"
