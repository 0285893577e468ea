"""The decorators: what they give back, what they refuse and with which words, and what a hook is called with."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import re
import signal
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from graceful import App, Cause, Failure, HookError, Hooks, Kind
from graceful._hook import Hook, Stage, is_awaitable

#: Every decorator: a way to apply it to `function`, on a collection `h`.
BARE: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup(function),
    "on_shutdown": lambda h, function: h.on_shutdown(function),
    "on_exception": lambda h, function: h.on_exception(function),
    "resource": lambda h, function: h.resource(function),
    "background": lambda h, function: h.background(function),
}
CALLED: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup(timeout=1)(function),
    "on_shutdown": lambda h, function: h.on_shutdown(timeout=1, after=(), stage="drain")(function),
    "on_exception": lambda h, function: h.on_exception(OSError, timeout=1)(function),
    "on_signal": lambda h, function: h.on_signal(signal.SIGTERM)(function),
    "resource": lambda h, function: h.resource(timeout=1)(function),
    "background": lambda h, function: h.background(drain=True)(function),
}
EMPTY: dict[str, Callable[[Hooks, Any], Any]] = {
    "on_startup": lambda h, function: h.on_startup()(function),
    "on_shutdown": lambda h, function: h.on_shutdown()(function),
    "on_exception": lambda h, function: h.on_exception()(function),
    "resource": lambda h, function: h.resource()(function),
    "background": lambda h, function: h.background()(function),
}
WAYS = [
    pytest.param(name, apply, id=f"{name}-{way}")
    for way, table in (("bare", BARE), ("called", CALLED), ("empty", EMPTY))
    for name, apply in table.items()
]
#: The same for those that take functions of any kind, and for all but `resource`.
PLAIN_WAYS = [way for way in WAYS if way.values[0] not in ("resource", "background")]
FUNCTION_WAYS = [way for way in WAYS if way.values[0] != "resource"]


def sync_function() -> None: ...


async def async_function() -> None: ...


def sync_generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


class Thing:
    """Something with methods of each kind."""

    def __init__(self) -> None:
        self.got: list[tuple[object, ...]] = []

    def close(self) -> None:
        self.got.append(())

    async def aclose(self) -> None:
        self.got.append(())

    def take(self, what: object) -> None:
        self.got.append((what,))

    async def __call__(self) -> None:
        self.got.append(())

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static() -> None: ...


def suitable(decorator: str) -> Callable[[], Any]:
    """A function that the decorator takes."""
    return {"resource": async_generator}.get(decorator, async_function)


def only(hooks: Hooks) -> Hook:
    """The one hook there is."""
    (hook,) = hooks._hooks()
    return hook


def refused(apply: Callable[[Hooks, Any], Any], function: object) -> str:
    """The message with which `function` is refused; nothing is registered then."""
    hooks = Hooks()
    with pytest.raises(HookError) as raised:
        apply(hooks, function)
    assert [] == [*hooks._hooks()]
    return str(raised.value)


# --- what comes back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("decorator", "apply"), WAYS)
def test_decorators_give_back_the_function(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """Bare or called, a decorator registers one hook and returns the very function it got."""
    hooks = Hooks()
    function = suitable(decorator)

    assert function is apply(hooks, function)
    assert function is only(hooks).function


@pytest.mark.parametrize(
    ("decorator", "stage"),
    [
        ("on_startup", Stage.STARTUP),
        ("on_shutdown", Stage.DRAIN),
        ("on_exception", Stage.EXCEPTION),
        ("on_signal", Stage.SIGNAL),
        ("resource", Stage.RESOURCE),
        ("background", Stage.BACKGROUND),
    ],
)
def test_what_was_said_is_kept(decorator: str, stage: Stage) -> None:
    """A hook knows what it is for and what its decorator was called with."""
    hooks = Hooks()
    CALLED[decorator](hooks, suitable(decorator))
    hook = only(hooks)

    assert stage is hook.stage
    assert (None if decorator in ("on_signal", "background") else 1.0) == hook.timeout
    assert (() if decorator == "on_shutdown" else None) == hook.after
    assert ((OSError,) if decorator == "on_exception" else (Exception,)) == hook.types
    assert ((signal.SIGTERM,) if decorator == "on_signal" else ()) == hook.signals
    assert (decorator == "background") is hook.drain


def test_defaults() -> None:
    """A bare hook has no timeout of its own, its place in the chain, and is of the cleanup."""
    hooks = Hooks()
    hooks.on_shutdown(sync_function)
    hook = only(hooks)

    assert (Stage.CLEANUP, None, None) == (hook.stage, hook.timeout, hook.after)


def test_each_decoration_is_a_hook() -> None:
    """Decorators can be stacked: one function may be a hook of several kinds, and of one kind several times."""
    hooks = Hooks()
    hooks.on_startup(hooks.on_shutdown(hooks.on_exception(hooks.on_shutdown(sync_function))))

    assert ["cleanup", "on_exception", "cleanup", "startup"] == [hook.stage.value for hook in hooks._hooks()]


def test_several_exceptions_and_signals() -> None:
    """One hook may be for several exceptions, or for several signals however they are written."""
    hooks = Hooks()
    hooks.on_exception(OSError, ValueError, KeyboardInterrupt)(sync_function)
    hooks.on_signal(signal.SIGUSR1, "HUP", int(signal.SIGUSR2))(sync_function)
    failing, signalled = hooks._hooks()

    assert (OSError, ValueError, KeyboardInterrupt) == failing.types
    assert (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2) == signalled.signals


def test_the_name_and_the_place() -> None:
    """A hook is called by its qualified name, without the functions around it, and by the line that defines it."""

    class Pool:
        def close(self) -> None: ...

    hooks = Hooks()
    for function in (Pool().close, functools.partial(Thing().take, 1), Thing(), lambda: None, print):
        hooks.on_shutdown(function)
    names = [hook.name for hook in hooks._hooks()]
    method = next(hooks._hooks())
    line = inspect.getsourcelines(Pool.close)[1]

    assert ["Pool.close", "Thing.take", "Thing", "<lambda>", "print"] == names
    assert re.fullmatch(rf"Pool\.close \((.*/)?test_hooks\.py:{line}\)", str(method))


# --- what is refused, and with which words -----------------------------------------------------------------------------


@pytest.mark.parametrize(("decorator", "apply"), WAYS)
def test_coroutine_object(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A function that was called by mistake is refused with the call that works, and Python has nothing to add."""

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
def test_no_function(decorator: str, apply: Callable[[Hooks, Any], Any], value: object) -> None:
    """What cannot be called is refused, shown, and the two ways to decorate are named."""
    message = refused(apply, value)

    assert f"{decorator}() takes a function, got {value!r}: " in message
    assert f"@app.{decorator} above a def" in message
    assert f"app.{decorator}(function)" in message


