"""What the explorer checks in each run: hooks are told apart by more than their names."""

from __future__ import annotations

import asyncio
import re

import pytest

from graceful import App
from graceful.testing import explore
from graceful.testing._checks import violations
from graceful.testing._injection import Injection
from graceful.testing._schedule import Schedule
from graceful.testing._simulate import Simulation


def of_db():
    """As a module has it that knows nothing of the other one."""

    async def close() -> None:
        await asyncio.sleep(0.01)

    return close


def of_metrics():
    async def close() -> None:
        await asyncio.sleep(0.01)

    return close


def resource():
    async def close():
        yield

    return close


def two_modules() -> App:
    """Two hooks of the same name, one of which is in no order."""
    app = App("orders", grace=2)
    app.on_shutdown(of_db())
    app.on_shutdown(after=())(of_metrics())
    return app


def lambdas() -> App:
    """Two on one line, which nothing tells apart, and one that goes first."""
    app = App("orders", grace=2)
    app.on_shutdown(lambda: asyncio.sleep(0.01)), app.on_shutdown(after=())(lambda: asyncio.sleep(0.03))
    app.on_shutdown(lambda: asyncio.sleep(0.02))
    return app


def resource_and_hooks() -> App:
    """The same name in each stage."""
    app = App("orders", grace=2)
    app.resource(resource())
    app.on_startup(of_db())
    app.on_shutdown(of_metrics())
    return app


@pytest.mark.parametrize("app", [two_modules, lambdas, resource_and_hooks])
def test_hooks_of_the_same_name(app) -> None:
    async def main() -> None:
        await asyncio.sleep(1)

    explore(lambda: (app(), main), pairs=20).assert_ok()


def test_wrong_order_is_told() -> None:
    """Also where the hooks that are in the wrong order have the same name."""
    app, other = App("orders"), App("orders")
    for function in (of_db(), of_metrics()):
        app.on_shutdown(function)
    for function in (of_metrics(), of_db()):
        other.on_shutdown(function)

    result = Simulation(app, asyncio.sleep(1), []).run()
    right, wrong = ([*violations(result, [*each._hooks()], 8, Injection(Schedule(), each))] for each in (app, other))
    assert [] == right
    [told] = wrong
    ran, expected = re.findall(r"close \(\S+:\d+\), close \(\S+:\d+\)", told)
    assert ran.split(", ") == expected.split(", ")[::-1]
