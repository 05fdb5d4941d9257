"""Repair and collection: lost copies are made again, most endangered first; only garbage is dropped."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.statements.servers import HeldBlob, blob_and_holders, mark_damaged
from directory_server.repair.planner import RepairPlanner
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.messages.servers import MAX_ORDERS, CopyOrder
from tests.fakes.directory import INSERT_BLOB, INSERT_HOLDER, FakeDirectory

TICKET_SECONDS = 30.0
GRACE = 60.0


class Cluster(FakeDirectory):
    def __init__(self, folder: Path, servers: dict[str, str], copies: int = 2) -> None:
        super().__init__(folder, servers)
        self.copies = copies
        self.plan()

    def plan(self) -> None:
        self.collector = Collector(self.store, self.clock, TICKET_SECONDS)
        self.repair = RepairPlanner(self.store, self.clock, self.membership, self.collector, self.copies, GRACE)

    def settle(self) -> None:
        """Steps until the walk is over."""
        for _ in range(1000):
            if self.repair.step() == 1.0:
                return
        raise AssertionError("the walk never ended")

    def orders(self) -> dict[str, list[CopyOrder]]:
        found = {id: self.repair.orders_for(id) for id in self.zones}
        return {id: orders for id, orders in found.items() if orders}

    def blob(self, digest: Digest) -> HeldBlob:
        with self.store.read() as reader:
            found = blob_and_holders(reader, digest)
        assert found is not None
        return found

    def lose(self, id: str) -> None:
        """The server goes down and stays down past the grace."""
        self.pass_time(10 + GRACE + 1, *[other for other in self.zones if other != id])

    def obey(self) -> int:
        """Every target does what it was ordered; how many copies were made."""
        made = 0
        for id, orders in self.orders().items():
            assert self.repair.held(id, [order.digest for order in orders]) == []
            made += len(orders)
        return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, {"1": "a", "2": "b", "3": "c"})
    yield cluster
    cluster.store.close()


def test_replayed_damage_is_repaired_at_once(cluster: Cluster) -> None:
    """A restored directory walks before records are replayed; the marks in them are not left to the next long round."""
    digest = cluster.add_blob("file", "1", "2")
    cluster.settle()
    cluster.store.write(lambda tx: mark_damaged(tx, digest, "1"))  # as a replayed record does
    cluster.settle()
    assert cluster.orders() == {}
    cluster.repair.examine_all()
    cluster.settle()
    assert cluster.obey() == 1


def test_nothing_is_ordered_when_nothing_is_missing(cluster: Cluster) -> None:
    """A healthy cluster's walk ends with a report of zeros."""
    cluster.add_blob("fine", "1", "2")
    cluster.settle()
    assert cluster.orders() == {}
    assert (cluster.repair.info().under_copied, cluster.repair.info().without_living_copy) == (0, 0)


def test_a_lost_server_is_copied_again_after_the_grace(cluster: Cluster) -> None:
    """Within the grace nothing moves; after it, each blob is ordered to the server that lacks it, from the living."""
    digest = cluster.add_blob("blob", "1", "2", size=77)
    cluster.pass_time(30, "2", "3")
    cluster.settle()
    assert cluster.orders() == {}
    cluster.lose("1")
    cluster.settle()
    assert cluster.repair.info().under_copied == 1
    orders = cluster.orders()
    assert list(orders) == ["3"]
    assert (orders["3"][0].digest, orders["3"][0].size) == (digest, 77)
    assert [source.id for source in orders["3"][0].sources] == ["2"]
    assert cluster.repair.held("3", [digest]) == []
    assert cluster.holders(digest) == ["1", "2", "3"]
    info = cluster.repair.info()
    assert (info.under_copied, info.ordered, info.repaired_since_start) == (0, 0, 1)


def test_an_order_is_told_once_and_again_when_it_is_late(cluster: Cluster) -> None:
    """A heartbeat's answer that was lost, or a target that failed, costs time and not the copy."""
    cluster.add_blob("blob", "1", "2")
    cluster.lose("1")
    cluster.settle()
    assert len(cluster.orders()["3"]) == 1
    cluster.settle()
    assert cluster.orders() == {}
    cluster.pass_time(70, "2", "3")
    cluster.settle()
    assert len(cluster.orders()["3"]) == 1


