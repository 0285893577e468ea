"""What fails in the tests, and runs that a failure must stop or must not stop."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from graceful import Kind

#: A patience that a test can wait for, in seconds; and a time that is longer.
SHORT, LONGER = 0.03, 0.1


#: How long main waits to be stopped: long enough to tell "noticed" from "came to light when all was over".
LIMIT = 5


class Mine(Exception):
    """What fails in here, fails with this."""


def raise_mine(*_):
    raise Mine


async def fail():
    raise Mine


def stopped_by_failure(app, main, new_loop=None, error=Mine):
    """Run main, which must be stopped by this error: it is raised, and it is the cause."""
    with pytest.raises(error) as caught:
        app.run(main, loop_factory=new_loop)
    assert (Kind.EXCEPTION, caught.value) == (app.report.cause.kind, app.report.cause.exception)
    return caught.value


def went_on(app, work, new_loop):
    """Run it: nothing is a failure, neither while it runs nor when all is over."""

    async def main():
        with contextlib.suppress(Mine):
            await work()
        await asyncio.sleep(2 * SHORT)
        return "went on"

    assert ("went on", ()) == (app.run(main, loop_factory=new_loop), app.report.failures)


FAILING = {
    "main": lambda app: None,
    "supervised": lambda app: app.create_task(fail()),
    "plain": lambda app: asyncio.create_task(fail()),
    "callback": lambda app: asyncio.get_running_loop().call_soon(raise_mine),
    "future": lambda app: asyncio.get_running_loop().create_future().set_exception(Mine()),
}


def main_that(app, way):
    """Something fails; main goes on until that was heard of."""

    async def main():
        main.heard = asyncio.Event()
        main.held = FAILING[way](app)
        if way == "main":
            raise Mine
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(main.heard.wait(), LONGER)
        return "went on"

    return main


def lines_aside(text):
    """Lines are others with each change, and where the files are is their own affair."""
    return re.sub(r":\d+", ":N", re.sub(r"[\w/.-]*/(?=\w+\.py)", "", text))
