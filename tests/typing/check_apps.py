# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""
What the type checkers say about running an app, about collections of hooks and about reports. Checked, never run.

As in `check_decorators`: an ignore that is not needed is an error itself.
"""

from __future__ import annotations

import asyncio
import functools
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, assert_type

from check_decorators import (
    Thing,
    async_int,
    async_none,
    async_with_cause,
    context_manager,
    generator,
    required_keyword,
    sync_int,
)

import graceful
from graceful import App, Cause, Failure, Hooks, Kind, Outcome, Report, Verdict

app = App("typing", grace=8, drain_delay=None, signals=[signal.SIGTERM, "SIGHUP", 2], patience=None)
hooks = Hooks()


# --- run ---------------------------------------------------------------------------------------------------------------


async def main() -> int:
    return 1


async def main_with_default(port: int = 80) -> str:
    return str(port)


async def main_with_parameter(port: int) -> int:
    return port


def loop_factory() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def check_run() -> None:
    assert_type(app.run(main()), int)
    assert_type(app.run(main), int)
    assert_type(app.run(main_with_default), str)
    assert_type(app.run(functools.partial(main_with_parameter, 80)), int)
    assert_type(app.run(main_with_parameter(80), debug=True, loop_factory=loop_factory), int)
    assert_type(app.run(lambda: main_with_parameter(80)), int)
    assert_type(app.run(loop_factory=asyncio.SelectorEventLoop), None)
    assert_type(graceful.run(main), int)

    app.run(main_with_parameter)  # type: ignore[arg-type]
    app.run(sync_int)  # type: ignore[arg-type]
    app.run(5)  # type: ignore[call-overload]
    app.run(generator())  # type: ignore[call-overload]
    app.run(main, 5)  # type: ignore[call-overload]
    app.run(main, debug="yes")  # type: ignore[call-overload]
    app.run(loop_factory=asyncio.new_event_loop())  # type: ignore[call-overload]


# --- on a running app --------------------------------------------------------------------------------------------------


async def check_running() -> None:
    assert_type(app.create_task(async_int(), name="task", drain=True), asyncio.Task[int])
    assert_type(await app.create_task(async_int()), int)
    child = await app.create_subprocess_exec("sort", b"-r", Path("in.txt"), stdout=PIPE, stop=signal.SIGINT, cwd="/")
    assert_type(child, asyncio.subprocess.Process)
    assert_type(await app.create_subprocess_shell("sort | head", PIPE, drain=True), asyncio.subprocess.Process)
    assert_type(app.stopping, bool)
    assert_type(app.remaining(), float)
    assert_type(await app.sleep(5), bool)
    assert_type(await app.wait_stopping(), None)
    assert_type(await app.enter_async_context(context_manager()), int)
    app.push_async_callback(async_with_cause, Cause(Kind.REQUESTED, 0.0))
    app.push_async_callback(required_keyword, what=1)
    app.push_async_callback(Thing().aclose)
    assert_type(app.report, Report | None)
    assert_type(app.stop(), None)
    async with app.critical("commit"):
        pass
    async with app as same:
        assert_type(same, App)
    async with app.lifespan():
        pass
    loop = asyncio.get_running_loop()
    loop.call_soon(app.stop)
    loop.add_signal_handler(signal.SIGTERM, app.stop)

    app.create_task(async_int)  # type: ignore[arg-type]
    app.create_task(sync_int())  # type: ignore[arg-type]
    app.create_task(async_int(), drain="yes")  # type: ignore[arg-type]
    await app.create_subprocess_exec(["sort", "-r"])  # type: ignore[arg-type]
    await app.create_subprocess_exec("sort", stop="TERM")  # type: ignore[arg-type]
    await app.create_subprocess_shell("sort", drain=1.5)  # type: ignore[arg-type]
    app.critical(5)  # type: ignore[arg-type]
    app.stopping()  # type: ignore[operator]
    app.stopping = True  # type: ignore[misc]
    app.report = None  # type: ignore[misc]
    await app.sleep("5")  # type: ignore[arg-type]
    await app.enter_async_context(Thing())  # type: ignore[arg-type]
    app.push_async_callback(async_with_cause)  # type: ignore[call-arg]
    app.push_async_callback(async_with_cause, 5)  # type: ignore[arg-type]
    app.push_async_callback(async_none())  # type: ignore[arg-type]
    app.push_async_callback(required_keyword, 1)  # type: ignore[call-arg]
    with app:  # type: ignore[attr-defined]
        pass


# --- collections and facts ---------------------------------------------------------------------------------------------


def check_include() -> None:
    app.include(hooks)
    app.include(App())
    hooks.include(Hooks())

    app.include(None)  # type: ignore[arg-type]
    app.include([hooks])  # type: ignore[arg-type]
    app.include(Hooks)  # type: ignore[arg-type]


def check_arguments() -> None:
    App(5)  # type: ignore[arg-type]
    App(grace="5")  # type: ignore[arg-type]
    App(signals=signal.SIGTERM)  # type: ignore[arg-type]
    App(debounce=None)  # type: ignore[arg-type]
    App("name", 5)  # type: ignore[call-arg]


def check_facts(cause: Cause, failure: Failure, outcome: Outcome, report: Report) -> None:
    assert_type(cause.kind, Kind)
    assert_type(cause.signal, signal.Signals | None)
    assert_type(cause.exception, BaseException | None)
    assert_type(cause.at, float)
    assert_type(failure.exception, BaseException)
    assert_type(failure.message, str)
    assert_type(outcome.verdict, Verdict)
    assert_type(outcome.stack, tuple[str, ...])
    assert_type(report.cause, Cause)
    assert_type(report.causes, tuple[Cause, ...])
    assert_type(report.outcomes, tuple[Outcome, ...])
    assert_type(report.took, float)

    cause.at = 1.0  # type: ignore[misc]
    failure.message = ""  # type: ignore[misc]
    outcome.took = 1.0  # type: ignore[misc]
    report.took = 1.0  # type: ignore[misc]


# --- what resources yield, and what waits --------------------------------------------------------------------------------


@app.resource
async def async_pool() -> AsyncGenerator[Thing]:
    yield Thing()


@app.resource(timeout=1)
def sync_pool() -> Iterator[int]:
    yield 1


async def check_values(queue: asyncio.Queue[str]) -> None:
    assert_type(app.value(async_pool), Thing)
    assert_type(app.value(sync_pool), int)
    async with app.lifespan() as state:
        assert_type(state, dict[str, Any])
    assert_type(graceful.current_app(), App)
    assert_type(await app.unless_stopping(queue.get()), str | None)
    assert_type(await app.unless_stopping(queue.get(), 5), str | int)
    assert_type(await app.unless_stopping(queue.get(), ""), str)
    assert_type(await app.unless_stopping(async_int(), default=None), int | None)
    assert_type(await app.unless_stopping(app.create_task(async_int()), "none"), int | str)
    assert_type(Cause(Kind.COMPLETED, 0.0).task, str | None)

    app.value(async_int)  # type: ignore[arg-type]
    app.value(async_pool())  # type: ignore[call-overload]
    app.value("pool")  # type: ignore[call-overload]
    await app.unless_stopping(queue.get)  # type: ignore[call-overload]
    await app.unless_stopping(5)  # type: ignore[call-overload]
    app.background(essential="yes")  # type: ignore[call-overload]
    assert_type(await app.background(essential=True, drain=True)(async_int)(), int)
