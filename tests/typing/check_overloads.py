# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""
Every overload of every decorator with every kind of function, right and wrong. Checked, never run.

As in `check_decorators`: an ignore that is not needed is an error itself, so each wrong use must be found to be wrong.
Here the wrong ones are told apart for each checker by its own code.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeAlias, assert_type

import graceful
from graceful import App, Cause, Failure, Hooks

app = App()
hooks = Hooks()


def sync() -> int:
    return 1


async def asynchronous() -> int:
    return 1


def generator() -> Generator[int, None, None]:
    yield 1


async def async_generator() -> AsyncGenerator[int, None]:
    yield 1


def sync_cause(cause: Cause) -> int:
    return 1


async def async_cause(cause: Cause) -> int:
    return 1


def sync_failure(failure: Failure) -> bool:
    return True


async def async_failure(failure: Failure) -> None: ...


def sync_context(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
    return True


async def async_context(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None: ...


def sync_signal(number: signal.Signals) -> int:
    return 1


async def async_signal(number: signal.Signals) -> int:
    return 1


def awaitable() -> Awaitable[None]:
    return asyncio.sleep(0)


def future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


def none() -> None: ...


async def async_none() -> None: ...


class Connection:
    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exception: object) -> None: ...

    async def send(self, what: bytes, *, urgent: bool = False) -> int:
        return len(what)


# As parameters of these types, functions have no names of their own parameters, which the checkers would keep.
None_: TypeAlias = Callable[[], None]
Async: TypeAlias = Callable[[], Coroutine[Any, Any, int]]
AsyncCause: TypeAlias = Callable[[Cause], Coroutine[Any, Any, int]]
Awaits: TypeAlias = Callable[[], Awaitable[None]]
Futures: TypeAlias = Callable[[], asyncio.Future[int]]
AsyncNone: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
SyncFailure: TypeAlias = Callable[[Failure], bool]
AsyncFailure: TypeAlias = Callable[[Failure], Coroutine[Any, Any, None]]
SyncContext: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], bool]
AsyncSignal: TypeAlias = Callable[[signal.Signals], Coroutine[Any, Any, int]]
Generates: TypeAlias = Callable[[], Generator[int, None, None]]
AsyncGenerates: TypeAlias = Callable[[], AsyncGenerator[int, None]]


# --- on_startup: sync and async; what they return is theirs ------------------------------------------------------------


def check_on_startup(none: None_, asynchronous: Async, awaitable: Awaits, future: Futures) -> None:
    assert_type(app.on_startup(none), None_)
    assert_type(app.on_startup(asynchronous), Async)
    assert_type(app.on_startup(awaitable), Awaits)
    assert_type(app.on_startup(future), Futures)
    assert_type(app.on_startup()(none), None_)
    assert_type(app.on_startup()(asynchronous), Async)
    assert_type(app.on_startup(timeout=1)(none), None_)
    assert_type(app.on_startup(timeout=1)(asynchronous), Async)
    assert_type(hooks.on_startup(none), None_)
    assert_type(hooks.on_startup(timeout=1)(asynchronous), Async)
    assert_type(graceful.on_startup(none), None_)
    assert_type(graceful.on_startup(timeout=1)(asynchronous), Async)


app.on_startup(sync)  # type: ignore[type-var]
app.on_startup(generator)  # type: ignore[type-var]
app.on_startup(async_generator)  # type: ignore[type-var]
app.on_startup(sync_cause)  # type: ignore[type-var]
app.on_startup(async_cause)  # type: ignore[type-var]
app.on_startup()(generator)  # type: ignore[type-var]
app.on_startup()(async_generator)  # type: ignore[type-var]
app.on_startup()(sync_cause)  # type: ignore[type-var]
app.on_startup(timeout=1)(generator)  # type: ignore[type-var]
app.on_startup(timeout=1)(async_generator)  # type: ignore[type-var]
app.on_startup(timeout=1)(asynchronous())  # type: ignore[type-var, unused-coroutine]
app.on_startup(after=())  # type: ignore[call-overload]
app.on_startup(None)  # type: ignore[call-overload]
hooks.on_startup(generator)  # type: ignore[type-var]
graceful.on_startup(generator)  # type: ignore[type-var]


# --- on_shutdown: nothing or the cause ---------------------------------------------------------------------------------


def check_on_shutdown(none: None_, asynchronous: Async, async_cause: AsyncCause) -> None:
    assert_type(app.on_shutdown(none), None_)
    assert_type(app.on_shutdown(asynchronous), Async)
    assert_type(app.on_shutdown(async_cause), AsyncCause)
    assert_type(app.on_shutdown()(none), None_)
    assert_type(app.on_shutdown()(async_cause), AsyncCause)
    assert_type(app.on_shutdown(timeout=1, after="none", stage="drain")(none), None_)
    assert_type(app.on_shutdown(stage="cleanup")(async_cause), AsyncCause)
    assert_type(app.on_shutdown(stage="flush")(async_cause), AsyncCause)
    assert_type(hooks.on_shutdown(async_cause), AsyncCause)
    assert_type(hooks.on_shutdown(after=async_cause)(none), None_)
    assert_type(graceful.on_shutdown(after=[async_cause, "none"])(none), None_)


