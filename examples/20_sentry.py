"""
Sentry: every error is reported once, and sent before the process ends.

Sentry's asyncio integration has a task factory, so `init` is called where the loop runs: in a startup hook. It reports what
tasks raise; the observer reports the rest, such as the errors of hooks and callbacks. What leaves `run()` in the end comes to
Sentry once more, through `sys.excepthook`, and in another context than the task's, where Sentry does not know it again: so
`once` does. The hook for the flush runs when all else is over.

    python examples/20_sentry.py

Needs sentry_sdk.

Prints:

    to Sentry: ConnectionError: lost the broker
    to Sentry: OSError: disk full
    sent

Exit status: 1. On stderr: `ConnectionError: lost the broker`, `OSError: disk full`.
"""

import asyncio
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event as SentryEvent
from sentry_sdk.types import Hint

from graceful import App, Event, EventKind

app = App("orders", grace=8)


class Printed(Transport):
    """Stands for Sentry's server; leave `transport` out in a real program."""

    def capture_envelope(self, envelope: Envelope) -> None:
        event: Any = envelope.get_event()
        if event is not None:
            error = event["exception"]["values"][-1]
            print(f"to Sentry: {error['type']}: {error['value'].splitlines()[0]}")


def is_known(error: BaseException) -> bool:
    """Of a group, which `run()` raises where several hooks have failed: whether all in it are."""
    members: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return all(map(is_known, members)) if members else getattr(error, "in_sentry", False)


def once(event: SentryEvent, hint: Hint) -> SentryEvent | None:
    error = hint.get("exc_info", (None, None))[1]
    if error is not None and is_known(error):
        return None
    if error is not None:
        error.in_sentry = True  # it keeps this as long as it lives
    return event


@app.on_startup
async def start_sentry() -> None:
    dsn = "https://key@sentry.invalid/1"
    sentry_sdk.init(dsn, transport=Printed, integrations=[AsyncioIntegration()], before_send=once)


@app.add_observer
def report(event: Event) -> None:
    if event.kind is EventKind.STOPPING and event.failure is not None:
        sentry_sdk.capture_exception(event.failure.exception)
    elif event.outcome is not None and event.outcome.error is not None:
        sentry_sdk.capture_exception(event.outcome.error)


@app.on_shutdown(stage="flush")
async def flush_sentry() -> None:
    await asyncio.to_thread(sentry_sdk.flush, 0.9 * app.remaining())
    print("sent")


@app.on_shutdown
async def save() -> None:
    raise OSError("disk full")


@app.background
async def consume() -> None:
    raise ConnectionError("lost the broker")


if __name__ == "__main__":
    app.run()
