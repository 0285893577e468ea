"""graceful.opentelemetry: the telemetry of a program is sent last of all, and costs neither the grace nor a hook."""

from __future__ import annotations

import logging
import signal
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.apps import nothing
from support.collector import Collector
from support.programs import LOOPS

from graceful import App, Verdict
from graceful.opentelemetry import instrument
from graceful.testing import simulate

#: A program with OpenTelemetry's usual set-up, whose collector is at `sys.argv[1]`.
PROGRAM = """
import logging, warnings
from opentelemetry import metrics, trace, _logs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from graceful.opentelemetry import instrument

app = App("orders", grace=3)
instrument(app)

url = sys.argv[1]
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url + "/v1/traces")))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(url + "/v1/metrics"))]))
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(url + "/v1/logs")))
_logs.set_logger_provider(logs)
logger = logs.get_logger("orders")

async def serve():
    try:
        await asyncio.sleep(60)
    finally:
        trace.get_tracer("orders").start_span("last request").end()

@app.on_startup
async def start():
    app.kept = asyncio.create_task(serve())

@app.on_shutdown
async def disconnect():
    await asyncio.sleep(0.05)
    logger.emit(_logs.LogRecord(body="disconnected"))
    say("disconnected")

async def main():
    say("up")
    await asyncio.sleep(60)
"""

RUN = "app.run(main, loop_factory=LOOP)\n"

SERVE = """
import uvicorn

async def lifespan(scope, receive, send):
    await receive()
    async with app.lifespan():
        say("up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})

uvicorn.run(lifespan, port=0, loop=os.environ["TEST_LOOP"], log_level="error")
"""


@pytest.fixture
def collector(request):
    collector = Collector(hangs=getattr(request, "param", False))
    yield collector
    collector.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", [RUN, SERVE], ids=["run", "lifespan"])
def test_everything_is_sent_before_the_signal_kills(program, collector, entrance, loop):
    """All spans, metrics and logs of the program arrive, up to those of its last task, and it dies by SIGTERM."""
    ended = program(PROGRAM + entrance, args=[collector.url], loop=loop).wait_for("up").send(signal.SIGTERM).end()
    shutdown = next(span for span in collector.spans if span.name == "graceful.shutdown")
    attributes = {each.key: each.value for each in shutdown.attributes}

    assert (-signal.SIGTERM, "") == (ended.status, ended.err)
    assert {"graceful.run", "graceful.startup", "graceful.shutdown", "graceful.cleanup", "graceful.finish"} <= {
        *collector.names
    }
    assert {"startup start", "cleanup disconnect"} <= {*collector.names}
    assert entrance == SERVE or "last request" in collector.names
    assert "signal" == attributes["graceful.cause"].string_value
    assert entrance == SERVE or -signal.SIGTERM == attributes["graceful.exit_status"].int_value
    assert {"graceful.shutdowns", "graceful.shutdown.duration", "graceful.hook.duration"} <= {
        metric.name for metric in collector.metrics
    }
    assert ["disconnected"] == [record.body.string_value for record in collector.logs]


@pytest.mark.parametrize("collector", [True], indirect=True, ids=["hangs"])
@pytest.mark.parametrize("entrance", [RUN, SERVE], ids=["run", "lifespan"])
def test_a_collector_that_hangs(program, collector, entrance):
    """It costs no hook its turn, the process ends within the grace, by the signal, and stderr says what was lost."""
    ended = program(PROGRAM + entrance, args=[collector.url]).wait_for("up").send(signal.SIGTERM).end()

    assert collector.asked.is_set()
    assert ["up", "disconnected"] == ended.lines
    assert -signal.SIGTERM == ended.status, ended.err
    assert ended.took < 3 + 1
    assert "telemetry was not sent within" in ended.err
    assert "TracerProvider" in ended.err