def test_orders_to_one_server_are_bounded(cluster: Cluster) -> None:
    """However much is missing, a server has at most MAX_ORDERS to do at a time, and in the end all is done."""
    for n in range(3 * MAX_ORDERS):
        cluster.add_blob(f"blob {n}", "1", "2")
    cluster.lose("1")
    cluster.settle()
    assert cluster.repair.info().ordered == MAX_ORDERS
    made = 0
    while batch := cluster.obey():
        assert batch <= MAX_ORDERS
        made += batch
        cluster.settle()
    assert made == 3 * MAX_ORDERS
    assert cluster.repair.info().under_copied == 0


def test_the_most_endangered_come_first(tmp_path: Path) -> None:
    """With three promised copies, a blob with one left is ordered before those with two."""
    cluster = Cluster(tmp_path, {"1": "a", "2": "b", "3": "c", "4": "d"}, copies=3)
    for n in range(MAX_ORDERS + 20):
        cluster.add_blob(f"two left {n}", "1", "2", "3")
    endangered = {cluster.add_blob(f"one left {n}", "1", "2") for n in range(20)}
    cluster.lose("1")
    cluster.settle()
    ordered = {order.digest for orders in cluster.orders().values() for order in orders}
    assert endangered < ordered
    cluster.store.close()


def test_a_blob_without_a_living_copy_is_counted_as_lost(cluster: Cluster) -> None:
    """What cannot be repaired is reported, and does not stop the rest."""
    cluster.add_blob("lost", "1")
    cluster.add_blob("saved", "1", "2")
    cluster.lose("1")
    cluster.settle()
    assert (cluster.repair.info().without_living_copy, cluster.repair.info().under_copied) == (1, 1)
    assert cluster.obey() == 1
    cluster.beat("1")
    cluster.settle()
    assert cluster.repair.info().without_living_copy == 0


def test_a_damaged_copy_is_made_again(cluster: Cluster) -> None:
    """A copy that failed its check counts no more, stays in the metadata, and is made whole where it was."""
    digest = cluster.add_blob("blob", "1", "2")
    cluster.settle()
    cluster.repair.damaged("2", [digest])
    assert cluster.blob(digest).sound == ("1",)
    assert cluster.holders(digest) == ["1", "2"]
    assert cluster.repair.info().under_copied == 1
    cluster.settle()
    orders = cluster.orders()
    assert [(id, [source.id for source in given[0].sources]) for id, given in orders.items()] == [("2", ["1"])]
    assert cluster.repair.held("2", [digest]) == []
    assert cluster.blob(digest).damaged == ()
    assert cluster.repair.info().under_copied == 0


def test_the_last_copy_is_never_forgotten(cluster: Cluster) -> None:
    """A report against the only holder does not make the directory forget where the bytes are."""
    digest = cluster.add_blob("blob", "1")
    cluster.repair.damaged("1", [digest, chunk_digest(b"unknown")])
    assert cluster.holders(digest) == ["1"]


def test_an_empty_disk_is_filled_again(cluster: Cluster) -> None:
    """A server that comes back with an empty disk gets its copies again without waiting for the grace."""
    digest = cluster.add_blob("blob", "1", "2")
    cluster.settle()
    cluster.pass_time(4, "2", "3")
    cluster.register("1", "a", store="fresh")
    cluster.beat("1", store_id="fresh")
    cluster.settle()
    assert cluster.obey() == 1
    assert len(cluster.holders(digest)) == 2


def test_draining_moves_copies_elsewhere(cluster: Cluster) -> None:
    """Copies on a draining server do not count, and it may be the source."""
    digest = cluster.add_blob("blob", "1")
    cluster.membership.drain("1")
    cluster.copies = 1
    cluster.plan()
    cluster.settle()
    orders = cluster.orders()
    assert [source.id for source in next(iter(orders.values()))[0].sources] == ["1"]
    assert cluster.holders(digest) == ["1"]


def test_a_few_that_cannot_be_copied_do_not_stop_the_rest(cluster: Cluster) -> None:
    """Hundreds of blobs whose only source does not answer just now leave room for those that can be copied."""
    for n in range(400):
        cluster.add_blob(f"stuck {n}", "2")
    for n in range(30):
        cluster.add_blob(f"fine {n}", "3")
    cluster.membership.report_unreachable("2")
    for _ in range(5):
        cluster.repair.step()
    assert {order.sources[0].id for orders in cluster.orders().values() for order in orders} == {"3"}


