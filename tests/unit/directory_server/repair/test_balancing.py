"""Balancing: copies move to emptier servers, gently, within their zones, and only after all repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.repair.copy_orders import MAX_MOVES
from lockstep_store.wire.digest import Digest
from tests.unit.directory_server.repair.test_moving_copies import Movers


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Movers]:
    cluster = Movers(tmp_path, {"1": "a", "2": "b", "3": "c"})
    yield cluster
    cluster.store.close()


def fill(cluster: Movers, count: int, size: int = 1 << 20) -> list[Digest]:
    return [cluster.add_blob(f"blob {n}", "1", "2", size=size) for n in range(count)]


def shares(cluster: Movers, digests: list[Digest]) -> Counter[str]:
    return Counter(id for digest in digests for id in cluster.holders(digest))


def test_a_new_server_is_filled_by_balancing(cluster: Movers) -> None:
    """Copies move from the full to the empty, no blob is ever short, and it ends by itself within the tolerance."""
    digests = fill(cluster, 300)
    cluster.work()
    assert shares(cluster, digests)["3"] == 0
    cluster.repair.balance(True)
    assert cluster.repair.info().balancing
    cluster.work(rounds=300)
    assert not cluster.repair.info().balancing
    assert cluster.repair.info().to_balance == 0
    assert all(180 <= count <= 215 for count in shares(cluster, digests).values()), shares(cluster, digests)
    assert all(len(cluster.holders(digest)) == 2 for digest in digests)
    assert cluster.repair.info().repaired_since_start == 0


def test_balancing_is_bounded_and_can_be_stopped(cluster: Movers) -> None:
    """At most a few moves are under way, what lacks copies comes first, and a stop leaves it where it is."""
    digests = fill(cluster, 300)
    cluster.repair.balance(True)
    for _ in range(4):
        cluster.settle()
    assert 170 < cluster.repair.info().to_balance <= 200
    assert sum(len(orders) for orders in cluster.orders().values()) == MAX_MOVES
    cluster.repair.balance(False)
    cluster.settle()
    assert cluster.repair.info().to_balance == 0
    cluster.work()
    assert shares(cluster, digests)["3"] <= MAX_MOVES


def test_balancing_goes_on_after_a_restart(cluster: Movers) -> None:
    """Whether it runs is kept; what was planned is found again."""
    digests = fill(cluster, 120)
    cluster.repair.balance(True)
    cluster.restart()
    cluster.plan()
    cluster.beat(*cluster.zones)
    assert cluster.repair.info().balancing
    cluster.work(rounds=300)
    assert 70 <= shares(cluster, digests)["3"] <= 90


def test_balancing_keeps_zones_apart(tmp_path: Path) -> None:
    """One server alone in its zone keeps a copy of everything, full as it is; the others share the rest."""
    cluster = Movers(tmp_path, {"1": "a", "2": "b", "3": "b"})
    digests = fill(cluster, 100)
    cluster.repair.balance(True)
    cluster.work(rounds=300)
    assert not cluster.repair.info().balancing
    found = shares(cluster, digests)
    assert found["1"] == 100
    assert 30 <= found["3"] <= 70
    cluster.store.close()


def test_a_disk_that_was_replaced_is_filled_again(cluster: Movers) -> None:
    """A known server that comes back empty long after its copies were made elsewhere gets its share all the same."""
    digests = fill(cluster, 60)
    cluster.lose("1")
    cluster.settle()
    while cluster.obey():
        cluster.settle()
    cluster.register("1", "a", store="fresh")
    cluster.stores = {"1": "fresh"}
    cluster.work(rounds=300)
    assert 30 <= shares(cluster, digests)["1"] <= 50
    assert all(len(cluster.holders(digest)) == 2 for digest in digests)
