"""
OpenTelemetry for an app: spans and metrics of its start and its end, and the telemetry of the whole program sent in time.

>>> from graceful.opentelemetry import instrument
>>> instrument(app)

It needs the extra `otel`, which is OpenTelemetry's API. Which SDK and which exporter there are is the program's business.

**The spans.** `graceful.run` lasts as long as the app; below it are `graceful.startup` and its hooks. The shutdown,
`graceful.shutdown` with its stages and hooks, is a trace of its own, so that it can be looked at while others still run and
is sampled by itself; it and the run are linked, and it is linked to the span in which the task was created that failed.
Times are those of the events: the offset of the wall clock is noted once, at the start.

**The current span.** A hook of the drain or the cleanup finds its span as the current one, and so does what it calls. A
startup hook does not, nor does the first half of a resource or an `on_signal` hook: what they start lives on, and a server's
requests would all become parts of the span of its start. A resource's second half runs in the context of its first.

**The end.** What is not sent when the process dies is lost, and atexit is too late for it: threads cannot be started any
more, a server kills its process before, and nothing there has a limit. So the providers are flushed and shut down by a
`stage="flush"` hook, in threads that nothing waits for beyond its time. The shutdown's span ends where that begins.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.metadata
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, StatusCode, Tracer, TracerProvider

from graceful import App, Cause, Event, EventKind, Failure, Outcome, Verdict
from graceful._core.arguments import flag, seconds
from graceful._core.types import describe
from graceful._observe.log import log

__all__ = ["instrument"]

#: Seconds by which the flush ends before its time is up, so that an exporter that hangs is no hook that timed out.
_MARGIN = 0.1

#: The stages in which a hook's span is the current one for it: what it starts there ends with it.
_CURRENT = ("on_exception", "drain", "cleanup")

#: Upper bounds of the histograms' buckets, in seconds. OpenTelemetry's own are for milliseconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)

_instrumented: weakref.WeakSet[App] = weakref.WeakSet()


def instrument(
    app: App,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    timeout: float = 5.0,
    shutdown: bool = True,
) -> None:
    """
    Have an app's runs traced and measured, and the telemetry of the program sent before it ends.

    Spans: `graceful.run`, `graceful.startup`, `graceful.shutdown`, one for each stage, such as `graceful.cleanup`, and one for
    each hook, such as `cleanup disconnect`. Metrics: the histograms `graceful.shutdown.duration` and
    `graceful.hook.duration` in seconds, and the counter `graceful.shutdowns`. Attributes: `graceful.app`, `graceful.stage`,
    `graceful.hook`, `graceful.verdict`, `graceful.cause` (the kind), and of spans also `graceful.reason`,
    `graceful.where`, `graceful.stack` and `graceful.exit_status`.

    Call it where the app is made, before other hooks are registered for the flush: then it is the last of them. A second call
    does nothing but warn.

    Args:
        app: The app.
        tracer_provider: `None`: the global one, also if that is set later; so for the others.
        meter_provider: See there.
        logger_provider: Only flushed and shut down.
        timeout: Seconds that flushing may take at most, within the grace. An exporter repeats its attempts for 10 s if there
            is nothing to send to.
        shutdown: Whether the providers are shut down when the app has ended, after which they take nothing more. `False`:
            only flushed; for an app that runs again, as in tests, or that is a part of another one.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: `timeout` is not more than 0.
    """
    if not isinstance(app, App):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"instrument() takes a graceful.App, got {app!r}")
    limit = seconds("timeout", timeout, positive=True)
    shutdown = flag("shutdown", shutdown)
    if app in _instrumented:
        log(logging.WARNING, f"instrument() was called again for {app!r}: it is instrumented already")
        return
    _instrumented.add(app)
    version = _version()
    telemetry = Telemetry(app, (tracer_provider, meter_provider, logger_provider), limit, shutdown=shutdown)
    app.on_shutdown(stage="flush")(telemetry.flush)
    app.add_observer(_Tracing(trace.get_tracer(__name__, version, tracer_provider), _Metrics(version, meter_provider)))


def _version() -> str:
    try:
        return importlib.metadata.version("graceful-asyncio")
    except importlib.metadata.PackageNotFoundError:  # copied into the program
        return ""


class _Metrics:
    """What is measured."""

    def __init__(self, version: str, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter(__name__, version, provider)
        self._shutdowns = meter.create_counter("graceful.shutdowns", "{shutdown}", "Shutdowns, by their cause")
        self._shutdown = meter.create_histogram(
            "graceful.shutdown.duration",
            "s",
            "From the first cause to the flush of the telemetry",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._hook = meter.create_histogram(
            "graceful.hook.duration", "s", "How long hooks ran", explicit_bucket_boundaries_advisory=_BUCKETS
        )

    def hook_ended(self, attributes: dict[str, Any], outcome: Outcome) -> None:
        self._hook.record(outcome.took, {**attributes, "graceful.verdict": str(outcome.verdict)})

    def shut_down(self, app: str, cause: Cause, took: float) -> None:
        attributes = {"graceful.app": app, "graceful.cause": str(cause.kind)}
        self._shutdowns.add(1, attributes)
        self._shutdown.record(took, attributes)


class _Tracing:
    """
    The observer that makes spans from events.

    Args:
        tracer: Makes them.
        metrics: Are recorded from the same events.
    """

    def __init__(self, tracer: Tracer, metrics: _Metrics) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._reset()
        self._steps: dict[EventKind, Callable[[Event], None]] = {
            EventKind.READY: self._ready,
            EventKind.STOPPING: self._stopping,
            EventKind.STAGE_BEGAN: self._stage_began,
            EventKind.HOOK_BEGAN: self._hook_began,
            EventKind.HOOK_ENDED: self._hook_ended,
        }

    def _reset(self) -> None:
        self._offset = 0
        self._latest = 0.0
        self._closed = False
        self._run: Span | None = None
        self._startup: Span | None = None
        self._shutdown: Span | None = None
        self._stage: Span | None = None
        self._hooks: list[tuple[tuple[Any, ...], float, Span]] = []
        self._outside = Context()

    def __call__(self, event: Event) -> None:
        if self._run is None:
            self._begin(event)
        self._latest = max(self._latest, event.at)
        if not self._closed:
            self._steps.get(event.kind, self._noted)(event)
        if event.kind is EventKind.OVER:
            self._close(event)
            self._reset()

    # --- the run, its start and its end ----------------------------------------------------------------------------

    def _begin(self, event: Event) -> None:
        """The first event: `started`, unless the app is instrumented while it runs."""
        self._offset = time.time_ns() - round(event.at * 1e9)
        self._latest = event.at
        self._outside = otel_context.get_current()
        self._run = self._start("graceful.run", event.at, self._outside, {"graceful.app": event.app})
        if event.kind is EventKind.STARTED:
            self._startup = self._start(
                "graceful.startup", event.at, self._below(self._run), {"graceful.app": event.app}
            )

    def _ready(self, event: Event) -> None:
        self._end_startup(event.at, None)

    def _end_startup(self, at: float, cause: Cause | None) -> None:
        if self._startup is not None:
            self._end(self._startup, at, None if cause is None else cause.exception)
            self._startup = None

    def _stopping(self, event: Event) -> None:
        assert self._run is not None
        assert event.cause is not None
        self._end_startup(self._latest, event.cause)
        kinds = {"run": self._run.get_span_context(), "cause": _span_of(event.failure)}
        links = [Link(each, {"graceful.link": kind}) for kind, each in kinds.items() if each and each.is_valid]
        attributes = {"graceful.app": event.app, **_described(event.cause)}
        self._shutdown = self._start("graceful.shutdown", event.at, Context(), attributes, links)
        self._run.add_link(self._shutdown.get_span_context(), {"graceful.link": "shutdown"})

    def _close(self, event: Event) -> None:
        """All is told but the flush; with it, what was not ended before."""
        if self._closed or self._run is None or event.cause is None:
            return
        self._closed = True
        self._end_stage(event.at)
        for _, _, hook in self._hooks:
            self._end(hook, event.at)
        failed = event.cause.exception
        for span in (self._startup, self._shutdown, self._run):
            if span is not None:
                span.set_attributes(_described(event.cause))
                if event.exit_status is not None:
                    span.set_attribute("graceful.exit_status", event.exit_status)
                    if event.exit_status > 0 and failed is None:
                        span.set_status(StatusCode.ERROR, f"exit status {event.exit_status}")
                self._end(span, event.at, failed)
        self._metrics.shut_down(event.app, event.cause, event.at - event.cause.at)

    # --- stages and hooks ------------------------------------------------------------------------------------------

    def _stage_began(self, event: Event) -> None:
        self._end_stage(event.at)
        otel_context.attach(self._outside)  # what runs between hooks is in none
        if event.stage == "flush":
            self._close(event)
        elif self._shutdown is not None:
            attributes = {"graceful.app": event.app, "graceful.stage": str(event.stage)}
            self._stage = self._start(f"graceful.{event.stage}", event.at, self._below(self._shutdown), attributes)

    def _end_stage(self, at: float) -> None:
        if self._stage is not None:
            self._end(self._stage, at)
            self._stage = None

    def _hook_began(self, event: Event) -> None:
        key = (event.stage, event.hook, event.signal)
        span = self._start_hook(event, str(event.hook), event.at)
        self._hooks.append((key, event.at, span))
        if self._shutdown is not None and event.stage in _CURRENT:
            otel_context.attach(self._below(span))  # the hook starts in a copy of this context

    def _hook_ended(self, event: Event) -> None:
        outcome = event.outcome
        assert outcome is not None
        key = (event.stage, outcome.hook, event.signal)
        begun = [each for each in self._hooks if each[0] == key]
        found = min(begun, key=lambda each: abs(each[1] - outcome.at), default=None)
        if found is not None:
            self._hooks.remove(found)
        span = self._start_hook(event, outcome.hook, outcome.at) if found is None else found[2]
        span.set_attributes({"graceful.verdict": str(outcome.verdict), "graceful.where": outcome.where})
        if outcome.stack:
            span.set_attribute("graceful.stack", outcome.stack)
        self._end(span, outcome.at + outcome.took, outcome.error)
        if outcome.verdict is not Verdict.SKIPPED:
            self._metrics.hook_ended(_hook_attributes(event, outcome.hook), outcome)

    def _start_hook(self, event: Event, hook: str, at: float) -> Span:
        parent = self._stage or self._shutdown or self._startup or self._run
        assert parent is not None
        attributes = _hook_attributes(event, hook)
        if event.signal is not None:
            attributes["graceful.signal"] = event.signal.name
        return self._start(f"{event.stage} {hook}", at, self._below(parent), attributes)

    def _noted(self, event: Event) -> None:
        """What has no duration: announced, waiting, gave up, hurried."""
        span = self._stage or self._shutdown or self._run
        if event.kind in (EventKind.STARTED, EventKind.OVER) or span is None:
            return
        attributes: dict[str, Any] = {}
        if event.outcome is not None:
            attributes = {"graceful.task": event.outcome.hook, "graceful.stack": event.outcome.stack}
        elif event.running:
            attributes = {"graceful.running": event.running}
        elif event.cause is not None:
            attributes = _described(event.cause)
        span.add_event(f"graceful.{event.kind.name.lower()}", attributes, self._wall(event.at))

    # --- spans -----------------------------------------------------------------------------------------------------

    def _start(
        self, name: str, at: float, around: Context, attributes: dict[str, Any], links: list[Link] | None = None
    ) -> Span:
        return self._tracer.start_span(name, around, attributes=attributes, links=links, start_time=self._wall(at))

    def _end(self, span: Span, at: float, error: BaseException | None = None) -> None:
        if error is not None:
            with contextlib.suppress(Exception):  # the text of a user's exception may fail
                span.record_exception(error, timestamp=self._wall(at))
            span.set_status(StatusCode.ERROR, describe(error))
        span.end(self._wall(at))

    def _below(self, span: Span) -> Context:
        return trace.set_span_in_context(span, self._outside)

    def _wall(self, at: float) -> int:
        """A time on the app's clock in nanoseconds since the epoch."""
        return self._offset + round(at * 1e9)


