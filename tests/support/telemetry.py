"""OpenTelemetry's SDK in memory, and what it has seen."""

from __future__ import annotations

import contextlib

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graceful.opentelemetry import instrument


class Memory:
    """Providers of traces and metrics that keep everything; `instrument` gives them to an app."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.traces.get_tracer("test")

    def instrument(self, app, **options):
        instrument(app, tracer_provider=self.traces, meter_provider=self.meters, shutdown=False, **options)
        return self

    @property
    def spans(self):
        """Those that have ended, by name; of several with one name the last."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def parents(self):
        """The name of each span's parent; `None`: it is the first of its trace."""
        spans = self.exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans}
        return {span.name: None if span.parent is None else names[span.parent.span_id] for span in spans}

    def links(self, name):
        """What a span is linked to: the name of the other one, by what the link is called."""
        names = {span.context.span_id: span.name for span in self.exporter.get_finished_spans()}
        return {link.attributes["graceful.link"]: names[link.context.span_id] for link in self.spans[name].links}

    def points(self):
        """The points of each metric."""
        found = {}
        with contextlib.suppress(AttributeError):  # nothing was measured
            for resource in self.reader.get_metrics_data().resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        found[metric.name] = [*metric.data.data_points]
        return found
