"""What the decorators refuse, and the words of each refusal."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import signal
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from support.decorators import BARE, CALLED, WAYS, Thing, async_function, async_generator, only, sync_function

from graceful import HookError, Hooks


def refused(apply: Callable[[Hooks, Any], Any], function: object) -> str:
    """The message with which `function` is refused; nothing is registered then."""
    hooks = Hooks()
    with pytest.raises(HookError) as raised:
        apply(hooks, function)
    assert [] == [*hooks._hooks()]
    return str(raised.value)


@pytest.mark.parametrize(("decorator", "apply"), WAYS)
def test_coroutine_object(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A function that was called by mistake is refused with the call that works, and without a Python warning."""

    async def connect() -> None: ...

    coroutine = connect()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        message = refused(apply, coroutine)
        state = inspect.getcoroutinestate(coroutine)
        del coroutine
        gc.collect()

    assert f"{decorator}() takes a function, got the coroutine object " in message
    assert f"write app.{decorator}(" in message
    assert "connect), without calling it" in message
    assert inspect.CORO_CLOSED == state
    assert [] == warned


@pytest.mark.parametrize("decorator", [*BARE])
def test_result_of_a_call(decorator: str) -> None:
    """`app.on_shutdown(pool.close())` of a sync method registers None: refused, or the pool would never be closed."""
    message = refused(BARE[decorator], sync_function())

    assert f"{decorator}() takes " in message
    assert ", got None" in message


