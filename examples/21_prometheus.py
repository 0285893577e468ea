"""
Prometheus: counters from an observer, and a /metrics that answers until the end.

The resource that serves them is registered first, so it is closed last: whoever scrapes while the program cleans up still gets
an answer, in a thread of its own. What happens after the last scrape is lost, so give it time: a `drain_delay` longer
than the interval, or a push in a hook for the flush.

    python examples/21_prometheus.py

Needs prometheus_client.

Prints:

    while it works: graceful_stopping 0.0
    while it cleans up: graceful_stopping 1.0
    while it cleans up: graceful_shutdowns_total{cause="signal"} 1.0
    while it cleans up: graceful_hook_seconds_count{hook="metrics",verdict="ok"} 1.0
    while it cleans up: graceful_hook_seconds_count{hook="drain",verdict="ok"} 1.0

Exit status: death by SIGTERM.
"""

import asyncio
import signal
import urllib.request
from collections.abc import AsyncGenerator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from graceful import App, Event, EventKind

app = App("orders", grace=8)
registry = CollectorRegistry()
stopping = Gauge("graceful_stopping", "Whether the shutdown has begun", registry=registry)
shutdowns = Counter("graceful_shutdowns", "Shutdowns", ["cause"], registry=registry)
hooks = Histogram("graceful_hook_seconds", "How long hooks ran", ["hook", "verdict"], registry=registry)


@app.add_observer
def count(event: Event) -> None:
    if event.kind is EventKind.STOPPING and event.cause is not None:
        stopping.set(1)
        shutdowns.labels(event.cause.kind).inc()
    elif event.kind is EventKind.HOOK_ENDED and event.outcome is not None:
        hooks.labels(event.outcome.hook, event.outcome.verdict).observe(event.outcome.took)


@app.resource
async def metrics() -> AsyncGenerator[str]:
    server, thread = start_http_server(0, "127.0.0.1", registry)  # any free port; a real one in a real program
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    await asyncio.to_thread(thread.join)


async def scrape(when: str, *names: str) -> None:
    """What Prometheus would see."""
    answer = await asyncio.to_thread(urllib.request.urlopen, app.value(metrics))
    for line in answer.read().decode().splitlines():
        if line.startswith(names):
            print(f"{when}: {line}")


@app.on_shutdown
async def disconnect() -> None:
    await scrape("while it cleans up", "graceful_stopping", "graceful_shutdowns_total", "graceful_hook_seconds_count")


@app.on_shutdown(stage="drain")
def drain() -> None:
    """Stop accepting work."""


async def main() -> None:
    await scrape("while it works", "graceful_stopping")
    signal.raise_signal(signal.SIGTERM)  # kill
    await asyncio.sleep(3600)


if __name__ == "__main__":
    app.run(main)
