"""What a hook is called with: arguments by the signature of the function, whatever kind of callable it is."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.decorators import BARE, CALLED, Thing, only

from graceful import App, Cause, Failure, Hooks, Kind
from graceful._hooks.hook import is_awaitable

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
    called = hook.function
    hook.function = lambda *given: returned.append(called(*given)) or returned[-1]
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


def test_bound_methods_partials_and_builtins() -> None:
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


def test_arguments_of_a_partial() -> None:
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


# --- in a run --------------------------------------------------------------------------------------------------------


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
def test_exception_hooks_get_the_arguments_they_take(kind: str) -> None:
    """An on_exception hook takes nothing, the Failure, or asyncio's loop and context; True deals with the failure."""
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
    """A hook is called for its exceptions and their subclasses, a bare one for every Exception, and for no others."""
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
