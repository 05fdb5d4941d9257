"""An OpenTelemetry collector: takes spans over OTLP/HTTP, and shows them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class ReceivedSpan(NamedTuple):
    """One span. `service` and `instance` are the program's and its id's; ids are in hexadecimal."""

    trace: str
    id: str
    parent: str
    name: str
    service: str
    instance: str
    attributes: dict[str, Any]


class TraceCollector:
    """`url` is its endpoint. While `silent` is set, it accepts requests and does not answer them."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.silent = False
        self.released = threading.Event()
        self._spans: list[ReceivedSpan] = []

    def spans(self, trace: str) -> list[ReceivedSpan]:
        """The spans of one trace that have arrived."""
        return [span for span in list(self._spans) if span.trace == trace]

    def all_spans(self) -> list[ReceivedSpan]:
        return list(self._spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            program = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    names = (span.name, program["service.name"], program["service.instance.id"])
                    self._spans.append(ReceivedSpan(*ids, *names, _values(span.attributes)))


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """A collector on a free port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.silent:
                collector.released.wait()
                return
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = TraceCollector(server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
