from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fakeredis import TcpFakeServer

from client_proxy.rate_limits.counts import RETRY_SECONDS, RequestCounts
from client_proxy.rate_limits.rules import parse_rules
from lockstep_store.wire.errors import SetupError
from tests.fakes.lasting_ports import lasting_ports

(RULE,) = parse_rules(["login=3/day/address", "share=off"])


@pytest.fixture
def redis() -> Iterator[str]:
    """The address of a server that speaks Redis' protocol and runs its scripts."""
    (port,) = lasting_ports(1)
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"redis://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_each_address_has_its_own_count() -> None:
    """An address that has used up its count is refused until the time given, and another one is not."""
    counts = RequestCounts()
    assert [counts.take(RULE, "ann")[:2] for _ in range(4)] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert counts.take(RULE, "bob")[0]
    refused = counts.take(RULE, "ann")
    assert not refused[0]
    assert 1 <= refused[2] <= RULE.seconds


def test_parallel_requests_get_no_more_than_the_rule_allows() -> None:
    """Sixteen threads together are allowed exactly as many requests as one would be."""
    counts = RequestCounts()
    (rule,) = parse_rules(["login=100/day/address", "share=off"])
    allowed: list[bool] = []

    def ask() -> None:
        allowed.extend([counts.take(rule, "ann")[0] for _ in range(20)])

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) <= 100
    assert sum(allowed) >= 90  # the library may refuse a few too many where threads meet, never allow one too many


def test_proxies_with_a_shared_storage_count_together(redis: str) -> None:
    """What one proxy allowed is missing at the other."""
    one, other = RequestCounts(redis), RequestCounts(redis)
    assert [counts.take(RULE, "ann")[0] for counts in (one, other, one, other, one)] == [True] * 3 + [False] * 2
    assert one.problem == ""


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
def test_without_its_shared_storage_a_proxy_counts_by_itself(scheme: str) -> None:
    """A storage that does not answer stops nobody, lifts no limit, is left alone for a while, and is reported."""
    if scheme == "memcached":
        pytest.importorskip("pymemcache")
    now = [100.0]
    (port,) = lasting_ports(1)
    counts = RequestCounts(f"{scheme}://127.0.0.1:{port}", monotonic=lambda: now[0])
    assert [counts.take(RULE, "ann")[0] for _ in range(4)] == [True, True, True, False]
    assert "counts by itself" in counts.problem
    now[0] += RETRY_SECONDS + 1
    assert counts.problem == ""
    assert not counts.take(RULE, "ann")[0]
    assert "counts by itself" in counts.problem


@pytest.mark.parametrize("uri", ["memory://", "mongodb://host", "redis", "redis://host:port", "redis://a:secret@[::"])
def test_a_storage_that_cannot_be_meant_stops_the_start(uri: str) -> None:
    """The error names the setting, and no password."""
    with pytest.raises(SetupError, match="--rate-limit-storage") as refused:
        RequestCounts(uri)
    assert "secret" not in str(refused.value)
