"""OpenTelemetry traces: one span for each request that a program answers, sent over OTLP.

Off unless the standard variables name a collector (`collector_in`), and then nothing of this is loaded or called. The
libraries are an extra, `lockstep-store[traces]`. A proxy continues the trace of a client that sends one (W3C
`traceparent`) or begins one. The other programs only continue traces, so their own work makes none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from lockstep_store.runtime import tracing
from lockstep_store.runtime.tracing import OPERATION, log, request_id

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

NEEDS = "lockstep-store[traces]"
FLUSH_SECONDS = 1.0
"""How long a program that stops waits for its last spans to be sent."""
COMPLAINT_SECONDS = 60.0
"""How often a collector that does not answer is logged."""

_PAGES = frozenset({"/health", "/metrics"})
_HEADERS = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}


def collector_in(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces: an OTLP endpoint, and nothing that switches traces off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return any(environment.get(name) for name in names)


def traced(wsgi: Wsgi, environment: Mapping[str, str], *, with_paths: bool = False) -> Wsgi:
    """Return `wsgi` with a span around each request, or `wsgi` itself if nobody asks for traces.

    `with_paths`: spans show the addresses of requests, which have the names of people's files in them.
    """
    if not collector_in(environment):
        return wsgi
    try:
        tracer = _Tracer(environment)
    except ImportError as error:
        log.warning("traces are asked for, but %s is not installed (pip install '%s')", error.name, NEEDS)
        return wsgi
    tracing.propagate = tracer.inject
    tracing.flush_traces = tracer.flush
    log.info("traces are sent over OTLP")
    return _Traced(wsgi, tracer, with_paths)


class _Tracer:
    """The libraries' objects, for the program that `tracing.program` names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        from opentelemetry import context, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        _log_briefly(logging.getLogger("opentelemetry"))
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        if protocol != "http/protobuf":
            log.warning("traces are sent with http/protobuf: %s is not supported", protocol)
        program, id = tracing.program
        self.begins_traces = program == "client_proxy"
        facts = {"service.instance.id": id, "service.version": version("lockstep-store")}
        name = environment.get("OTEL_SERVICE_NAME") or f"lockstep-{program.replace('_', '-')}"
        resource = Resource.create({**facts, "service.name": name})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("lockstep")
        self._w3c = TraceContextTextMapPropagator()
        self._nothing = context.Context()
        self._attach = context.attach
        self._trace = trace

    def begin(self, environ: Environ) -> Any:
        """Begin the request's span, and make it this thread's; None for a request that belongs to no trace."""
        # Threads are used again: whatever an earlier request left here must not be this one's.
        self._attach(self._nothing)
        if environ["PATH_INFO"] in _PAGES:
            return None
        carrier = {name: environ[key] for name, key in _HEADERS.items() if key in environ}
        parent = self._w3c.extract(carrier, self._nothing)
        if not self.begins_traces and not self._trace.get_current_span(parent).get_span_context().is_valid:
            return None
        span = self._tracer.start_span("request", context=parent, kind=self._trace.SpanKind.SERVER)
        self._attach(self._trace.set_span_in_context(span, parent))
        return span

    def end(self, span: Any, environ: Environ, status: int, id: str, with_paths: bool) -> None:
        span.update_name(environ.get(OPERATION, "unknown"))
        span.set_attribute("http.request.method", environ["REQUEST_METHOD"])
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("lockstep.request_id", id)
        if with_paths:
            span.set_attribute("url.path", environ["PATH_INFO"])
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def inject(self, headers: dict[str, str]) -> None:
        """Add what continues this thread's trace at another program."""
        self._w3c.inject(headers)

    def flush(self) -> None:
        """Send what waits, for FLUSH_SECONDS at most: a program that stops must not wait for a collector."""
        sending = threading.Thread(target=self._provider.force_flush, name="last traces", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


class _Traced:
    def __init__(self, inner: Wsgi, tracer: _Tracer, with_paths: bool) -> None:
        self._inner = inner
        self._tracer = tracer
        self._with_paths = with_paths

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        span = self._tracer.begin(environ)
        if span is None:
            return self._inner(environ, start_response)
        status, id = 500, ""

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line.partition(" ")[0])
            return start_response(line, *rest)

        def end() -> None:
            self._tracer.end(span, environ, status, id, self._with_paths)

        try:
            body = self._inner(environ, start)
        except BaseException:
            id = request_id()
            end()
            raise
        id = request_id()  # now: the thread that ends a streamed body may have begun with another request
        if isinstance(body, list):  # a list stays one, which the runner sends without a thread
            end()
            return body
        return _Followed(body, end)


class _Followed:
    """A streamed body whose end ends the span."""

    def __init__(self, body: Iterable[bytes], end: Callable[[], None]) -> None:
        self._body = body
        self._pieces = iter(body)
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end()


def _log_briefly(logger: logging.Logger) -> None:
    logger.propagate = False
    logger.handlers = [_Complaints(logging.WARNING)]


class _Complaints(logging.Handler):
    """Logs in one line, once a minute at most, what the libraries complain about: a collector that is away."""

    _next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + COMPLAINT_SECONDS
        with suppress(Exception):
            log.warning("traces are lost: %s", record.getMessage().splitlines()[0][:300])
