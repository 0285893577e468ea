"""
JSON logs with the standard library and python-json-logger: one object a line, with the fields of graceful.

Every record of the logger `graceful` has its facts as `extra`: `graceful_app`, `graceful_cause`, `graceful_hook` and so on.
An observer logs what graceful itself says nothing about: how each hook ended, and the exit status.

    python examples/19_json_logs.py

Needs pythonjsonlogger.

Prints:

    {"message": "connected", "name": "__main__", "levelname": "INFO"}
    {"message": "orders is shutting down (SIGTERM), up to 8 s for cleanup", "name": "graceful", "levelname": "INFO", "graceful_app": "orders", "graceful_cause": "SIGTERM", "graceful_grace": 8.0}
    {"message": "hook ended", "name": "hooks", "levelname": "INFO", "hook": "disconnect", "stage": "cleanup", "verdict": "ok"}
    {"message": "over", "name": "hooks", "levelname": "INFO", "exit_status": -15}

Exit status: death by SIGTERM.
"""

import asyncio
import logging
import signal
import sys

from pythonjsonlogger.json import JsonFormatter

from graceful import App, Event, EventKind

app = App("orders", grace=8)
log = logging.getLogger(__name__)


def set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stdout)
    # `str` for what JSON does not know: a `Cause`, an exception. Add "asctime" to the fields in a real program.
    handler.setFormatter(JsonFormatter(["message", "name", "levelname"], json_default=str))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@app.add_observer
def log_hooks(event: Event) -> None:
    if event.kind is EventKind.HOOK_ENDED and event.outcome is not None and event.stage != "startup":
        fields = {"hook": event.outcome.hook, "stage": event.outcome.stage, "verdict": str(event.outcome.verdict)}
        logging.getLogger("hooks").info("hook ended", extra=fields)
    elif event.kind is EventKind.OVER:
        logging.getLogger("hooks").info("over", extra={"exit_status": event.exit_status})


@app.on_startup
async def connect() -> None:
    log.info("connected")


@app.on_shutdown
async def disconnect() -> None:
    await asyncio.sleep(0.01)


async def main() -> None:
    signal.raise_signal(signal.SIGTERM)  # kill
    await asyncio.sleep(3600)


if __name__ == "__main__":
    set_up_logging()
    app.run(main)