app.on_shutdown(sync_cause)  # type: ignore[type-var]
app.on_shutdown(async_failure)  # type: ignore[type-var]
app.on_shutdown(async_context)  # type: ignore[type-var]
app.on_shutdown(generator)  # type: ignore[type-var]
app.on_shutdown(async_generator)  # type: ignore[type-var]
app.on_shutdown()(generator)  # type: ignore[type-var]
app.on_shutdown()(async_failure)  # type: ignore[type-var]
app.on_shutdown(timeout=1)(async_generator)  # type: ignore[type-var]
app.on_shutdown(timeout=1)(async_context)  # type: ignore[type-var]
app.on_shutdown(after=())(asynchronous())  # type: ignore[type-var, unused-coroutine]
app.on_shutdown(after=asynchronous())  # type: ignore[call-overload]
app.on_shutdown(after=b"none")  # type: ignore[arg-type]
app.on_shutdown(stage=None)  # type: ignore[call-overload]
hooks.on_shutdown(generator)  # type: ignore[type-var]
graceful.on_shutdown(generator)  # type: ignore[type-var]


# --- on_exception: nothing, the failure, or asyncio's two --------------------------------------------------------------


def check_on_exception(
    none: None_,
    async_none: AsyncNone,
    sync_failure: SyncFailure,
    async_failure: AsyncFailure,
    sync_context: SyncContext,
) -> None:
    assert_type(app.on_exception(none), None_)
    assert_type(app.on_exception(async_none), AsyncNone)
    assert_type(app.on_exception(sync_failure), SyncFailure)
    assert_type(app.on_exception(async_failure), AsyncFailure)
    assert_type(app.on_exception(sync_context), SyncContext)
    assert_type(app.on_exception()(sync_failure), SyncFailure)
    assert_type(app.on_exception(OSError)(async_failure), AsyncFailure)
    assert_type(app.on_exception(OSError, ValueError)(sync_failure), SyncFailure)
    assert_type(app.on_exception(timeout=1)(sync_failure), SyncFailure)
    assert_type(app.on_exception(OSError, timeout=1)(none), None_)
    assert_type(hooks.on_exception(OSError)(sync_failure), SyncFailure)
    assert_type(hooks.on_exception(sync_failure), SyncFailure)
    assert_type(graceful.on_exception(sync_failure), SyncFailure)


app.on_exception(asynchronous)  # type: ignore[type-var]
app.on_exception(sync)  # type: ignore[type-var]
app.on_exception(async_cause)  # type: ignore[type-var]
app.on_exception(generator)  # type: ignore[type-var]
app.on_exception(async_generator)  # type: ignore[type-var]
app.on_exception()(generator)  # type: ignore[type-var]
app.on_exception()(async_cause)  # type: ignore[type-var]
app.on_exception(OSError)(async_generator)  # type: ignore[type-var]
app.on_exception(OSError)(asynchronous)  # type: ignore[type-var]
app.on_exception(timeout=1)(async_cause)  # type: ignore[type-var]
app.on_exception(OSError)(async_none())  # type: ignore[type-var, unused-coroutine]
hooks.on_exception(generator)  # type: ignore[type-var]
graceful.on_exception(generator)  # type: ignore[type-var]


# --- on_signal: called only; nothing or the signal ---------------------------------------------------------------------


def check_on_signal(none: None_, asynchronous: Async, async_signal: AsyncSignal) -> None:
    assert_type(app.on_signal(signal.SIGHUP)(none), None_)
    assert_type(app.on_signal("HUP", 12)(asynchronous), Async)
    assert_type(app.on_signal(signal.SIGHUP)(async_signal), AsyncSignal)
    assert_type(hooks.on_signal(signal.SIGHUP)(none), None_)
    assert_type(graceful.on_signal(signal.SIGHUP)(none), None_)


app.on_signal(asynchronous)  # type: ignore[arg-type]
app.on_signal(none)  # type: ignore[arg-type]
app.on_signal(signal.SIGHUP)(sync_signal)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(async_cause)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(generator)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(async_generator)  # type: ignore[type-var]
app.on_signal([signal.SIGHUP])  # type: ignore[arg-type]
app.on_signal(signal.SIGHUP, timeout=1)  # type: ignore[call-arg]


# --- resource: generators only -----------------------------------------------------------------------------------------


def check_resource(generator: Generates, async_generator: AsyncGenerates) -> None:
    assert_type(app.resource(generator), Generates)
    assert_type(app.resource(async_generator), AsyncGenerates)
    assert_type(app.resource()(generator), Generates)
    assert_type(app.resource(timeout=1)(async_generator), AsyncGenerates)
    assert_type(hooks.resource(async_generator), AsyncGenerates)
    assert_type(graceful.resource(timeout=1)(generator), Generates)


