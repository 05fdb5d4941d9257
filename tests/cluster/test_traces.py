"""One trace of a request over all programs, as a collector receives it from real processes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.fakes.trace_collector import ReceivedSpan, TraceCollector, trace_collector
from tests.waiting import wait_until

SECRET_NAME = "takeover-of-acme"
SMALL, LARGE = 1000, 3_000_000

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def collector() -> Iterator[TraceCollector]:
    with trace_collector() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(collector: TraceCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    env = {
        "LOCKSTEP_CLUSTER_CONSOLE": "no",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with ClusterHarness(tmp_path_factory.mktemp("traced"), file_servers=2, proxies=2, env=env) as harness:
        yield harness


class _Client:
    """A client's own span: `headers` continue it."""

    def __init__(self) -> None:
        self.trace, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace}-{self.span}-01"}


HOPS = {
    ("lockstep-client-proxy", "lockstep-directory-server"),
    ("lockstep-client-proxy", "lockstep-file-server"),
    ("lockstep-file-server", "lockstep-file-server"),
    ("lockstep-file-server", "lockstep-directory-server"),
}
"""Who called whom for a write: the begin, the master, the replica, the commit."""


def _whole(collector: TraceCollector, client: _Client) -> list[ReceivedSpan]:
    """The client's trace, once it is connected and has all calls of a write."""

    def arrived() -> list[ReceivedSpan]:
        spans = collector.spans(client.trace)
        by_id = {span.id: span for span in spans}
        inner = [span for span in spans if span.parent != client.span]
        if len(inner) == len(spans) or not all(span.parent in by_id for span in inner):
            return []
        return spans if {(by_id[span.parent].service, span.service) for span in inner} == HOPS else []

    return wait_until(arrived, what=f"the spans of the calls {HOPS}")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_write_is_one_connected_trace(cluster: ClusterHarness, collector: TraceCollector, size: int) -> None:
    """From the client's own span through the proxy to the directory, the master, the replica and the commit.

    No name of a file is in it.
    """
    client = _Client()
    with Person(cluster) as person:
        answer = person.ask(
            "PUT", f"/files/files/{SECRET_NAME}-{size}", data=secrets.token_bytes(size), headers=client.headers
        )
    assert answer.status_code == 201
    spans = _whole(collector, client)
    (first,) = [span for span in spans if span.parent == client.span]
    assert (first.service, first.name) == ("lockstep-client-proxy", "write_file")
    assert first.attributes["http.response.status_code"] == 201
    assert first.attributes["lockstep.request_id"] == answer.headers["X-Request-Id"]
    assert SECRET_NAME not in repr(spans)


def test_only_requests_of_people_begin_traces(cluster: ClusterHarness, collector: TraceCollector) -> None:
    """A client without a trace gets one of its own; heartbeats, other jobs and health checks get none."""
    with Person(cluster) as person:
        assert person.ask("GET", "/buckets").status_code == 200
        cluster.session().get(f"{person.url}/health", timeout=60)

    def listing() -> list[ReceivedSpan]:
        return [span for span in collector.all_spans() if span.name == "list_buckets"]

    (span,) = wait_until(listing, what="the span of the listing")
    assert span.parent == ""
    roots = [span for span in collector.all_spans() if not span.parent]
    assert {span.service for span in roots} == {"lockstep-client-proxy"}
    assert {"/health", "unknown"}.isdisjoint(span.name for span in roots)


def test_paths_are_shown_where_they_are_asked_for(cluster: ClusterHarness, collector: TraceCollector) -> None:
    """By the proxy with `--trace-paths`, and by no other program."""
    cluster.terminate("client_proxy", 2)
    cluster.start("client_proxy", 2, env={"LOCKSTEP_PROXY_TRACE_PATHS": "yes"})
    client = _Client()
    with Person(cluster, proxy=2) as person:
        person.ask("PUT", f"/files/files/{SECRET_NAME}", data=secrets.token_bytes(SMALL), headers=client.headers)
    shown = [span for span in _whole(collector, client) if SECRET_NAME in repr(span)]
    assert [span.attributes["url.path"] for span in shown] == [f"/api/v1/files/files/{SECRET_NAME}"]


def test_a_collector_that_hangs_harms_nobody(cluster: ClusterHarness, collector: TraceCollector) -> None:
    """People go on, the log says that traces are lost, and programs stop."""
    collector.silent = True
    with Person(cluster) as person:
        for number in range(20):
            person.put(f"silent/{number}", secrets.token_bytes(SMALL))
            assert len(person.get(f"silent/{number}")) == SMALL
    log = cluster.folder.log_dir / "client_proxy-1.log"
    wait_until(lambda: "traces are lost" in log.read_text(), what="the line in the log")
    cluster.terminate("client_proxy", 1)
