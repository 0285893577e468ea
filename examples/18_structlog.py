"""
structlog: the program's own lines and those of graceful in one format, through the same processors.

graceful logs through the standard library, with its fields as `extra`: structlog's `ProcessorFormatter` takes them along.
What is bound with `bind_contextvars` before a task or a hook starts is in its lines, too.

    python examples/18_structlog.py

Needs structlog.

Prints:

    level='info' event='connected' to='database'
    level='info' event='job done' worker='one'
    level='info' event='orders is shutting down (SIGTERM), up to 8 s for cleanup' logger='graceful' app='orders' cause='SIGTERM'
    level='info' event='disconnected' cause='SIGTERM'

Exit status: death by SIGTERM.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from graceful import App, Cause

app = App("orders", grace=8)
log = structlog.get_logger()


def name_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`graceful_cause`, which is a `Cause`, becomes `cause='SIGTERM'`; the grace is in the text already."""
    for name in [name for name in event if name.startswith("graceful_")]:
        event[name.removeprefix("graceful_")] = str(event.pop(name))
    event.pop("grace", None)
    return event


def set_up_logging() -> None:
    shared: list[Any] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), name_fields],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


@app.on_startup
async def connect() -> None:
    log.info("connected", to="database")


@app.on_shutdown
async def disconnect(cause: Cause) -> None:
    log.info("disconnected", cause=str(cause))


async def work() -> None:
    log.info("job done")
    signal.raise_signal(signal.SIGTERM)  # kill
    await asyncio.sleep(3600)


async def main() -> None:
    with structlog.contextvars.bound_contextvars(worker="one"):
        await asyncio.create_task(work())


if __name__ == "__main__":
    set_up_logging()
    app.run(main)
