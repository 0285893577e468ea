"""The decorators, and the collection of hooks that they register."""

from __future__ import annotations

import functools
import inspect
import signal
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from typing_extensions import TypeVar, override

from graceful._core.arguments import flag, seconds, signal_from
from graceful._core.errors import HookError
from graceful._core.types import Cause, Failure
from graceful._hooks.hook import Hook, Reference, Stage
from graceful._hooks.signature import check_function, close_coroutines

__all__ = ["Hooks"]

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
After: TypeAlias = Reference | Iterable[Reference] | None


class _NotGiven:
    """The default of an argument that may not be given; shown in signatures as `...`."""

    @override
    def __repr__(self) -> str:
        return "..."


_NOT_GIVEN: Any = _NotGiven()


class Hooks:
    """
    A collection of hooks, for a module of its own; `App.include` adds it to an app. An `App` is one itself.

    Each decorator works bare and called, takes sync and async functions, and returns the function unchanged.

    While an app runs, `on_shutdown`, `on_exception` and `on_signal` still count from then on, and for its later runs from
    the start. The others raise a `StateError`, which shows what to call instead.
    """

    def __init__(self) -> None:
        self._entries: list[Hook | Hooks] = []
        self._included_in: weakref.WeakSet[Hooks] = weakref.WeakSet()

    if not TYPE_CHECKING:  # a checker would take it for every attribute there could be

        def __getattr__(self, name: str) -> Any:
            """A collection of hooks is taken for an app: `Hooks().run(main)`."""
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            if type(self) is Hooks and not name.startswith("_"):
                what += ", it only collects hooks: make an App, app.include(hooks), and use that"
            raise AttributeError(what, name=name, obj=self)

    def _add(self, entry: Hook | Hooks, hooks: Sequence[Hook]) -> None:
        """Add one hook, or a collection of `hooks`; if an app runs that they become part of, they join its run."""
        joins = [join for each in self._affected() if (join := each._admit_late(hooks)) is not None]
        self._entries.append(entry)
        for join in joins:
            join()

    def _affected(self) -> Iterable[Hooks]:
        """The collection itself, and every one that contains it."""
        found: dict[Hooks, None] = {self: None}
        pending: list[Hooks] = [self]
        while pending:
            above = [each for each in pending.pop()._included_in if each not in found]
            found |= dict.fromkeys(above)
            pending += above
        return found

    def _admit_late(self, hooks: Sequence[Hook]) -> Callable[[], None] | None:  # noqa: ARG002 - an App looks at them
        """If this is an app that runs: check the hooks, and return what lets them join the run."""
        return None

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
        Add a collection, as if its hooks were registered here; also those that are added to it later.

        Including it twice is harmless: each hook runs once, where it was included first. So a part may include the parts
        that it uses, and is cleaned up before them. A collection may be included in several apps.

        Raises:
            TypeError: `hooks` is not a `Hooks`.
            ValueError: It is this very collection, or contains it.
            StateError: The app runs already, and it is too late for one of the hooks; then none is added.
        """
        if not isinstance(hooks, Hooks):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"include() takes a graceful.Hooks, got {hooks!r}")
        if hooks is self or hooks._contains(self):
            raise ValueError("include() cannot add a collection to itself")
        self._add(hooks, [*hooks._hooks()])
        hooks._included_in.add(self)

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
            StateError: The app runs already.
        """
        return self._register("on_startup", Stage.STARTUP, (), function, timeout=timeout)

    @overload
    def on_shutdown(self, function: S, /) -> S: ...
    @overload
    def on_shutdown(
        self,
        *,
        timeout: float | None = None,
        after: After = None,
        stage: Literal["drain", "cleanup", "flush"] = "cleanup",
    ) -> Callable[[S], S]: ...
    def on_shutdown(
        self, function: Any = _NOT_GIVEN, *, timeout: float | None = None, after: After = None, stage: str = "cleanup"
    ) -> Any:
        """
        Run to its end when the program stops, whatever stops it, before the loop does; the last registered runs first.

        If startup fails, only what was started is cleaned up: a hook is skipped if none of the startups in the block just
        before it completed. The block is its `on_startup` hooks, or if there are none its resources; several shutdown
        hooks in a row share it. A hook with no startup before it always runs.

        One that is registered while the app runs always runs, too: like the last one registered, before what was acquired
        earlier. During the shutdown it is run next. Its `after=` names hooks that are registered already.

        Args:
            function: A function that takes nothing, or one argument: the `Cause`.
            timeout: Seconds it may take; `None`: what is left of the grace, less a reserve for the hooks behind it. It
                never extends the grace.
            after: The hooks that must end first (a function, a name, or several); then it runs concurrently with the
                rest. `()`: start at once. `None` (default): one after the other with all hooks that leave this out.
            stage: `"cleanup"`, after all tasks have ended; `"drain"`, while they still run (to stop accepting work); or
                `"flush"`, when all cleanup is over and the last tasks have ended (to send the last logs and spans). A hook
                for the flush always runs. Each cleanup hook leaves time for it, 0.5 s at least where the grace allows.

        Raises:
            HookError: The function cannot be called like that.
            ValueError: No such stage, or a bad timeout.
            OrderError: While the app runs: its `after=` cannot be satisfied.
            StateError: The cleanup is over.
        """
        if stage not in ("cleanup", "drain", "flush"):
            raise ValueError(f"stage must be 'cleanup', 'drain' or 'flush', got {stage!r}")
        return self._register(
            "on_shutdown", Stage(stage), ("cause",), function, timeout=timeout, after=_references(after)
        )

    @overload
    def on_exception(self, function: X, /) -> X: ...
    @overload
    def on_exception(self, *types: type[BaseException], timeout: float | None = None) -> Callable[[X], X]: ...
    def on_exception(self, *types: Any, timeout: float | None = None) -> Any:
        """
        Run when an exception that nobody handled would stop the program: of main, a task or a callback.

        The function takes nothing, one argument (the `Failure`), or asyncio's own two (`loop, context`). Returning
        `True` means, as in `__exit__`, that it is dealt with and the program goes on. A failed startup stops the program
        in any case.

        Args:
            types: The exceptions it is for; none: every `Exception`.
            timeout: Seconds it may take; `None`: what the grace allows.

        Raises:
            HookError: The function cannot be called like that, or a type is not an exception class.
        """
        bare = len(types) == 1 and (inspect.iscoroutine(types[0]) or callable(types[0]))
        bare = bare and not isinstance(types[0], type)
        function, types = (types[0], ()) if bare else (_NOT_GIVEN, types)
        for given in types:
            if not (isinstance(given, type) and issubclass(given, BaseException)):
                close_coroutines(given)
                raise HookError(f"on_exception() takes exception classes, got {given!r}: {_instead_of(given, types)}")
        return self._register(
            "on_exception",
            Stage.EXCEPTION,
            ("loop", "context"),
            function,
            timeout=timeout,
            types=types or (Exception,),
        )

    def on_signal(self, *signals: signal.Signals | int | str) -> Callable[[G], G]:
        """
        Run for these signals instead of stopping: reload on SIGHUP, dump on SIGUSR1.

        The function takes nothing, or one argument: the signal. A signal that the process inherited as ignored is taken,
        too. Runs one at a time: a signal that arrives while it runs makes it run once more. If it fails, so does the
        program. Once the shutdown has begun, it is not run any more, and a warning says so of each signal.

        Raises:
            HookError: No signal was named, or the function cannot be called like that.
            ValueError: A signal that no handler can take.
            StateError: The app runs already, and it cannot take the signal here: in another thread than the main one, or in
                a block of `async with app:` whose owner handles that signal. Or its shutdown has begun.
        """
        close_coroutines(*signals)
        if not signals or inspect.iscoroutine(signals[0]) or callable(signals[0]):
            raise HookError("on_signal() needs to know which signal: write @app.on_signal(signal.SIGHUP)")
        for given in signals:
            if isinstance(given, (list, tuple, set, frozenset)):
                raise HookError(
                    f"on_signal() takes signals one by one, got {given!r}: write "
                    "@app.on_signal(signal.SIGHUP, signal.SIGUSR1)"
                )
            if inspect.iscoroutine(given) or callable(given):
                raise HookError(
                    f"on_signal() takes signals, got {given!r}: write @app.on_signal(signal.SIGHUP) above the function, "
                    "or app.on_signal(signal.SIGHUP)(function)"
                )
        taken = tuple(signal_from("on_signal()", given) for given in signals)
        register: Callable[[G], G] = self._register("on_signal", Stage.SIGNAL, ("signal",), _NOT_GIVEN, signals=taken)
        return register

    @overload
    def resource(self, function: R, /) -> R: ...
    @overload
    def resource(self, *, timeout: float | None = None) -> Callable[[R], R]: ...
    def resource(self, function: Any = _NOT_GIVEN, *, timeout: float | None = None) -> Any:
        """
        A generator with one `yield`: what is before it is startup, what is after it is shutdown.

        It lives in one task from start to end, so that an `async with` or a `TaskGroup` around the `yield` works. Only
        what was entered is exited, last entered first.

        Args:
            function: An async (or sync) generator function without required parameters.
            timeout: Seconds for each of its two halves; `None`: no limit at the start, what the grace allows at the end.

        Raises:
            HookError: It is not a generator function.
            StateError: The app runs already.
        """
        return self._register("resource", Stage.RESOURCE, (), function, timeout=timeout)

    @overload
    def background(self, function: B, /) -> B: ...
    @overload
    def background(self, *, drain: bool = False, essential: bool = False) -> Callable[[B], B]: ...
    def background(self, function: Any = _NOT_GIVEN, *, drain: bool = False, essential: bool = False) -> Any:
        """
        A coroutine function started after startup as a supervised task: its failure stops the program at once.

        Args:
            function: A coroutine function without required parameters.
            drain: The shutdown waits for it before it cancels anything, as long as `drain_share` allows.
            essential: When it returns, the program ends, as if main had returned; so does it when it has failed and an
                `on_exception` hook dealt with that.

        Raises:
            HookError: It is not a coroutine function.
            StateError: The app runs already.
        """
        return self._register(
            "background",
            Stage.BACKGROUND,
            (),
            function,
            drain=flag("drain", drain),
            essential=flag("essential", essential),
        )

    def _register(
        self, decorator: str, stage: Stage, offers: tuple[str, ...], function: Any, *, timeout: Any = None, **more: Any
    ) -> Any:
        if timeout is not None:
            timeout = seconds("timeout", timeout, positive=True)
        if function is _NOT_GIVEN:
            return functools.partial(self._register, decorator, stage, offers, timeout=timeout, **more)
        arity = check_function(decorator, function, stage, offers)
        hook = Hook(function, stage, arity=arity, timeout=timeout, **more)
        self._add(hook, [hook])
        return function


def _instead_of(given: Any, types: Sequence[Any]) -> str:
    """What to write instead of something that is no exception class."""
    if issubclass(type(given), tuple):
        names = ", ".join(getattr(each, "__name__", repr(each)) for each in given)
        return f"write @app.on_exception({names}), without the tuple"
    if isinstance(given, BaseException):
        return f"write @app.on_exception({type(given).__name__}), the class and not an instance"
    if callable(given) and not isinstance(given, type):
        names = ", ".join(each.__name__ for each in types if isinstance(each, type))
        return f"write @app.on_exception({names}) above the function, or app.on_exception({names})(function)"
    return "write @app.on_exception(ConnectionError)"


def _references(after: Any) -> tuple[Reference, ...] | None:
    if after is None:
        return None
    several: list[Any] = [after]
    if not callable(after) and not isinstance(after, str) and hasattr(after, "__iter__"):
        several = [*after]
    for reference in several:
        if not callable(reference) and not isinstance(reference, str):
            raise TypeError(f"after must be hooks or their names, got {reference!r} ({type(reference).__name__})")
    return tuple(several)