def test_a_step_costs_the_same_however_many_blobs_there_are(cluster: Cluster) -> None:
    """The walk takes one bounded page a step: its last step is no dearer than its first, within a wide margin."""

    def fill(tx):  # type: ignore[no-untyped-def]
        for n in range(10_000):
            digest = chunk_digest(str(n).encode())
            tx.run(INSERT_BLOB, digest=digest, size=1, refs=1)
            for rank, id in enumerate(("1", "2")):
                tx.run(INSERT_HOLDER, digest=digest, server_id=id, rank=rank)

    cluster.store.write(fill)
    costs = []
    gc.disable()  # what all tests of this process have left behind is not the walk's cost
    try:
        while True:
            started = time.thread_time()
            pause = cluster.repair.step()
            costs.append(time.thread_time() - started)
            if pause == 1.0:
                break
    finally:
        gc.enable()
    assert 10 <= len(costs) <= 12
    assert max(costs[1:-1]) < 20 * min(costs[1:-1]) + 0.05
    assert cluster.repair.info().under_copied == 0


# ---------------------------------------------------------------- held and collect


def test_held_answers_what_nothing_refers_to(cluster: Cluster) -> None:
    """An inventory is counted where versions refer to it, and the rest is answered as unwanted."""
    wanted = cluster.add_blob("wanted", "1")
    garbage = cluster.add_blob("garbage", "1", refs=0)
    unknown = chunk_digest(b"never heard of")
    cluster.pass_time(TICKET_SECONDS + 1, "1", "2", "3")
    assert cluster.repair.held("2", [wanted, garbage, unknown]) == [garbage, unknown]
    assert cluster.holders(wanted) == ["1", "2"]
    assert cluster.holders(garbage) == ["1"]


def collect(cluster: Cluster, id: str, *digests: Digest) -> list[Digest]:
    return cluster.collector.collect(id, digests)


def test_only_garbage_is_collected_and_its_rows_go_first(cluster: Cluster) -> None:
    """Unreferenced and unknown blobs may be dropped; when the last holder has asked, the blob is forgotten."""
    wanted, garbage = cluster.add_blob("wanted", "1", "2"), cluster.add_blob("garbage", "1", "2", refs=0)
    unknown = chunk_digest(b"what a dead write left")
    cluster.pass_time(TICKET_SECONDS + 1)
    assert collect(cluster, "1", wanted, garbage, unknown) == [garbage, unknown]
    assert (cluster.holders(wanted), cluster.holders(garbage)) == (["1", "2"], ["2"])
    assert collect(cluster, "2", garbage) == [garbage]
    cluster.add_blob("garbage", "3")
    assert collect(cluster, "3", garbage) == []


def test_an_open_ticket_protects_its_digest(cluster: Cluster) -> None:
    """A blob that a running write has named is kept until its ticket ends."""
    garbage = cluster.add_blob("garbage", "1", refs=0)
    cluster.pass_time(TICKET_SECONDS + 1)
    cluster.collector.note_open(garbage, cluster.clock.now() + 20)
    cluster.collector.note_open(garbage, cluster.clock.now() + 10)
    cluster.machine.advance(15)
    assert collect(cluster, "1", garbage) == []
    cluster.machine.advance(6)
    assert collect(cluster, "1", garbage) == [garbage]


def test_nothing_is_collected_until_a_ticket_lifetime_after_the_start(cluster: Cluster) -> None:
    """Tickets given out before a restart are not known any more, so the collector waits until they are over."""
    garbage = cluster.add_blob("garbage", "1", refs=0)
    cluster.pass_time(TICKET_SECONDS + 1)
    cluster.restart()
    cluster.plan()
    assert collect(cluster, "1", garbage) == []
    assert cluster.repair.held("1", [garbage]) == []
    cluster.machine.advance(TICKET_SECONDS)
    assert collect(cluster, "1", garbage) == [garbage]


def test_what_is_referred_to_again_is_kept(cluster: Cluster) -> None:
    """A blob that a new version links is no garbage any more, whatever was asked before."""
    digest = cluster.add_blob("blob", "1", refs=0)
    cluster.pass_time(TICKET_SECONDS + 1)
    cluster.set_refs(digest, 1)
    assert collect(cluster, "1", digest) == []
    assert cluster.holders(digest) == ["1"]
