"""A stand-in for an OpenTelemetry collector: what an exporter sends over OTLP/HTTP, read as it is specified."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """
    A server on a free port of this machine.

    Args:
        hangs: Whether it takes requests and never answers.
    """

    def __init__(self, *, hangs: bool = False) -> None:
        self.spans = []
        self.metrics = []
        self.logs = []
        self.asked = threading.Event()
        self._leave = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.set()
                if hangs:
                    outer._leave.wait(60)
                    return
                outer._take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            self.spans += [each for r in request.resource_spans for scope in r.scope_spans for each in scope.spans]
        elif path == "/v1/metrics":
            request = ExportMetricsServiceRequest.FromString(body)
            self.metrics += [each for r in request.resource_metrics for s in r.scope_metrics for each in s.metrics]
        elif path == "/v1/logs":
            request = ExportLogsServiceRequest.FromString(body)
            self.logs += [each for r in request.resource_logs for scope in r.scope_logs for each in scope.log_records]

    def close(self) -> None:
        self._leave.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
