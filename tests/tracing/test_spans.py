"""graceful.opentelemetry: the spans of a run, made from its events."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from support.apps import ENTRANCES, nothing

from graceful import App, HookTimeout, Interrupted
from graceful.opentelemetry import instrument


def lifespan(app, body):
    async def main():
        async with app.lifespan():
            await body()

    asyncio.run(main())


WAYS = {**ENTRANCES, "lifespan": lifespan}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_becomes_two_traces(app, memory, way):
    """The run with its startup, and the shutdown with its stages; each hook below its stage; linked both ways."""
    memory.instrument(app)

    @app.on_startup
    async def connect():
        pass

    @app.on_shutdown(stage="drain")
    async def close_door():
        pass

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(0.01)

    WAYS[way](app, nothing)

    assert {
        "graceful.run": None,
        "graceful.startup": "graceful.run",
        "startup connect": "graceful.startup",
        "graceful.shutdown": None,
        "graceful.on_exception": "graceful.shutdown",
        "graceful.drain": "graceful.shutdown",
        "drain close_door": "graceful.drain",
        "graceful.cancel": "graceful.shutdown",
        "graceful.cleanup": "graceful.shutdown",
        "cleanup disconnect": "graceful.cleanup",
        "graceful.finish": "graceful.shutdown",
    } == memory.parents()
    assert {"run": "graceful.run"} == memory.links("graceful.shutdown")
    assert {"shutdown": "graceful.shutdown"} == memory.links("graceful.run")
    assert [] == [name for name, span in memory.spans.items() if span.status.status_code is StatusCode.ERROR]


def test_the_attributes_are_stable(memory):
    """What dashboards rely on."""
    app = App("orders", grace=3)
    memory.instrument(app)

    @app.on_shutdown
    async def disconnect():
        pass

    async def main():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    with pytest.raises(Interrupted):
        app.run(main)
    shutdown, hook = dict(memory.spans["graceful.shutdown"].attributes), memory.spans["cleanup disconnect"].attributes

    assert {
        "graceful.app": "orders",
        "graceful.cause": "signal",
        "graceful.reason": "SIGTERM",
        "graceful.exit_status": -15,
    } == shutdown
    assert shutdown == dict(memory.spans["graceful.run"].attributes)
    assert hook["graceful.where"].partition(":")[0].endswith("test_spans.py")
    assert {
        "graceful.app": "orders",
        "graceful.stage": "cleanup",
        "graceful.hook": "disconnect",
        "graceful.verdict": "ok",
        "graceful.where": hook["graceful.where"],
    } == dict(hook)
    assert StatusCode.UNSET is memory.spans["graceful.shutdown"].status.status_code


def test_times_are_those_of_the_wall_clock(app, memory):
    """A span begins and ends when what it stands for did, and the shutdown with its cause."""
    memory.instrument(app)

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(0.1)

    before = time.time_ns()
    app.run(nothing)
    after = time.time_ns()
    spans = memory.spans
    hook, report = spans["cleanup disconnect"], app.report

    assert all(before <= span.start_time <= span.end_time <= after for span in spans.values())
    assert (hook.end_time - hook.start_time) / 1e9 == pytest.approx(report.outcomes[0].took, abs=0.02)
    assert (hook.start_time - spans["graceful.shutdown"].start_time) / 1e9 == pytest.approx(
        report.outcomes[0].at - report.cause.at, abs=0.02
    )
    assert (
        spans["graceful.cleanup"].start_time <= hook.start_time <= hook.end_time <= spans["graceful.cleanup"].end_time
    )


def test_a_hook_that_fails_is_an_error(app, memory):
    """With the exception recorded; and the shutdown is one, too, by its exit status."""
    memory.instrument(app)

    @app.on_shutdown
    async def disconnect():
        raise OSError("cannot flush")

    with pytest.raises(OSError, match="cannot flush"):
        app.run(nothing)
    hook, shutdown = memory.spans["cleanup disconnect"], memory.spans["graceful.shutdown"]

    assert (StatusCode.ERROR, "OSError: cannot flush") == (hook.status.status_code, hook.status.description)
    assert ["exception"] == [event.name for event in hook.events]
    assert "cannot flush" == hook.events[0].attributes["exception.message"]
    assert "raised" == hook.attributes["graceful.verdict"]
    assert (StatusCode.ERROR, "exit status 1") == (shutdown.status.status_code, shutdown.status.description)


def test_a_hook_that_times_out_is_an_error(app, memory):
    """With the place where it was stuck."""
    memory.instrument(app)

    @app.on_shutdown(timeout=0.2)
    async def disconnect():
        await asyncio.sleep(60)

    with pytest.raises(HookTimeout):
        app.run(nothing)
    hook = memory.spans["cleanup disconnect"]

    assert StatusCode.ERROR is hook.status.status_code
    assert "timed out" == hook.attributes["graceful.verdict"]
    assert "in sleep" in hook.attributes["graceful.stack"][-1]
    assert 0.2 <= (hook.end_time - hook.start_time) / 1e9 < 1


def test_a_start_that_fails_is_an_error(app, memory):
    """The startup's span ends with the hook that failed, and what there is nothing to clean up for is told as skipped."""
    memory.instrument(app)

    @app.on_startup
    async def connect():
        await asyncio.sleep(0.01)
        raise OSError("refused")

    @app.on_shutdown
    async def disconnect():
        pass

    with pytest.raises(OSError, match="refused"):
        app.run(nothing)
    startup, skipped = memory.spans["graceful.startup"], memory.spans["cleanup disconnect"]

    assert "OSError: refused" == startup.status.description
    assert startup.end_time >= memory.spans["startup connect"].end_time
    assert "skipped" == skipped.attributes["graceful.verdict"]
    assert "graceful.cleanup" == memory.parents()["cleanup disconnect"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context came with 3.12")
def test_the_shutdown_is_linked_to_its_cause(app, memory):
    """To the span in which the task was created that failed."""
    memory.instrument(app)

    async def work():
        raise OSError("lost")

    async def main():
        with memory.tracer.start_as_current_span("request"):
            app.create_task(work())
        await asyncio.sleep(60)

    with pytest.raises(OSError, match="lost"):
        app.run(main)
    shutdown = memory.spans["graceful.shutdown"]

    assert {"run": "graceful.run", "cause": "request"} == memory.links("graceful.shutdown")
    assert (StatusCode.ERROR, "OSError: lost") == (shutdown.status.status_code, shutdown.status.description)
    assert ["exception"] == [event.name for event in shutdown.events]
    assert None is memory.parents()["request"]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_shutdown_hook_runs_in_its_span(app, memory, entrance):
    """What it calls is a part of it, also beside another hook and in a task that it starts; outside it is not."""
    memory.instrument(app)

    async def step(name):
        with memory.tracer.start_as_current_span(name):
            await asyncio.sleep(0.01)

    @app.on_shutdown(after=())
    async def one():
        await step("step one")

    @app.on_shutdown(after=())
    async def two():
        await asyncio.create_task(step("step two"))

    @app.on_shutdown
    async def three():
        await asyncio.to_thread(lambda: memory.tracer.start_span("step three").end())

    async def main():
        with memory.tracer.start_as_current_span("work"):
            await asyncio.sleep(0)

    ENTRANCES[entrance](app, main)
    parents = memory.parents()

    assert {"step one": "cleanup one", "step two": "cleanup two", "step three": "cleanup three", "work": None} == {
        name: parents[name] for name in ("step one", "step two", "step three", "work")
    }


def test_what_a_startup_hook_starts_is_not_in_its_span(app, memory):
    """A server that is started there answers requests for weeks, and each of them is a trace of its own."""
    memory.instrument(app)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def serve():
        await asked.wait()
        with memory.tracer.start_as_current_span("request"):
            answered.set()
        await asyncio.sleep(60)

    @app.on_startup
    async def start():
        app.kept = asyncio.create_task(serve())

    async def main():
        asked.set()
        await answered.wait()

    app.run(main)

    assert None is memory.parents()["request"]
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_runs_after_the_hooks_is_in_no_span(app, memory):
    """An async generator that nobody has closed is closed with the loop."""
    memory.instrument(app)

    async def rows():
        try:
            yield
        finally:
            memory.tracer.start_span("rows closed").end()

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(0)

    async def main():
        app.kept = rows()
        await anext(app.kept)

    app.run(main)

    assert None is memory.parents()["rows closed"]


def test_a_signal_hook_and_a_warning_are_told(app, memory):
    """A reload is a span below the run's; a task that is given up is an event."""
    memory.instrument(app)

    @app.on_signal(signal.SIGHUP)
    async def reload():
        app.stop()

    async def main():
        signal.raise_signal(signal.SIGHUP)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    app.run(main)

    assert "graceful.run" == memory.parents()["signal reload"]
    assert "SIGHUP" == memory.spans["signal reload"].attributes["graceful.signal"]
    events = {event.name: event for event in memory.spans["graceful.cancel"].events}
    assert "main" in events["graceful.gave_up"].attributes["graceful.task"]


def test_an_app_runs_again(app, memory):
    """Each run is told by itself."""
    memory.instrument(app)
    app.run(nothing)
    app.run(nothing)
    runs = [span for span in memory.exporter.get_finished_spans() if span.name == "graceful.run"]

    assert 2 == len({span.context.trace_id for span in runs})


def test_an_app_that_runs_already_is_instrumented(app, memory):
    """The run then begins with the next thing that happens."""

    async def main():
        memory.instrument(app)

    app.run(main)

    assert {"run": "graceful.run"} == memory.links("graceful.shutdown")
    assert "graceful.startup" not in memory.spans


def test_a_second_call_warns(app, memory, caplog):
    """As OpenTelemetry's own instrumentations do; and nothing is told twice."""
    memory.instrument(app)
    with caplog.at_level(logging.WARNING, "graceful"):
        memory.instrument(app)
    app.run(nothing)

    assert ["instrument() was called again for <graceful.App 'test'>: it is instrumented already"] == caplog.messages
    assert 1 == [span.name for span in memory.exporter.get_finished_spans()].count("graceful.run")


def test_without_an_sdk_nothing_happens(app):
    """The API alone records nothing, and flushes nothing."""
    seen = []
    instrument(app)
    app.on_shutdown(lambda: seen.append("cleanup"))
    app.run(nothing)

    assert ["cleanup"] == seen
    assert 0 == app.report.exit_status


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("orders",), {}, "takes a graceful.App, got 'orders'"),
        ((App(),), {"timeout": 0}, "timeout"),
        ((App(),), {"shutdown": "no"}, "shutdown"),
    ],
)
def test_bad_arguments(arguments, options, message):
    """Each is an error that names it."""
    with pytest.raises((TypeError, ValueError), match=message):
        instrument(*arguments, **options)