def _described(cause: Cause) -> dict[str, Any]:
    return {"graceful.cause": str(cause.kind), "graceful.reason": str(cause)}


def _hook_attributes(event: Event, hook: str) -> dict[str, Any]:
    return {"graceful.app": event.app, "graceful.stage": str(event.stage), "graceful.hook": hook}


def _span_of(failure: Failure | None) -> trace.SpanContext | None:
    """The span that was current where the failing task was created; `None`: Python does not say (it does from 3.12 on)."""
    get_context = getattr(None if failure is None else failure.task, "get_context", None)
    if get_context is None:
        return None
    return trace.get_current_span(get_context().copy().run(otel_context.get_current)).get_span_context()


class Telemetry:
    """
    What sends everything at the end.

    Args:
        app: Says how much time there is.
        providers: Of traces, metrics and logs; `None`: the global one.
        timeout: Seconds for all of it.
        shutdown: Whether they are shut down, or only flushed.
    """

    def __init__(self, app: App, providers: tuple[Any, Any, Any], timeout: float, *, shutdown: bool) -> None:
        self._app = app
        self._given = providers
        self._timeout = timeout
        self._shutdown = shutdown

    async def flush(self) -> None:
        """
        Flush them all at the same time, each in a thread of its own: one that hangs takes no time from the others.

        The threads are daemons, which the end of the process does not wait for; those of an executor are not.
        """
        limit = max(0.0, min(self._timeout, self._app.remaining() - _MARGIN))
        loop = asyncio.get_running_loop()
        ends: dict[asyncio.Future[None], str] = {}
        for provider in self._providers():
            ended: asyncio.Future[None] = loop.create_future()
            ends[ended] = type(provider).__name__
            done = _Done(loop, ended)
            threading.Thread(target=self._flush, args=(provider, limit, done), daemon=True).start()
        late = (await asyncio.wait(ends, timeout=limit))[1] if ends else set[asyncio.Future[None]]()
        if late:
            names = ", ".join(ends[each] for each in late)
            log(logging.WARNING, f"telemetry was not sent within {limit:.1f} s, and may be lost: {names}")

    def _providers(self) -> list[Any]:
        """Those that can be flushed: what the API puts in the place of an SDK cannot."""
        found = (trace.get_tracer_provider, metrics.get_meter_provider, get_logger_provider)
        providers = [get() if given is None else given for given, get in zip(self._given, found, strict=True)]
        return [
            each for each in providers if callable(getattr(each, "shutdown" if self._shutdown else "force_flush", None))
        ]

    def _flush(self, provider: Any, limit: float, done: Callable[[], None]) -> None:
        """In a thread. To shut down is to flush, as OpenTelemetry specifies."""
        try:
            if self._shutdown:
                atexit.unregister(provider.shutdown)  # or one that hangs would hang there again
                provider.shutdown()
            else:
                provider.force_flush(round(limit * 1000))
        except Exception as error:
            log(logging.WARNING, f"telemetry of {type(provider).__name__} was not sent: {describe(error)}")
        finally:
            done()


class _Done:
    """Called in a thread, it resolves a future of a loop, which may be closed in the meantime."""

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
        self._loop = loop
        self._future = future

    def __call__(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self._future.done():
            self._future.set_result(None)
