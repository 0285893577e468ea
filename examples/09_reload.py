"""
Reload on SIGHUP, stop on SIGTERM: an `on_signal` hook runs for the signals it names, instead of the shutdown.

If the new configuration cannot be read, the server keeps the old one and does not stop.

    python examples/09_reload.py

Prints:

    limit: 10
    SIGHUP, limit: 20
    SIGHUP, not reloaded: JSONDecodeError
    SIGTERM, limit: 20

Exit status: 0.
"""

import asyncio
import json
import signal
import tempfile
from pathlib import Path

from graceful import App, Cause

app = App("server")
settings = {"limit": 10}
folder = tempfile.TemporaryDirectory()
file = Path(folder.name, "server.json")
reloaded = asyncio.Event()


@app.on_signal(signal.SIGHUP)
def reload(number: signal.Signals) -> None:
    try:
        settings.update(json.loads(file.read_text()))
        print(f"{number.name}, limit: {settings['limit']}")
    except (OSError, ValueError) as error:  # if it were not caught, it would stop the server
        print(f"{number.name}, not reloaded: {type(error).__name__}")
    reloaded.set()


@app.on_shutdown
def clean_up(cause: Cause) -> None:
    print(f"{cause}, limit: {settings['limit']}")
    folder.cleanup()


@app.background
async def administrator() -> None:
    for text in '{"limit": 20}', '{"limit": oops}':
        await asyncio.to_thread(file.write_text, text)
        signal.raise_signal(signal.SIGHUP)  # kill -HUP
        await reloaded.wait()
        reloaded.clear()
    signal.raise_signal(signal.SIGTERM)  # kill


if __name__ == "__main__":
    print("limit:", settings["limit"])
    app.run()