@pytest.mark.parametrize("collector", [True], indirect=True, ids=["hangs"])
def test_a_second_ctrl_c_hurries_it(program, collector):
    """Whoever waits at the terminal need not wait for the collector."""
    source = PROGRAM.replace("grace=3", "grace=30, debounce=0").replace(
        "instrument(app)", "instrument(app, timeout=30)"
    )
    running = program(source + RUN, args=[collector.url]).wait_for("up").send(signal.SIGINT).wait_for("disconnected")
    assert collector.asked.wait(30)
    ended = running.send(signal.SIGINT).end()

    assert -signal.SIGINT == ended.status, ended.err
    assert ended.took < 2 + 1


def test_a_shutdown_that_hangs_is_not_tried_again_at_exit(program, collector):
    """The SDK's own atexit callback would hang there once more, beyond the grace."""
    hang = """
from opentelemetry.sdk.trace import SpanProcessor

class Hanging(SpanProcessor):
    def shutdown(self):
        say("shutdown")
        time.sleep(60)

provider.add_span_processor(Hanging())
"""
    ended = program(PROGRAM + hang + RUN, args=[collector.url]).wait_for("up").send(signal.SIGTERM).end()

    assert ["up", "disconnected", "shutdown"] == ended.lines
    assert -signal.SIGTERM == ended.status, ended.err
    assert ended.took < 3 + 1


def test_a_collector_that_is_not_there(program, collector):
    """The exporter would try again for 10 s: the process still ends within the grace, and by the signal."""
    collector.close()
    running = program(PROGRAM + RUN, args=[collector.url], env={"GRACEFUL_GRACE": "3"}).wait_for("up")
    ended = running.send(signal.SIGTERM).end()

    assert -signal.SIGTERM == ended.status, ended.err
    assert ended.took < 3 + 1


class Hanging:
    """A provider that can be flushed, and hangs."""

    def __init__(self):
        self.leave = threading.Event()
        self.called = []

    def shutdown(self):
        self.called.append("shutdown")
        self.leave.wait(30)

    def force_flush(self, timeout_millis=30000):
        self.called.append(timeout_millis)


@pytest.mark.parametrize("timeout", [0.2, 60], ids=["its own", "the grace"])
def test_it_takes_no_more_than_its_time(caplog, timeout):
    """The time it was given, or what is left of the grace; one that hangs does not cost the others their flush."""
    app = App("test", grace=1.0)
    hanging, exporter = Hanging(), InMemorySpanExporter()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.shutdown = lambda: hanging.called.append("exporter")
    instrument(app, tracer_provider=traces, logger_provider=hanging, timeout=timeout)

    with caplog.at_level(logging.WARNING, "graceful"):
        app.run(nothing)
    hanging.leave.set()
    (outcome,) = app.report.outcomes

    assert ("Telemetry.flush", Verdict.OK) == (outcome.hook, outcome.verdict)
    assert timeout == 60 or 0.2 <= outcome.took < 0.6
    assert 0.15 < app.report.took < 1.2
    assert ["exporter", "shutdown"] == sorted(hanging.called)
    assert "telemetry was not sent within" in caplog.text
    assert "Hanging" in caplog.text


def test_they_are_only_flushed(app):
    """`shutdown=False`: the provider takes more afterwards."""
    provider = Hanging()
    instrument(app, logger_provider=provider, shutdown=False)
    app.run(nothing)
    app.run(nothing)

    assert [int, int] == [type(each) for each in provider.called]
    assert all(2000 < each <= 3000 for each in provider.called)


def test_a_provider_that_fails(app, caplog):
    """It changes nothing but a line in the log."""

    class Failing:
        def shutdown(self):
            raise OSError("no route")

    instrument(app, logger_provider=Failing())
    with caplog.at_level(logging.WARNING, "graceful"):
        app.run(nothing)

    assert ["telemetry of Failing was not sent: OSError: no route"] == caplog.messages
    assert 0 == app.report.exit_status


def test_in_virtual_time(app, memory):
    """A simulated run is traced, too, and its flush is waited for."""
    memory.instrument(app)

    @app.on_shutdown
    async def disconnect():
        pass

    result = simulate(app, nothing)

    result.assert_exit(0)
    assert "cleanup disconnect" in memory.spans
