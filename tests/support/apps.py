"""How apps are run and stopped in the tests' own process."""

from __future__ import annotations

import asyncio
import contextlib

from graceful import App


def enter(app, body):
    """Run `body` inside `async with app:`, within 10 s."""

    async def main():
        async with asyncio.timeout(10), app:
            return await body()

    return asyncio.run(main())


ENTRANCES = {"run": lambda app, body: app.run(body), "guest": enter}


async def nothing():
    """A main that returns at once."""


def stop_soon(app, delay=0.01):
    """Stop it in a moment, from a callback of its loop."""
    asyncio.get_running_loop().call_later(delay, app.stop)


@contextlib.asynccontextmanager
async def lease(seen, name):
    seen.append(f"+{name}")
    yield name
    await asyncio.sleep(0)
    seen.append(f"-{name}")


def failing(*errors, grace=3):
    """An app whose background tasks raise these, all in one pass of the loop, as soon as its block waits."""
    app = App("failing", grace=grace)
    app.go = asyncio.Event()
    for error in errors:

        async def fail(error=error):
            await app.go.wait()
            raise error

        app.background(fail)
    return app
