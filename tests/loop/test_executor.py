"""The default executor: jobs are waited for, and it is open as long as anything may use it."""

from __future__ import annotations

import asyncio


def test_an_async_generator_may_use_the_executor(app):
    """The finalizer of an async generator finds the default executor open, as under asyncio.run."""
    seen = []

    async def lines():
        try:
            yield 1
        finally:
            await asyncio.to_thread(seen.append, "flushed")

    async def main():
        main.generator = lines()
        await anext(main.generator)

    app.run(main)
    assert ["flushed"] == seen


def test_jobs_queued_in_the_default_executor_are_done(app):
    """What a hook gives to the default executor is done to the last job, however few threads there are."""
    done = []

    @app.on_shutdown
    async def flush():
        for number in range(200):
            asyncio.get_running_loop().run_in_executor(None, done.append, number)

    async def main(): ...

    app.run(main)
    assert [*range(200)] == sorted(done)
