"""
Hooks: every function that a user may register, brought into one shape at the border.

A function is looked at once, when it is decorated, so that a mistake is reported on the line that made it and with the
call that works. What comes out is a `Hook`: how many arguments it takes, whether it is a resource, where it stands.
"""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from enum import StrEnum
from types import CodeType, CoroutineType, FunctionType

from graceful._arguments import seconds, signal_from
from graceful._errors import HookError
from graceful._model import Cause, Failure
from graceful._stacks import place

__all__ = ["Hook", "Hooks", "Stage", "handle_of", "is_awaitable"]

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from typing import Any, Literal, TypeAlias, TypeVar, overload

    _Result: TypeAlias = Awaitable[object] | None
    _Plain: TypeAlias = Callable[[], _Result]
    _ShutdownHook: TypeAlias = _Plain | Callable[[Cause], _Result]
    _Verdict: TypeAlias = Awaitable[bool | None] | bool | None
    _ExceptionHook: TypeAlias = Callable[[], _Verdict] | Callable[[Failure], _Verdict] | Callable[[Any, Any], _Verdict]
    _SignalHook: TypeAlias = _Plain | Callable[[signal.Signals], _Result]
    _Resource: TypeAlias = Callable[[], AsyncIterator[Any]] | Callable[[], Iterator[Any]]
    _Work: TypeAlias = Callable[[], Awaitable[object]]

    F = TypeVar("F", bound=_Plain)
    S = TypeVar("S", bound=_ShutdownHook)
    X = TypeVar("X", bound=_ExceptionHook)
    G = TypeVar("G", bound=_SignalHook)
    R = TypeVar("R", bound=_Resource)
    B = TypeVar("B", bound=_Work)

    #: What `after=` takes: a hook's function, its name, or several of them; `()` for "at once".
    After: TypeAlias = Callable[..., Any] | str | Iterable[Callable[..., Any] | str] | None
    _Reference: TypeAlias = Callable[..., Any] | str

else:

    def overload(function):  # noqa: ANN001, ANN202 - for checkers it is typing's
        """At run time the last definition is the one that counts."""
        return function


