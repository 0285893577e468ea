"""
How a test of CPython's comes to run inside an app.

Nothing in a test is changed. What is changed is what it calls:

- `owner`: `asyncio.run` is `graceful.run`. A test of an `IsolatedAsyncioTestCase` is the main of an app, with its set-up
  and its tear-down. Not changed: tests that use `asyncio.Runner`, or that make a loop and run it themselves. There is
  no loop to own.
- `guest`: a coroutine given to `asyncio.run`, to `asyncio.Runner.run` (which is what `IsolatedAsyncioTestCase` calls) or
  to the `run_until_complete` of any real loop runs in `async with App():`. Not changed: tests that run a loop with
  `run_forever`, that give `run_until_complete` a future, or whose loop is a stand-in with a clock of its own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import unittest
from asyncio import base_events, runners

import graceful
from graceful import App


class Apps:
    """Counts the apps that were run."""

    def __init__(self):
        self.count = 0

    def new(self):
        self.count += 1
        return App("cpython")

    def install(self, mode):
        """Have the tests run inside apps from now on; in the mode `plain` they do not."""
        if mode == "owner":
            asyncio.run = runners.run = self.owning_run(asyncio.run)
            case = unittest.IsolatedAsyncioTestCase
            case._callSetUp = unless_async(case._callSetUp)
            case._callTearDown = unless_async(case._callTearDown)
            case._callTestMethod = self.owning_call(case._callTestMethod)
        elif mode == "guest":
            asyncio.Runner.run = self.run_in_block(asyncio.Runner.run)
            loop = base_events.BaseEventLoop
            loop.run_until_complete = self.run_in_block(loop.run_until_complete)

    def owning_run(self, original):
        """In place of `asyncio.run`: `graceful.run`."""

        @functools.wraps(original)
        def run(main, **options):
            self.count += 1
            return graceful.run(main, **options)

        return run

    def owning_call(self, original):
        """In place of the call of a test method: an app whose main is the whole test."""

        def call(case, method):
            if not inspect.iscoroutinefunction(method):
                return original(case, method)
            factory = getattr(case, "loop_factory", None)  # from 3.13 on
            main = functools.partial(whole_test, case, method)
            return case._asyncioTestContext.run(self.new().run, main, debug=True, loop_factory=factory)

        return call

    def run_in_block(self, original):
        """In place of a method that runs a coroutine: the same, with the coroutine inside `async with App():`."""

        async def block(coroutine):
            async with self.new():
                return await coroutine

        @functools.wraps(original)
        def run(runner, main, **options):
            if not is_real(runner) or not belongs_to_test(main):
                return original(runner, main, **options)
            inside = block(main)
            try:
                return original(runner, inside, **options)
            finally:
                inside.close()  # where it was refused: that `main` was never awaited is for the test to say

        return run


def unless_async(original):
    """In place of what runs before and after a test: nothing, if the test is a coroutine function and so does it itself."""

    def call(case):
        if not inspect.iscoroutinefunction(getattr(case, case._testMethodName)):
            original(case)

    return call


async def whole_test(case, method):
    """All of one test: the set-up, the method, the tear-down and the cleanups."""
    try:
        case.setUp()
        await case.asyncSetUp()
        try:
            await method()
        finally:
            await case.asyncTearDown()
            case.tearDown()
    finally:
        while case._cleanups:
            function, args, kwargs = case._cleanups.pop()
            if inspect.isawaitable(made := function(*args, **kwargs)):
                await made


#: Coroutine functions that are called around a test, and do not belong to it.
AROUND = [
    unittest.IsolatedAsyncioTestCase.asyncSetUp,
    unittest.IsolatedAsyncioTestCase.asyncTearDown,
    base_events.BaseEventLoop.shutdown_asyncgens,
    base_events.BaseEventLoop.shutdown_default_executor,
]


def belongs_to_test(main):
    """Whether this is a coroutine, and not one of those that end every runner or that do nothing."""
    return asyncio.iscoroutine(main) and getattr(main, "cr_code", None) not in {each.__code__ for each in AROUND}


def is_real(runner):
    """Whether this is a runner, or a loop that waits for real time and real sockets."""
    return not any(base.__module__.startswith("test.test_asyncio") for base in type(runner).__mro__)