@pytest.mark.parametrize("value", [5, "close", b"close", [sync_function], object()], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize(("decorator", "apply"), [way for way in WAYS if way.id != "on_exception-bare"])
def test_object_that_cannot_be_called(decorator: str, apply: Callable[[Hooks, Any], Any], value: object) -> None:
    """What cannot be called is refused and shown, with the two ways to decorate."""
    message = refused(apply, value)

    assert f"{decorator}() takes a function, got {value!r}: " in message
    assert f"@app.{decorator} above a def" in message
    assert f"app.{decorator}(function)" in message


@pytest.mark.parametrize(("decorator", "apply"), [way for way in WAYS if way.id != "on_exception-bare"])
def test_class(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A class is refused: it can be called, but calling it would have no effect."""
    message = refused(apply, Thing)

    assert f"{decorator}() takes a function, got {Thing!r}: write @app.{decorator} above a def" in message


def nothing_to_fill(decorator: str) -> Callable[..., Any]:
    """A function of the right kind that requires one parameter more than the decorator has to offer."""
    count = {"on_shutdown": 2, "on_signal": 2, "on_exception": 3}.get(decorator, 1)
    names = ["first", "second", "third"][:count]
    body = "yield" if decorator == "resource" else "pass"
    namespace: dict[str, Any] = {}
    exec(f"async def wanting({', '.join(names)}, fourth=4): {body}", namespace)
    return namespace["wanting"]


@pytest.mark.parametrize(("decorator", "apply"), WAYS)
def test_required_parameter_too_many(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A required parameter too many is named, with what the hook is called with, and two ways to fix it."""
    message = refused(apply, nothing_to_fill(decorator))
    excess = {"on_shutdown": "second", "on_signal": "second", "on_exception": "third"}.get(decorator, "first")
    offered = {
        "on_shutdown": "with no argument or one (cause)",
        "on_signal": "with no argument or one (signal)",
        "on_exception": "with no argument, one (failure), or two (loop, context)",
    }.get(decorator, "with no argument")

    assert f"{decorator}() calls its function {offered}, but wanting (" in message
    assert f"requires {excess}: give a default, or bind it with functools.partial" in message


FUNCTION_WAYS = [way for way in WAYS if way.values[0] != "resource"]


@pytest.mark.parametrize(("decorator", "apply"), FUNCTION_WAYS)
def test_required_keyword(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A required keyword is never filled, whatever its name: refused by that name."""

    async def close(*, cause: object, pool: object, force: bool = False) -> None: ...

    message = refused(apply, close)

    assert "close (" in message
    assert "requires cause, pool: give a default, or bind it with functools.partial" in message


def test_required_keyword_of_a_resource() -> None:
    """The same holds for a resource."""

    async def pool(*, size: int) -> AsyncIterator[None]:
        yield

    assert "pool (" in refused(BARE["resource"], pool)
    assert "requires size: give a default" in refused(BARE["resource"], pool)


def sync_generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize("function", [sync_generator, async_generator], ids=["sync", "async"])
@pytest.mark.parametrize(("decorator", "apply"), FUNCTION_WAYS)
def test_generator_instead_of_a_function(
    decorator: str, apply: Callable[[Hooks, Any], Any], function: Callable[[], Any]
) -> None:
    """A function with a yield would never run: refused, with the decorator that takes it."""
    message = refused(apply, function)

    assert f"{decorator}() takes a function, got the generator function {function.__name__} (" in message
    assert "use @app.resource" in message


class Pool:
    """Something whose methods are generators."""

    async def open(self) -> AsyncIterator[None]:
        yield

    def __call__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    "function", [functools.partial(async_generator), Pool().open, Pool()], ids=["partial", "method", "object"]
)
def test_generator_behind_a_partial_a_method_or_an_object(function: Callable[[], Any]) -> None:
    """Behind a partial, a method or an object a generator function is still one, which only a resource can be."""
    hooks = Hooks()

    assert function is hooks.resource(function)
    assert "use @app.resource" in refused(BARE["on_shutdown"], function)


@pytest.mark.parametrize(
    "function",
    [contextlib.contextmanager(sync_generator), contextlib.asynccontextmanager(async_generator)],
    ids=["sync", "async"],
)
@pytest.mark.parametrize("decorator", ["on_startup", "on_shutdown"])
def test_context_manager_instead_of_a_function(decorator: str, function: Callable[[], Any]) -> None:
    """Calling a context manager's function enters nothing: refused, with what takes it."""
    message = refused(BARE[decorator], function)

    assert "resource" in message or "enter_async_context" in message


@pytest.mark.parametrize(
    "function",
    [sync_function, async_function, Thing().aclose, Thing(), functools.partial(async_function), print],
    ids=["sync", "async", "method", "object", "partial", "builtin"],
)
@pytest.mark.parametrize("way", ["bare", "called"])
def test_function_instead_of_a_generator(way: str, function: Callable[[], Any]) -> None:
    """A resource without a yield has no second half: refused, with one that has, and what takes a context manager."""
    message = refused((BARE if way == "bare" else CALLED)["resource"], function)

    assert "resource() takes a generator function with one yield, got " in message
    assert "yield; ...`" in message
    assert "app.enter_async_context(" in message


@pytest.mark.parametrize(
    "function",
    [sync_function, Thing().close, lambda: None, functools.partial(sync_function), print],
    ids=["function", "method", "lambda", "partial", "builtin"],
)
@pytest.mark.parametrize("way", ["bare", "called"])
def test_sync_function_in_the_background(way: str, function: Callable[[], Any]) -> None:
    """A sync function would block the loop for ever, or be over at once: refused, with what is taken."""
    message = refused((BARE if way == "bare" else CALLED)["background"], function)

    assert "background() takes an `async def` function, got " in message


@pytest.mark.parametrize(
    "function", [Thing().aclose, Thing(), functools.partial(async_function)], ids=["method", "object", "partial"]
)
def test_coroutine_function_behind_a_partial_a_method_or_an_object(function: Callable[[], Any]) -> None:
    """A coroutine function may come as a method, as an object that can be called, or behind a partial."""
    hooks = Hooks()

    assert function is hooks.background(function)
    assert function is only(hooks).function


#: The same for those that take functions of any kind, and for all but `resource`.
PLAIN_WAYS = [way for way in WAYS if way.values[0] not in ("resource", "background")]


@pytest.mark.parametrize(("decorator", "apply"), PLAIN_WAYS)
def test_method_without_its_object(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A method taken from the class has no object to be called on: it is refused, with the bound form."""
    message = refused(apply, Thing.close)

    assert f"{decorator}() got the method Thing.close (" in message
    assert f"register it bound, app.{decorator}(obj.close)" in message


@pytest.mark.parametrize(
    "given",
    [(None,), (5,), ("OSError",), (int,), (OSError, 5), (OSError, Thing)],
    ids=["None", "number", "name", "class", "number among", "class among"],
)
def test_on_exception_takes_exception_classes(given: tuple[object, ...]) -> None:
    """What on_exception takes are exception classes, one argument each: anything else is refused with a call that works."""
    with pytest.raises(HookError, match=r"@app\.on_exception\(ConnectionError\)"):
        Hooks().on_exception(*given)


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ((ValueError("x"),), "write @app.on_exception(ValueError), the class and not an instance"),
        (((OSError, ValueError),), "write @app.on_exception(OSError, ValueError), without the tuple"),
        (
            (OSError, sync_function),
            "write @app.on_exception(OSError) above the function, or app.on_exception(OSError)(fun",
        ),
    ],
    ids=["instance", "tuple", "function among"],
)
def test_on_exception_shows_what_was_meant(given: tuple[object, ...], cure: str) -> None:
    """What can only mean one thing is shown as it is written."""
    with pytest.raises(HookError) as raised:
        Hooks().on_exception(*given)

    assert cure in str(raised.value)


@pytest.mark.parametrize(
    ("decorator", "given", "cure"),
    [
        ("on_startup", 5, "did you mean @app.on_startup(timeout=5)?"),
        ("on_shutdown", 0.5, "did you mean @app.on_shutdown(timeout=0.5)?"),
        ("on_shutdown", "drain", "did you mean @app.on_shutdown(stage='drain')?"),
        ("resource", async_generator(), "write app.resource(async_generator), without calling it"),
        ("on_startup", sync_generator(), "write app.resource(sync_generator), without calling it"),
        ("on_startup", contextlib.nullcontext(), "use `await app.enter_async_context(...)` while running"),
        ("on_startup", contextlib.asynccontextmanager(async_generator)(), "got the context manager <contextlib._Async"),
        ("background", sync_function, "write `async def work(): await asyncio.to_thread(sync_function)`"),
    ],
)
def test_what_was_meant_is_shown(decorator: str, given: object, cure: str) -> None:
    """An argument in the wrong place, or a call too many: the message shows the call that works."""
    assert cure in refused(BARE[decorator], given)


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        (
            ([signal.SIGHUP],),
            "takes signals one by one, got [<Signals.SIGHUP: 1>]: write @app.on_signal(signal.SIGHUP, ",
        ),
        ((signal.SIGHUP, sync_function), "write @app.on_signal(signal.SIGHUP) above the function"),
    ],
    ids=["list", "function"],
)
def test_on_signal_shows_what_was_meant(given: tuple[Any, ...], cure: str) -> None:
    """Signals come one by one, and the function by decoration."""
    with pytest.raises(HookError) as raised:
        Hooks().on_signal(*given)

    assert cure in str(raised.value)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_drain_is_a_bool(value: Any) -> None:
    """What is neither True nor False is refused, before there is a function."""
    with pytest.raises(TypeError, match=r"^drain must be True or False, got "):
        Hooks().background(drain=value)


def test_a_collection_is_not_an_app() -> None:
    """`Hooks().run(main)` shows what runs hooks; what has an underscore is looked for by libraries, and has no cure."""
    with pytest.raises(AttributeError, match=r"'Hooks' object has no attribute 'run'.*app\.include\(hooks\)"):
        Hooks().run(async_function)  # type: ignore[attr-defined]
    assert not hasattr(Hooks(), "run")
    assert not hasattr(Hooks(), "__wrapped__")


@pytest.mark.parametrize(
    "given", [(), (sync_function,), (async_function,), (Thing().close,)], ids=["empty", "bare", "async", "method"]
)
def test_on_signal_needs_a_signal(given: tuple[Any, ...]) -> None:
    """There is no signal that on_signal could mean by default: bare and empty it is refused, with the right call."""
    hooks = Hooks()
    with pytest.raises(HookError, match=r"which signal: write @app\.on_signal\(signal\.SIGHUP\)"):
        hooks.on_signal(*given)

    assert [] == [*hooks._hooks()]


@pytest.mark.parametrize("before", [[], [signal.SIGHUP]], ids=["alone", "after a signal"])
def test_on_signal_with_a_coroutine_object(before: list[signal.Signals]) -> None:
    """A function that was called by mistake is closed here too: the error stands alone."""
    coroutine = async_function()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(TypeError):
            Hooks().on_signal(*before, coroutine)
        del coroutine
        gc.collect()

    assert [] == [str(warning.message) for warning in warned]


@pytest.mark.parametrize("stage", ["startup", "Drain", "", None], ids=repr)
def test_unknown_stage(stage: Any) -> None:
    """A stage that shutdown hooks do not have is refused with those they have."""
    with pytest.raises(ValueError, match=r"^stage must be 'cleanup', 'drain' or 'flush', got ") as raised:
        Hooks().on_shutdown(stage=stage)

    assert f"got {stage!r}" in str(raised.value)