_NOT_GIVEN: Any = object()


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
        drain: Whether a background task is waited for before anything is cancelled.
    """

    arity = 0
    timeout: float | None = None
    after: tuple[_Reference, ...] | None = None
    types: tuple[type[BaseException], ...] = (Exception,)
    signals: tuple[signal.Signals, ...] = ()
    drain = False

    def __init__(self, function: Callable[..., Any], stage: Stage, **more: Any) -> None:
        self.function = function
        self.stage = stage
        if _is_plain(function):
            self.code: CodeType | None = function.__code__
            name = function.__qualname__
        else:
            self.code, name = _code(function), _name(function)
        self.name = name.rpartition("<locals>.")[2] if "<" in name else name
        if more:  # what is as it is for most costs less where it is given once
            self.__dict__.update(more)

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return place(self.code)

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"

    def handles(self) -> set[object]:
        """What `after=` may call it by."""
        return {handle_of(self.function), self.name, getattr(self.function, "__name__", self.name)}

    def call(self, offered: tuple[Any, ...]) -> Any:
        """Call the function with as many of the offered arguments as it takes."""
        return self.function(*offered[: self.arity]) if self.arity else self.function()


class Hooks:
    """
    A collection of hooks, for a module of its own; `App.include` adds it to an app. An `App` is one itself.

    Each decorator works bare and called, takes sync and async functions and returns the function as it was.
    """

    def __init__(self) -> None:
        self._entries: list[Hook | Hooks] = []

    def _hooks(self) -> Iterator[Hook]:
        """Every hook once, in the order of registration; included collections stand where they were included."""
        seen: set[int] = set()
        pending: list[Hook | Hooks] = [*reversed(self._entries)]
        while pending:
            entry = pending.pop()
            if id(entry) in seen:
                continue
            seen.add(id(entry))
            if isinstance(entry, Hooks):
                pending.extend(reversed(entry._entries))
            else:
                yield entry

    def include(self, hooks: Hooks) -> None:
        """
        Add a collection, as if its hooks were registered here; also those that it is given later.

        Including it twice is harmless: each hook runs once, where it was included first. So a part may include what it
        uses, and is cleaned up before that. It may be included in several apps.

        Raises:
            TypeError: `hooks` is not a `Hooks`.
            ValueError: It is this very collection, or contains it.
        """
        if not isinstance(hooks, Hooks):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"include() takes a graceful.Hooks, got {hooks!r}")
        if hooks is self or hooks._contains(self):
            raise ValueError("include() cannot add a collection to itself")
        self._entries.append(hooks)

    def _contains(self, other: Hooks) -> bool:
        return any(entry is other or entry._contains(other) for entry in self._entries if isinstance(entry, Hooks))

    @overload
    def on_startup(self, function: F, /) -> F: ...
    @overload
    def on_startup(self, *, timeout: float | None = None) -> Callable[[F], F]: ...
    def on_startup(self, function: Any = _NOT_GIVEN, *, timeout: float | None = None) -> Any:
        """
        Run before main, in the order of registration, one at a time. If one fails, only what was started is cleaned up.

        Args:
            function: A function without required parameters.
            timeout: Seconds it may take; `None`: no limit. Running out of it is a failure of the start.

        Raises:
            HookError: The function cannot be called like that.
        """
        return self._register("on_startup", function, Stage.STARTUP, (), timeout=timeout)

    @overload
    def on_shutdown(self, function: S, /) -> S: ...
    @overload
    def on_shutdown(
        self, *, timeout: float | None = None, after: After = None, stage: Literal["drain", "cleanup"] = "cleanup"
    ) -> Callable[[S], S]: ...
    def on_shutdown(
        self, function: Any = _NOT_GIVEN, *, timeout: float | None = None, after: After = None, stage: str = "cleanup"
    ) -> Any:
        """
        Run to its end when the program stops, whatever stops it, before the loop does; the last registered runs first.

        A hook stands for the last block of startups registered before it, which several hooks in a row share: its
        `on_startup` hooks, or if there are none its resources. It is skipped if there are some and none of them
        completed.

        Args:
            function: A function that takes nothing, or one argument: the `Cause`.
            timeout: Seconds it may take; `None`: what is left of the grace, less a reserve for the hooks behind it. It
                never extends the grace.
            after: Start as soon as these hooks have ended, beside whatever else runs: a function, a name, or several;
                `()` starts at once; `None` (default): one after the other with all hooks that say nothing else.
            stage: `"cleanup"`, after all tasks have ended, or `"drain"`, while they still run (to stop accepting work).

        Raises:
            HookError: The function cannot be called like that.
            ValueError: No such stage, or a bad timeout.
        """
        if stage not in ("cleanup", "drain"):
            raise ValueError(f"stage must be 'cleanup' or 'drain', got {stage!r}")
        return self._register(
            "on_shutdown", function, Stage(stage), ("cause",), timeout=timeout, after=_references(after)
        )

    @overload
    def on_exception(self, function: X, /) -> X: ...
    @overload
    def on_exception(self, *types: type[BaseException], timeout: float | None = None) -> Callable[[X], X]: ...
    def on_exception(self, *types: Any, timeout: float | None = None) -> Any:
        """
        Run when an exception that nobody handled would stop the program: of main, a task or a callback.

        Args:
            types: The exceptions it is for; none: every `Exception`.
            timeout: Seconds it may take; `None`: what the grace allows.

        The function takes nothing, one argument (the `Failure`), or asyncio's own two (`loop, context`). Returning
        `True` means, as in `__exit__`: dealt with, go on. The failure of a startup is told, and stops all the same.

        Raises:
            HookError: The function cannot be called like that, or a type is not an exception class.
        """
        bare = len(types) == 1 and (inspect.iscoroutine(types[0]) or callable(types[0]))
        bare = bare and not isinstance(types[0], type)
        function, types = (types[0], ()) if bare else (_NOT_GIVEN, types)
        for given in types:
            if not (isinstance(given, type) and issubclass(given, BaseException)):
                raise HookError(
                    f"on_exception() takes exception classes, got {given!r}: write @app.on_exception(ConnectionError)"
                )
        return self._register(
            "on_exception",
            function,
            Stage.EXCEPTION,
            ("loop", "context"),
            timeout=timeout,
            types=types or (Exception,),
        )

    def on_signal(self, *signals: signal.Signals | int | str) -> Callable[[G], G]:
        """
        Run for these signals instead of stopping: reload on SIGHUP, dump on SIGUSR1.

        The function takes nothing, or one argument: the signal. It also takes a signal the process inherited as
        ignored. One at a time: what arrives while it runs makes it run once more. If it fails, so has the program.

        Raises:
            HookError: No signal was named, or the function cannot be called like that.
            ValueError: A signal that no handler can take.
        """
        _close(*signals)
        if not signals or inspect.iscoroutine(signals[0]) or callable(signals[0]):
            raise HookError("on_signal() needs to know which signal: write @app.on_signal(signal.SIGHUP)")
        taken = tuple(signal_from("on_signal()", given) for given in signals)
        register: Callable[[G], G] = self._register("on_signal", _NOT_GIVEN, Stage.SIGNAL, ("signal",), signals=taken)
        return register

    @overload
    def resource(self, function: R, /) -> R: ...
    @overload
    def resource(self, *, timeout: float | None = None) -> Callable[[R], R]: ...
    def resource(self, function: Any = _NOT_GIVEN, *, timeout: float | None = None) -> Any:
        """
        A generator with one `yield`: what is before it is startup, what is after it is shutdown.

        It lives in one task from the start to the end, so that an `async with` or a `TaskGroup` around the `yield`
        works. Only what was entered is exited, the last entered first.

        Args:
            function: An async (or sync) generator function without required parameters.
            timeout: Seconds for each of its two halves; `None`: no limit at the start, what the grace allows at the end.

        Raises:
            HookError: It is not a generator function.
        """
        return self._register("resource", function, Stage.RESOURCE, (), timeout=timeout)

    @overload
    def background(self, function: B, /) -> B: ...
    @overload
    def background(self, *, drain: bool = False) -> Callable[[B], B]: ...
    def background(self, function: Any = _NOT_GIVEN, *, drain: bool = False) -> Any:
        """
        A coroutine function started after startup as a supervised task: its failure stops the program at once.

        Args:
            function: A coroutine function without required parameters.
            drain: The shutdown waits for it before it cancels anything, half of the grace at most.

        Raises:
            HookError: It is not a coroutine function.
        """
        return self._register("background", function, Stage.BACKGROUND, (), drain=drain)

    def _register(
        self, decorator: str, function: Any, stage: Stage, offers: tuple[str, ...], *, timeout: Any = None, **more: Any
    ) -> Any:
        if timeout is not None:
            timeout = seconds("timeout", timeout, positive=True)

        def register(function: Any) -> Any:
            _check_kind(decorator, function, stage)
            arity = _arity(decorator, function, offers)
            self._entries.append(Hook(function, stage, arity=arity, timeout=timeout, **more))
            return function

        return register if function is _NOT_GIVEN else register(function)


def is_awaitable(result: object) -> bool:
    """Whether it is to be awaited; quickly, for what nearly all hooks are."""
    return type(result) is CoroutineType or (result is not None and inspect.isawaitable(result))


def handle_of(reference: object) -> object:
    """A function or a name, as a key: equal for what `after=` takes for the same."""
    try:
        hash(reference)
    except TypeError:  # a callable object of somebody's own
        return id(reference)
    return reference


def _references(after: Any) -> tuple[_Reference, ...] | None:
    if after is None:
        return None
    several: list[Any] = [after]
    if not callable(after) and not isinstance(after, str) and hasattr(after, "__iter__"):
        several = [*after]
    for reference in several:
        if not callable(reference) and not isinstance(reference, str):
            raise TypeError(f"after must be hooks or their names, got {reference!r} ({type(reference).__name__})")
    return tuple(several)


def _close(*given: Any) -> None:
    """Or Python would warn that a coroutine was never awaited, next to an error that says why."""
    for each in given:
        if inspect.iscoroutine(each):
            each.close()


def _check_kind(decorator: str, function: Any, stage: Stage) -> None:
    """Refuse what is not a function of the kind that `decorator` needs, and show the call that works."""
    if inspect.iscoroutine(function):
        _close(function)
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
    plain = function if _is_plain(function) else _unwrapped(function)
    inner = plain if _is_plain(plain) else inspect.unwrap(plain)
    makes_context = inner is not plain and _is_generator(inner)
    if makes_context and getattr(plain, "__globals__", {}).get("__name__") == "contextlib":
        raise HookError(
            f"{decorator}() takes a function, got {_described(function)}, which makes a context manager: use "
            f"@app.resource on the generator itself, or app.enter_async_context(...) while running"
        )
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
        by_position = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
        keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
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
    return type(function) is FunctionType and not vars(function)


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
    function = _unwrapped(function) if isinstance(function, functools.partial) else function
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _code(function: Any) -> CodeType | None:
    return getattr(inspect.unwrap(_unwrapped(function)), "__code__", None)


def _described(function: Any) -> str:
    return f"{_name(function)} ({place(_code(function))})"
