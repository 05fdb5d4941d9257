"""Traces in one program: when there are any, and what a span covers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from lockstep_store.runtime import tracing
from lockstep_store.runtime.traces import collector_in, traced
from lockstep_store.runtime.tracing import OPERATION, start_request
from tests.fakes.trace_collector import TraceCollector, trace_collector
from tests.fakes.wsgi import ask, request_environ
from tests.waiting import wait_until

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"Traceparent": f"00-{TRACE}-{SPAN}-01"}


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    sent: dict[str, str] = {}
    if tracing.propagate is not None:
        tracing.propagate(sent)
    environ[OPERATION] = "write_file"
    path = environ["PATH_INFO"]
    start_request(f"request-{path[1:]}")
    if path == "/breaks":
        raise RuntimeError("a defect")
    start("503 -" if path == "/busy" else "200 -", [("X-Sent", sent.get("traceparent", ""))])
    return iter([b"one", b"two"]) if path == "/stream" else [b"whole"]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_standard_variables_ask_for_traces(environment: dict[str, str], wanted: bool) -> None:
    """An endpoint does, unless something switches traces off."""
    assert collector_in(environment) is wanted


def test_without_a_collector_nothing_is_in_front() -> None:
    """The application itself serves, and calls between programs carry nothing more."""
    assert traced(_app, {}) is _app
    assert tracing.propagate is None


def test_a_missing_library_is_logged_and_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(tracing.log, "propagate", True)
    assert traced(_app, ENDPOINT) is _app
    assert "pip install 'lockstep-store[traces]'" in caplog.text


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    with trace_collector() as running:
        yield running


@pytest.fixture(params=["client_proxy", "file_server"])
def app(request: pytest.FixtureRequest, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("propagate", "flush_traces"):
        monkeypatch.setattr(tracing, name, None)
    monkeypatch.setattr(tracing, "program", (request.param, "7"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    app: Any = traced(_app, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    yield app
    app._tracer._provider.shutdown()


def _flushed(collector: TraceCollector, count: int) -> list[Any]:
    assert tracing.flush_traces is not None
    tracing.flush_traces()
    return wait_until(lambda: spans if len(spans := collector.all_spans()) == count else [], what=f"{count} spans")


def test_a_request_continues_its_callers_trace(app: Any, collector: TraceCollector) -> None:
    """And what it calls continues its own span."""
    answer = ask(app, "PUT", "/files/secret", headers=PARENT)
    (span,) = _flushed(collector, 1)
    assert (span.trace, span.parent, span.name, span.instance) == (TRACE, SPAN, "write_file", "7")
    assert answer.headers["X-Sent"] == f"00-{TRACE}-{span.id}-01"
    assert span.attributes["http.request.method"] == "PUT"
    assert span.attributes["http.response.status_code"] == 200
    assert "secret" not in repr(span)


def test_only_a_proxy_begins_a_trace(app: Any, collector: TraceCollector) -> None:
    """Nothing of an earlier request on the thread is left; pages for operators and bad headers begin nothing else."""
    ask(app, "PUT", "/first", headers=PARENT)
    is_proxy = tracing.program[0] == "client_proxy"
    begun = ask(app, "PUT", "/second").headers["X-Sent"]
    ask(app, "PUT", "/third", headers={"Traceparent": "00-nonsense"})
    assert ask(app, "GET", "/health", headers=PARENT).headers["X-Sent"] == ""
    assert bool(begun) is is_proxy
    assert TRACE not in begun
    spans = _flushed(collector, 3 if is_proxy else 1)
    assert len({span.trace for span in spans}) == len(spans)
    assert [span.parent for span in spans[1:]] == [""] * (len(spans) - 1)


def test_a_span_ends_with_the_reply(app: Any, collector: TraceCollector) -> None:
    """A streamed one when its body is closed; a failure is a span, too, with its status."""
    body = app(request_environ("GET", "/stream", headers=PARENT), lambda *_: None)
    ask(app, "GET", "/busy", headers=PARENT)
    assert _flushed(collector, 1)[0].attributes["http.response.status_code"] == 503
    assert b"".join(body) == b"onetwo"
    body.close()
    with pytest.raises(RuntimeError, match="a defect"):
        app(request_environ("GET", "/breaks", headers=PARENT), lambda *_: None)
    ended = [span.attributes for span in _flushed(collector, 3)]
    assert [one["http.response.status_code"] for one in ended] == [503, 200, 500]
    assert [one["lockstep.request_id"] for one in ended] == ["request-busy", "request-stream", "request-breaks"]