@pytest.mark.parametrize(("decorator", "apply"), [way for way in WAYS if way.id != "on_exception-bare"])
def test_class(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A class can be called and would do nothing that anybody sees: refused."""
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
def test_parameter_that_nothing_can_fill(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A required parameter too many is refused by its name, with what the hook is called with, and two ways out."""
    message = refused(apply, nothing_to_fill(decorator))
    excess = {"on_shutdown": "second", "on_signal": "second", "on_exception": "third"}.get(decorator, "first")
    offered = {
        "on_shutdown": "with no argument or one (cause)",
        "on_signal": "with no argument or one (signal)",
        "on_exception": "with no argument, one (failure), or two (loop, context)",
    }.get(decorator, "with no argument")

    assert f"{decorator}() calls its function {offered}, but wanting (" in message
    assert f"requires {excess}: give a default, or bind it with functools.partial" in message


@pytest.mark.parametrize(("decorator", "apply"), FUNCTION_WAYS)
def test_keyword_that_nothing_can_fill(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A required keyword is never filled, whatever its name: refused by that name."""

    async def close(*, cause: object, pool: object, force: bool = False) -> None: ...

    message = refused(apply, close)

    assert "close (" in message
    assert "requires cause, pool: give a default, or bind it with functools.partial" in message


def test_keyword_that_nothing_can_fill_in_a_resource() -> None:
    """The same holds for a resource."""

    async def pool(*, size: int) -> AsyncIterator[None]:
        yield

    assert "pool (" in refused(BARE["resource"], pool)
    assert "requires size: give a default" in refused(BARE["resource"], pool)


@pytest.mark.parametrize("function", [sync_generator, async_generator], ids=["sync", "async"])
@pytest.mark.parametrize(("decorator", "apply"), FUNCTION_WAYS)
def test_generator_where_a_function_is_meant(
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
def test_generator_in_disguise(function: Callable[[], Any]) -> None:
    """Behind a partial, as a method or as an object a generator function is still one: for a resource, and only that."""
    hooks = Hooks()

    assert function is hooks.resource(function)
    assert "use @app.resource" in refused(BARE["on_shutdown"], function)


@pytest.mark.parametrize(
    "function",
    [contextlib.contextmanager(sync_generator), contextlib.asynccontextmanager(async_generator)],
    ids=["sync", "async"],
)
@pytest.mark.parametrize("decorator", ["on_startup", "on_shutdown"])
def test_context_manager_where_a_function_is_meant(decorator: str, function: Callable[[], Any]) -> None:
    """Calling a context manager's function enters nothing: refused, with what takes it."""
    message = refused(BARE[decorator], function)

    assert "resource" in message or "enter_async_context" in message


@pytest.mark.parametrize(
    "function",
    [sync_function, async_function, Thing().aclose, Thing(), functools.partial(async_function), print],
    ids=["sync", "async", "method", "object", "partial", "builtin"],
)
@pytest.mark.parametrize("way", ["bare", "called"])
def test_function_where_a_generator_is_meant(way: str, function: Callable[[], Any]) -> None:
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
def test_coroutine_function_in_disguise(function: Callable[[], Any]) -> None:
    """A coroutine function may come as a method, as an object that can be called, or behind a partial."""
    hooks = Hooks()

    assert function is hooks.background(function)
    assert function is only(hooks).function


@pytest.mark.parametrize(("decorator", "apply"), PLAIN_WAYS)
def test_method_without_its_object(decorator: str, apply: Callable[[Hooks, Any], Any]) -> None:
    """A method taken from the class has nobody to be called on: refused, with the bound form."""
    message = refused(apply, Thing.close)

    assert f"{decorator}() got the method Thing.close (" in message
    assert f"register it bound, app.{decorator}(obj.close)" in message


@pytest.mark.parametrize(
    "given",
    [(None,), (5,), ("OSError",), (ValueError("x"),), ((OSError, ValueError),), (int,), (OSError, 5), (OSError, Thing)],
    ids=["None", "number", "name", "instance", "tuple", "class", "number among", "class among"],
)
def test_no_exception_classes(given: tuple[object, ...]) -> None:
    """What on_exception takes are exception classes, one argument each: anything else is refused with a call that works."""
    with pytest.raises(HookError, match=r"@app\.on_exception\(ConnectionError\)"):
        Hooks().on_exception(*given)


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
    with pytest.raises(ValueError, match=r"^stage must be 'cleanup' or 'drain', got ") as raised:
        Hooks().on_shutdown(stage=stage)

    assert f"got {stage!r}" in str(raised.value)


# --- what is taken, and what it is called with -------------------------------------------------------------------------


CAUSE = Cause(Kind.REQUESTED, 1.0)


async def awaited(result: Any) -> None:
    await result


def called_with(decorator: str, function: Any) -> None:
    """Decorate `function`, and call it as the app does where there are arguments to offer."""
    hooks = Hooks()
    (BARE | {"on_signal": CALLED["on_signal"]})[decorator](hooks, function)
    offered = {"on_startup": (), "on_shutdown": (CAUSE,), "on_signal": (signal.SIGTERM,)}[decorator]
    returned: list[Any] = []
    hook = only(hooks)
    hook.function, called = lambda *given: returned.append(called(*given)) or returned[-1], hook.function
    result = hook(*offered)
    if is_awaitable(result):
        asyncio.run(awaited(result))
    assert [inspect.isawaitable(result) for result in returned] == [is_awaitable(result) for result in returned]


@pytest.mark.parametrize(
    ("decorator", "offered"), [("on_startup", ()), ("on_shutdown", (CAUSE,)), ("on_signal", (signal.SIGTERM,))]
)
def test_arguments(decorator: str, offered: tuple[object, ...]) -> None:
    """A hook gets as many arguments as it requires; what has a default keeps it, and `*args` gets what there is."""
    got: list[tuple[object, ...]] = []

    def requires_nothing() -> None:
        got.append(())

    def has_defaults(what: object = "mine", *, how: str = "so") -> None:
        got.append((what, how))

    async def takes_any(*args: object, **more: object) -> None:
        got.append((args, more))

    for function in (requires_nothing, has_defaults, takes_any):
        called_with(decorator, function)

    assert [(), ("mine", "so"), (offered, {})] == got


@pytest.mark.parametrize(("decorator", "offered"), [("on_shutdown", CAUSE), ("on_signal", signal.SIGTERM)])
def test_one_argument(decorator: str, offered: object) -> None:
    """A hook that requires one argument gets the cause, or the signal, whatever it calls it."""
    got: list[tuple[object, ...]] = []

    def required(what: object) -> None:
        got.append((what,))

    async def positional_only(what: object, /, *, how: str = "so") -> None:
        got.append((what, how))

    def first_of_two(what: object, other: object = "mine") -> None:
        got.append((what, other))

    for function in (required, positional_only, first_of_two, lambda what: got.append((what, "lambda"))):
        called_with(decorator, function)

    assert [(offered,), (offered, "so"), (offered, "mine"), (offered, "lambda")] == got


def test_bound_things() -> None:
    """Bound methods, partials, lambdas, objects that can be called and builtins are functions like any other."""
    thing = Thing()
    heap: list[object] = ["old"]
    for function in (thing.close, thing.aclose, thing, lambda: thing.close(), functools.partial(thing.take, "bound")):
        called_with("on_startup", function)
    called_with("on_startup", functools.partial(functools.partial(thing.take), what="twice"))
    called_with("on_shutdown", thing.take)
    called_with("on_shutdown", Thing.static)
    called_with("on_shutdown", Thing.of_class)

    assert [(), (), (), (), ("bound",), ("twice",), (CAUSE,)] == thing.got
    called_with("on_shutdown", heap.append)
    assert ["old", CAUSE] == heap
    called_with("on_shutdown", heap.clear)
    assert [] == heap


def test_builtin_without_a_signature() -> None:
    """A builtin that does not say what it takes is called with nothing."""
    found = {"a": 1}
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(found.pop)
    mapping = type("Mapping", (dict,), {})(found)
    called_with("on_shutdown", mapping.update)

    assert found == mapping


def test_partial_leaves_the_rest() -> None:
    """What a partial binds is bound, and what it leaves is filled."""
    got: list[tuple[object, ...]] = []

    async def close(pool: str, cause: Cause, *, force: bool) -> None:
        got.append((pool, cause, force))

    called_with("on_shutdown", functools.partial(close, "pool", force=True))

    assert [("pool", CAUSE, True)] == got


def test_closing_an_exit_stack() -> None:
    """The methods of an exit stack are functions to register, though their code is contextlib's own."""
    got: list[str] = []
    stack, async_stack = contextlib.ExitStack(), contextlib.AsyncExitStack()
    stack.callback(got.append, "stack")
    async_stack.callback(got.append, "async stack")

    called_with("on_shutdown", stack.close)
    called_with("on_shutdown", async_stack.aclose)

    assert ["stack", "async stack"] == got


def test_function_inside_a_context_manager() -> None:
    """A function that a context manager decorates is a function, though its wrapper is contextlib's own."""
    got: list[str] = []

    @contextlib.contextmanager
    def measured() -> Iterator[None]:
        got.append("before")
        yield
        got.append("after")

    @measured()
    def close() -> None:
        got.append("close")

    called_with("on_shutdown", close)

    assert ["before", "close", "after"] == got


def test_decorated_function_that_passes_on() -> None:
    """A wrapper that passes on whatever it gets is called as the function that it wraps."""
    got: list[tuple[object, ...]] = []

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            got.append(("logged", *args))
            return function(*args, **kwargs)

        return wrapper

    called_with("on_shutdown", logged(lambda: got.append(("nothing",))))
    called_with("on_shutdown", logged(lambda cause: got.append(("cause", cause))))

    assert [("logged",), ("nothing",), ("logged", CAUSE), ("cause", CAUSE)] == got


@pytest.mark.parametrize("decorator", ["on_startup", "on_shutdown"])
def test_decorated_function_that_fills(decorator: str) -> None:
    """A wrapper that fills a parameter itself is called as it says, not as the function that it wraps does."""
    got: list[str] = []

    def with_pool(function: Callable[[str], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def wrapper() -> None:
            function("pool")

        return wrapper

    @with_pool
    def close(pool: str) -> None:
        got.append(pool)

    called_with(decorator, close)

    assert ["pool"] == got


def test_shutdown_hooks_get_the_cause() -> None:
    """In a run, a shutdown hook that requires an argument gets the cause of this very shutdown."""
    app = App()
    got: list[object] = []
    app.on_shutdown(lambda cause: got.append(cause))
    app.on_shutdown(stage="drain")(lambda cause: got.append(cause))

    async def main() -> int:
        return 7

    assert 7 == app.run(main)
    assert app.report is not None
    assert [app.report.cause] * 2 == got
    assert Kind.COMPLETED is app.report.cause.kind


@pytest.mark.parametrize("kind", ["nothing", "failure", "asyncio", "any", "default", "method", "object"])
def test_exception_hooks_get_what_they_take(kind: str) -> None:
    """An on_exception hook takes nothing, the Failure, or asyncio's loop and context; by returning True it deals with it."""
    app = App()
    error = ConnectionError("lost")
    got: list[object] = []

    async def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
        got.extend((loop is asyncio.get_running_loop(), context["exception"], bool(context["message"])))
        return True

    class Deals:
        def method(self, failure: Failure) -> bool:
            return dealt(failure)

        async def __call__(self, failure: Failure) -> bool:
            return dealt(failure)

    def dealt(*args: object) -> bool:
        got.extend(args)
        return True

    functions: dict[str, Callable[..., Any]] = {
        "nothing": lambda: dealt(),
        "failure": lambda failure: dealt(failure),
        "asyncio": handler,
        "any": lambda *args: dealt(*args),
        "default": lambda failure, extra="mine": dealt(failure, extra),
        "method": Deals().method,
        "object": Deals(),
    }
    app.on_exception(ConnectionError)(functions[kind])

    async def main() -> None:
        raise error

    app.run(main())

    failure, *rest = got or [None]
    if kind == "nothing":
        assert [] == got
    elif kind == "asyncio":
        assert [True, error, True] == got
    else:
        assert isinstance(failure, Failure)
        assert error is failure.exception
        assert (["mine"] if kind == "default" else []) == rest


def test_exception_hooks_are_for_their_types() -> None:
    """A hook hears of its exceptions and their subclasses, a bare one of every Exception, and of no others."""
    app = App()
    heard: list[str] = []
    app.on_exception(OSError)(lambda: heard.append("OSError"))
    app.on_exception(KeyError, ConnectionError)(lambda: heard.append("KeyError, ConnectionError"))
    app.on_exception(ValueError)(lambda: heard.append("ValueError"))
    app.on_exception(lambda: heard.append("bare"))

    async def main() -> None:
        raise ConnectionResetError("lost")

    with pytest.raises(ConnectionResetError):
        app.run(main())

    assert ["OSError", "KeyError, ConnectionError", "bare"] == heard


def test_signal_hooks_get_the_signal() -> None:
    """In a run, an on_signal hook that requires an argument gets the signal, and the program goes on."""
    app = App()
    got: list[object] = []

    @app.on_signal(signal.SIGUSR1)
    def dump(number: signal.Signals) -> None:
        got.append(number)
        heard.set()

    heard = asyncio.Event()

    async def main() -> str:
        signal.raise_signal(signal.SIGUSR1)
        await heard.wait()
        return "went on"

    assert "went on" == app.run(main())
    assert [signal.SIGUSR1] == got


# --- collections -------------------------------------------------------------------------------------------------------


def in_order(hooks: Hooks) -> list[str]:
    """The names of the hooks, in the order of registration."""
    return [hook.name for hook in hooks._hooks()]


def collection(*names: str) -> Hooks:
    """A collection of startup hooks with these names."""
    hooks = Hooks()
    for name in names:

        def function() -> None: ...

        function.__qualname__ = name
        hooks.on_startup(function)
    return hooks


def test_include() -> None:
    """What is included stands where it was included, between what was registered before and after."""
    outer, inner = collection("first"), collection("second", "third")
    outer.include(inner)
    outer.on_startup(sync_function)

    assert ["first", "second", "third", "sync_function"] == in_order(outer)
    assert ["second", "third"] == in_order(inner)


def test_included_twice() -> None:
    """Including a collection twice, directly or through another one, is harmless: its hooks run once, at the first."""
    app, through, inner = App(), collection("through"), collection("inner")
    through.include(inner)
    for hooks in (inner, through, inner, through):
        app.include(hooks)

    assert ["inner", "through"] == in_order(app)


def test_included_in_two_apps() -> None:
    """A collection in two apps is part of both, and each app has its own besides."""
    inner, one, other = collection("shared"), App("one"), App("other")
    one.include(inner)
    other.on_startup(sync_function)
    other.include(inner)

    assert ["shared"] == in_order(one)
    assert ["sync_function", "shared"] == in_order(other)


def test_late_registration() -> None:
    """Hooks that a collection is given after it was included are seen, at the place of the collection."""
    app, inner, innermost = App(), Hooks(), Hooks()
    app.include(inner)
    app.on_startup(sync_function)
    inner.include(innermost)
    innermost.on_startup(async_function)

    assert ["async_function", "sync_function"] == in_order(app)


def test_an_app_can_be_included() -> None:
    """An app is a collection of hooks itself: one can be made part of another."""
    whole, part = App("whole"), App("part")
    part.on_startup(sync_function)
    whole.include(part)

    assert ["sync_function"] == in_order(whole)


@pytest.mark.parametrize("around", [0, 1, 2], ids=["directly", "one between", "two between"])
def test_include_into_itself(around: int) -> None:
    """A collection that would contain itself is refused, also through others, and stays as it was."""
    hooks = innermost = collection("only")
    for _ in range(around):
        outer = Hooks()
        outer.include(hooks)
        hooks = outer

    with pytest.raises(ValueError, match="to itself"):
        innermost.include(hooks)
    assert ["only"] == in_order(innermost)


@pytest.mark.parametrize("value", [None, "hooks", [Hooks()], Hooks, sync_function], ids=lambda v: type(v).__name__)
def test_include_takes_hooks(value: Any) -> None:
    """What is no collection of hooks is a TypeError that shows it."""
    with pytest.raises(TypeError, match=r"^include\(\) takes a graceful\.Hooks, got ") as raised:
        App().include(value)

    assert f"got {value!r}" in str(raised.value)


def test_included_hooks_run() -> None:
    """In a run, included hooks are hooks of the app: started in order, cleaned up in reverse, each once."""
    app, inner = App(), Hooks()
    ran: list[str] = []
    app.on_startup(lambda: ran.append("+app"))
    app.on_shutdown(lambda: ran.append("-app"))
    app.include(inner)
    app.include(inner)
    inner.on_startup(lambda: ran.append("+inner"))
    inner.on_shutdown(lambda: ran.append("-inner"))

    async def main() -> None:
        ran.append("main")

    app.run(main)

    assert ["+app", "+inner", "main", "-inner", "-app"] == ran
