# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""
What the type checkers say about right and wrong use. Checked, never run.

What is right passes; what is wrong carries an ignore for the very error that it must be. One that is not needed is an
error itself, in mypy (`warn_unused_ignores`) and in pyright, which heeds the same comments whatever code they name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, assert_type

import graceful
from graceful import App, Cause, Failure, Hooks, Kind

app = App("typing", grace=8, drain_delay=None, signals=[signal.SIGTERM, "SIGHUP", 2], patience=None)
hooks = Hooks()


# --- functions to decorate ---------------------------------------------------------------------------------------------


def sync_none() -> None: ...


async def async_none() -> None: ...


async def async_int() -> int:
    return 1


def sync_int() -> int:
    return 1


def sync_bool() -> bool:
    return True


def sync_str() -> str:
    return ""


async def async_str() -> str:
    return ""


def one_default(what: int = 1, *, how: str = "") -> None: ...


def any_arguments(*args: object, **kwargs: object) -> None: ...


def one_required(what: int) -> None: ...


def required_keyword(*, what: int) -> None: ...


def with_cause(cause: Cause) -> None: ...


async def async_with_cause(cause: Cause) -> None: ...


def with_failure(failure: Failure) -> None: ...


async def deal_with(failure: Failure) -> bool:
    return isinstance(failure.exception, ConnectionError)


def asyncio_handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None: ...


async def async_asyncio_handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
    return True


def three_required(first: object, second: object, third: object) -> None: ...


def two_required(first: object, second: object) -> None: ...


def with_signal(number: signal.Signals) -> None: ...


async def async_with_signal(number: signal.Signals) -> None: ...


def generator() -> Iterator[None]:
    yield