app.resource(none)  # type: ignore[type-var]
app.resource(asynchronous)  # type: ignore[type-var]
app.resource(future)  # type: ignore[type-var]
app.resource(Connection)  # type: ignore[type-var]
app.resource(contextlib.contextmanager(generator))  # type: ignore[type-var]
app.resource()(none)  # type: ignore[type-var]
app.resource()(asynchronous)  # type: ignore[type-var]
app.resource(timeout=1)(none)  # type: ignore[type-var]
app.resource(timeout=1)(async_generator())  # type: ignore[type-var]
app.resource(generator, timeout=1)  # type: ignore[call-overload]
hooks.resource(none)  # type: ignore[type-var]
graceful.resource(none)  # type: ignore[type-var]


# --- background: coroutine functions only ------------------------------------------------------------------------------


def check_background(asynchronous: Async) -> None:
    assert_type(app.background(asynchronous), Async)
    assert_type(app.background()(asynchronous), Async)
    assert_type(app.background(drain=True)(asynchronous), Async)
    assert_type(hooks.background(asynchronous), Async)
    assert_type(graceful.background(drain=True)(asynchronous), Async)


app.background(none)  # type: ignore[type-var]
app.background(generator)  # type: ignore[type-var]
app.background(async_generator)  # type: ignore[type-var]
app.background()(none)  # type: ignore[type-var]
app.background(drain=True)(async_generator)  # type: ignore[type-var]
app.background(drain=True)(async_cause)  # type: ignore[type-var]
app.background(drain=True)(asynchronous())  # type: ignore[type-var, unused-coroutine]
app.background(asynchronous, drain=True)  # type: ignore[call-overload]
hooks.background(none)  # type: ignore[type-var]
graceful.background(none)  # type: ignore[type-var]


# --- generic in what they are given ------------------------------------------------------------------------------------


async def never_returns() -> None:
    raise NotImplementedError


def check_run(either: Callable[[], Coroutine[Any, Any, int | str]]) -> None:
    assert_type(app.run(asynchronous), int)
    assert_type(app.run(asynchronous()), int)
    assert_type(app.run(either), int | str)
    assert_type(app.run(), None)
    assert_type(app.run(None), None)
    assert_type(app.run(debug=True), None)
    assert_type(graceful.run(asynchronous()), int)
    app.run(never_returns)
    text: str = app.run(asynchronous)  # type: ignore[assignment]
    print(text)

    app.run(awaitable)  # type: ignore[arg-type]
    app.run(async_generator)  # type: ignore[arg-type]
    app.run(asynchronous, timeout=1)  # type: ignore[call-overload]


async def check_running(context: Context, sync_manager: contextlib.AbstractContextManager[int]) -> None:
    assert_type(app.create_task(asynchronous()), asyncio.Task[int])
    assert_type(app.create_task(asynchronous(), name=None, context=context), asyncio.Task[int])
    assert_type(await app.create_task(never_returns()), None)
    app.create_task(future())  # type: ignore[arg-type]
    app.create_task(awaitable())  # type: ignore[arg-type]
    app.create_task(asynchronous(), "name")  # type: ignore[call-arg]
    app.create_task(asynchronous(), context={})  # type: ignore[arg-type]

    connection = await app.enter_async_context(Connection())
    assert_type(connection, Connection)
    await app.enter_async_context(Connection)  # type: ignore[arg-type]
    await app.enter_async_context(sync_manager)  # type: ignore[arg-type]
    await app.enter_async_context(asynchronous())  # type: ignore[arg-type]

    assert_type(await app.push_async_callback(connection.send, b"bye", urgent=True)(b"again", urgent=False), int)
    app.push_async_callback(connection.send, b"bye")
    app.push_async_callback(none)
    app.push_async_callback(async_cause, Cause(graceful.Kind.REQUESTED, 0.0))
    await app.push_async_callback(connection.send, b"bye")("again")  # type: ignore[arg-type]
    app.push_async_callback(connection.send)  # type: ignore[call-arg]
    app.push_async_callback(connection.send, "bye")  # type: ignore[arg-type]
    app.push_async_callback(connection.send, b"bye", urgent="yes")  # type: ignore[arg-type]
    app.push_async_callback(connection.send, b"bye", loudly=True)  # type: ignore[call-arg]
    app.push_async_callback(connection.send(b"bye"))  # type: ignore[arg-type]
    app.push_async_callback(sync)  # type: ignore[type-var]

    async with app.critical() as critical:
        assert_type(critical, None)
    with app.critical():  # type: ignore[attr-defined]
        pass
    async with app.lifespan(object()) as lifespan:
        assert_type(lifespan, dict[str, Any])
