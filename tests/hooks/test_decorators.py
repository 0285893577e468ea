"""The decorators: they return the function they got and keep what they were called with; collections of hooks."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.apps import nothing
from support.decorators import CALLED, WAYS, Thing, async_function, async_generator, only, sync_function

from graceful import (
    App,
    Hooks,
)
from graceful._hooks.hook import Stage

# --- what a decorator returns and keeps ------------------------------------------------------------------------------


def suitable(decorator: str) -> Callable[[], Any]:
    """A function that the decorator takes."""
    return {"resource": async_generator}.get(decorator, async_function)


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
def test_arguments_of_a_decorator_are_kept(decorator: str, stage: Stage) -> None:
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


def test_defaults_of_a_hook() -> None:
    """A bare hook has no timeout of its own, takes its place in the chain, and is a cleanup hook."""
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
    assert re.fullmatch(rf"Pool\.close \((.*/)?test_decorators\.py:{line}\)", str(method))


# --- collections -----------------------------------------------------------------------------------------------------


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


def test_hooks_run_where_they_were_included(app):
    """Hooks of a module run as if registered where they were included; twice is harmless."""
    seen = []
    module = Hooks()
    app.on_shutdown(lambda: seen.append(1))
    app.include(module)
    app.on_shutdown(lambda: seen.append(3))
    module.on_shutdown(lambda: seen.append(2))
    app.include(module)
    app.run(asyncio.sleep(0))
    assert [3, 2, 1] == seen


def test_included_hooks_can_name_each_other(app):
    """Hooks of one module may name those of another by `after=`, once both are included, whichever came first."""
    one, other = Hooks(), Hooks()
    seen = []

    @one.on_shutdown(after="close_database")
    def close_files():
        seen.append("files")

    @other.on_shutdown
    async def close_database():
        await asyncio.sleep(0)
        seen.append("database")

    @app.on_shutdown(after=close_files)
    def close_log():
        seen.append("log")

    app.include(one)
    app.include(other)
    app.run(nothing)

    assert ["database", "files", "log"] == seen


def test_one_collection_in_two_apps_that_run_side_by_side():
    """Apps that share a collection share nothing but its functions: each runs them, one's resource is not the other's."""
    shared = Hooks()
    seen = {}
    opened = threading.Barrier(2)

    @shared.resource
    def pool():
        mine = seen.setdefault(threading.get_ident(), [])
        mine.append("+pool")
        opened.wait(5)
        yield
        mine.append("-pool")

    @shared.on_shutdown
    def close():
        seen[threading.get_ident()].append("close")

    def run():
        app = App()
        app.include(shared)
        app.run(nothing)

    thread = threading.Thread(target=run)
    thread.start()
    run()
    thread.join()

    assert [["+pool", "close", "-pool"]] * 2 == [*seen.values()]