def exact_generator() -> Generator[None, None, None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


async def exact_async_generator() -> AsyncGenerator[None, None]:
    yield


def wanting_generator(size: int) -> Generator[None, None, None]:
    yield


@contextlib.asynccontextmanager
async def context_manager() -> AsyncGenerator[int]:
    yield 1


class Thing:
    def close(self) -> None: ...

    async def aclose(self) -> None: ...

    async def __call__(self) -> None: ...


# --- on_startup --------------------------------------------------------------------------------------------------------


@app.on_startup
def started() -> None: ...


@app.on_startup
async def started_async() -> int:
    return 1


@app.on_startup(timeout=5)
async def started_in_time() -> None: ...


@graceful.on_startup
async def started_by_default() -> None: ...


app.on_startup(one_default)
app.on_startup(any_arguments)
app.on_startup(functools.partial(one_required, 1))
app.on_startup(Thing().close)
app.on_startup(Thing().aclose)
app.on_startup(Thing())
app.on_startup(lambda: None)
app.on_startup()(async_none)
hooks.on_startup(timeout=None)(sync_none)

app.on_startup(one_required)  # type: ignore[type-var]
app.on_startup(required_keyword)  # type: ignore[type-var]
app.on_startup(async_none())  # type: ignore[call-overload]
app.on_startup(sync_none())  # type: ignore[call-overload, func-returns-value]
app.on_startup(generator)  # type: ignore[type-var]
app.on_startup(async_generator)  # type: ignore[type-var]
app.on_startup(context_manager)  # type: ignore[type-var]
app.on_startup(Thing)  # type: ignore[type-var]
app.on_startup(Thing.close)  # type: ignore[type-var]
app.on_startup(5)  # type: ignore[call-overload]
app.on_startup(timeout="5")  # type: ignore[call-overload]
app.on_startup(timeout=5)(one_required)  # type: ignore[type-var]
app.on_startup(timeout=5)(async_none())  # type: ignore[type-var, unused-coroutine]
app.on_startup(async_none, timeout=5)  # type: ignore[call-overload]


# --- on_shutdown -------------------------------------------------------------------------------------------------------


@app.on_shutdown
async def stopped() -> None: ...


@app.on_shutdown
def stopped_because(cause: Cause) -> None: ...


@app.on_shutdown(timeout=2.5, after=stopped, stage="drain")
async def stopped_accepting(cause: Cause) -> int:
    return 1


app.on_shutdown(async_with_cause)
app.on_shutdown(any_arguments)
app.on_shutdown(functools.partial(two_required, 1))
app.on_shutdown(Thing().aclose)
app.on_shutdown(Thing())
app.on_shutdown(lambda: None)
app.on_shutdown(after=stopped)(async_none)
app.on_shutdown(after="stopped")(async_none)
app.on_shutdown(after=[stopped, "stopped_because", Thing().close])(async_none)
app.on_shutdown(after=())(async_none)
app.on_shutdown(after=None, stage="cleanup")(async_none)
graceful.on_shutdown(async_with_cause)

app.on_shutdown(two_required)  # type: ignore[type-var]
app.on_shutdown(one_required)  # type: ignore[type-var]
app.on_shutdown(required_keyword)  # type: ignore[type-var]
app.on_shutdown(with_failure)  # type: ignore[type-var]
app.on_shutdown(async_none())  # type: ignore[call-overload]
app.on_shutdown(sync_none())  # type: ignore[call-overload, func-returns-value]
app.on_shutdown(generator)  # type: ignore[type-var]
app.on_shutdown(async_generator)  # type: ignore[type-var]
app.on_shutdown(context_manager)  # type: ignore[type-var]
app.on_shutdown(Thing)  # type: ignore[type-var]
app.on_shutdown(stage="later")  # type: ignore[call-overload]
app.on_shutdown(after=5)  # type: ignore[call-overload]
app.on_shutdown(after=[5])  # type: ignore[list-item]
app.on_shutdown(timeout="5")  # type: ignore[call-overload]
app.on_shutdown(after=())(two_required)  # type: ignore[type-var]
app.on_shutdown(after=())(generator)  # type: ignore[type-var]
app.on_shutdown(async_none, stage="drain")  # type: ignore[call-overload]


# --- on_exception ------------------------------------------------------------------------------------------------------


@app.on_exception
async def failed(failure: Failure) -> None: ...


@app.on_exception(ConnectionError, OSError, timeout=1)
def failed_to_connect(failure: Failure) -> bool:
    return True


app.on_exception(sync_none)
app.on_exception(sync_bool)
app.on_exception(deal_with)
app.on_exception(asyncio_handler)
app.on_exception(async_asyncio_handler)
app.on_exception(any_arguments)
app.on_exception()(deal_with)
app.on_exception(timeout=1)(asyncio_handler)
app.on_exception(BaseException)(lambda: True)
graceful.on_exception(OSError)(deal_with)

app.on_exception(three_required)  # type: ignore[type-var]
app.on_exception(with_cause)  # type: ignore[type-var]
app.on_exception(required_keyword)  # type: ignore[type-var]
app.on_exception(sync_str)  # type: ignore[type-var]
app.on_exception(async_str)  # type: ignore[type-var]
app.on_exception(deal_with(Failure(OSError(), "", {})))  # type: ignore[call-overload]
app.on_exception(generator)  # type: ignore[type-var]
app.on_exception(async_generator)  # type: ignore[type-var]
app.on_exception("ConnectionError")  # type: ignore[call-overload]
app.on_exception((OSError, ValueError))  # type: ignore[call-overload]
app.on_exception(int)  # type: ignore[type-var]
app.on_exception(OSError, 5)  # type: ignore[call-overload]
app.on_exception(OSError())  # type: ignore[call-overload]
app.on_exception(None)  # type: ignore[call-overload]
app.on_exception(OSError)(three_required)  # type: ignore[type-var]
app.on_exception(OSError)(generator)  # type: ignore[type-var]
app.on_exception(OSError, deal_with)  # type: ignore[call-overload]
app.on_exception(timeout="1")  # type: ignore[call-overload]


# --- on_signal ---------------------------------------------------------------------------------------------------------


@app.on_signal(signal.SIGHUP)
async def reload() -> None: ...


@app.on_signal("SIGUSR1", 12)
def dump(number: signal.Signals) -> None: ...


app.on_signal(signal.SIGHUP)(async_with_signal)
app.on_signal(signal.SIGHUP)(any_arguments)
app.on_signal(signal.SIGHUP)(lambda: None)
graceful.on_signal(signal.SIGHUP)(with_signal)

app.on_signal(sync_none)  # type: ignore[arg-type]
app.on_signal(async_none)  # type: ignore[arg-type]
app.on_signal(1.5)  # type: ignore[arg-type]
app.on_signal(signal.SIGHUP, sync_none)  # type: ignore[arg-type]
app.on_signal(signal.SIGHUP)(two_required)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(with_cause)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(generator)  # type: ignore[type-var]
app.on_signal(signal.SIGHUP)(async_none())  # type: ignore[type-var, unused-coroutine]


# --- resource ----------------------------------------------------------------------------------------------------------


@app.resource
async def pool() -> AsyncGenerator[int, None]:
    yield 1


@app.resource(timeout=5)
def lock_file() -> Generator[None, None, None]:
    yield


app.resource(exact_async_generator)
app.resource(exact_generator)
app.resource(functools.partial(wanting_generator, 5))
graceful.resource(exact_async_generator)

app.resource(async_none)  # type: ignore[type-var]
app.resource(sync_none)  # type: ignore[type-var]
app.resource(wanting_generator)  # type: ignore[type-var]
app.resource(exact_async_generator())  # type: ignore[call-overload]
app.resource(context_manager)  # type: ignore[type-var]
app.resource(timeout=5)(async_none)  # type: ignore[type-var]
app.resource(timeout="5")  # type: ignore[call-overload]


# --- background --------------------------------------------------------------------------------------------------------


@app.background
async def consume() -> None: ...


@app.background(drain=True)
async def flush() -> int:
    return 1


app.background(functools.partial(async_with_cause, Cause(Kind.REQUESTED, 0.0)))
app.background(Thing().aclose)
app.background(Thing())
graceful.background(async_none)

app.background(sync_none)  # type: ignore[type-var]
app.background(sync_int)  # type: ignore[type-var]
app.background(async_with_cause)  # type: ignore[type-var]
app.background(async_none())  # type: ignore[call-overload]
app.background(async_generator)  # type: ignore[type-var]
app.background(generator)  # type: ignore[type-var]
app.background(drain=1)  # type: ignore[call-overload]
app.background(drain=True)(sync_none)  # type: ignore[type-var]
app.background(timeout=5)  # type: ignore[call-overload]


# --- right, and not taken by every checker -----------------------------------------------------------------------------

# A generator function whose result is annotated as an iterator, as in the documentation of contextlib and of pytest.
app.resource(async_generator)
app.resource(generator)

# Pyright looks for one type of a lambda's parameters, and finds several kinds of hook.
app.on_shutdown(lambda cause: None)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
app.on_exception(KeyboardInterrupt)(lambda failure: True)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
app.on_exception(OSError)(lambda loop, context: True)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]


# --- what comes back ---------------------------------------------------------------------------------------------------


async def check_unchanged(cause: Cause, failure: Failure) -> None:
    """A decorated function is what it was: it can be called with its own arguments, and gives its own result."""
    started()
    assert_type(await started_async(), int)
    await started_in_time()
    await started_by_default()
    assert_type(await stopped_accepting(cause), int)
    assert_type(failed_to_connect(failure), bool)
    await reload()
    dump(signal.SIGUSR1)
    assert_type(pool(), AsyncGenerator[int, None])
    assert_type(lock_file(), Generator[None, None, None])
    assert_type(await flush(), int)

    started(cause)  # type: ignore[call-arg]
    await stopped_accepting()  # type: ignore[call-arg]
    failed_to_connect(cause)  # type: ignore[arg-type]
    dump(5)  # type: ignore[arg-type]
    await flush(1)  # type: ignore[call-arg]
