"""Copies that move: off servers that leave, and to zones that are new; and copies too many go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.cluster.draining import Draining
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, NotFound
from tests.unit.directory_server.repair.test_repair import GRACE, Cluster


class Movers(Cluster):
    """The same, with file servers that also drop what they are offered."""

    def __init__(self, folder: Path, servers: dict[str, str], copies: int = 2) -> None:
        super().__init__(folder, servers, copies)
        self.draining = Draining(self.store, self.membership, copies, GRACE)

    def drop(self) -> int:
        """Every server asks to drop what it is offered, and does; how many copies went."""
        gone = 0
        for id in self.zones:
            offered = self.repair.surplus.offers_for(id)
            gone += len(self.repair.collect(id, offered))
        return gone

    def work(self, rounds: int = 60) -> None:
        """Orders are obeyed and offers taken until nothing happens any more."""
        quiet = 0
        for _ in range(rounds):
            self.machine.advance(0.5)
            self.beat(*self.zones)
            self.settle()
            quiet = 0 if self.obey() + self.drop() else quiet + 1
            if quiet == 4:
                return
        raise AssertionError("it never came to rest")

    def sets(self, *digests: Digest) -> list[str]:
        return ["".join(sorted(self.holders(digest))) for digest in digests]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Movers]:
    cluster = Movers(tmp_path, {"1": "a", "2": "b", "3": "c"})
    yield cluster
    cluster.store.close()


def test_a_server_that_returns_leaves_no_copy_too_many(cluster: Movers) -> None:
    """What was repaired elsewhere meanwhile is trimmed to exactly the promised copies, whoever returns."""
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(40)]
    cluster.lose("1")
    cluster.settle()
    while cluster.obey():
        cluster.settle()
    assert set(cluster.sets(*digests)) == {"123"}
    cluster.beat("1")
    cluster.work()
    assert all(len(cluster.holders(digest)) == 2 for digest in digests)
    info = cluster.repair.info()
    assert (info.surplus, info.dropped_since_start, info.under_copied) == (0, 40, 0)


def test_a_copy_is_dropped_only_when_it_was_offered_and_still_may_go(cluster: Movers) -> None:
    """Between offer and question another server falters: the copy stays. Nobody drops what was not offered."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.settle()
    offered = {id: cluster.repair.surplus.offers_for(id) for id in cluster.zones}
    (victim,) = [id for id, digests in offered.items() if digests]
    others = [id for id in cluster.zones if id != victim]
    assert cluster.repair.collect(others[0], [digest]) == []
    cluster.membership.report_unreachable(others[0])
    assert cluster.repair.collect(victim, [digest]) == []
    assert cluster.sets(digest) == ["123"]
    cluster.beat(*cluster.zones)
    cluster.work()
    assert len(cluster.holders(digest)) == 2


def test_who_falters_while_the_decision_waits_for_the_disk_is_not_relied_upon(cluster: Movers) -> None:
    """What counts is who is up in the transaction, not when it was asked for."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.settle()
    offered = {id: cluster.repair.surplus.offers_for(id) for id in cluster.zones}
    (victim,) = [id for id, digests in offered.items() if digests]
    other = min(id for id in cluster.zones if id != victim)
    cluster.store.first_in_each_transaction(lambda tx: cluster.membership.report_unreachable(other))
    assert cluster.repair.collect(victim, [digest]) == []
    assert cluster.sets(digest) == ["123"]


def test_copies_too_many_go_from_everybody_alike(cluster: Movers) -> None:
    """Where all are equally full, no server gives up everything: each choice counts for the next."""
    digests = [cluster.add_blob(f"blob {n:02}", "1", "2", "3") for n in range(30)]
    cluster.work()
    kept = Counter(id for digest in digests for id in cluster.holders(digest))
    assert sum(kept.values()) == 60
    assert max(kept.values()) - min(kept.values()) <= 2


def test_a_lost_offer_is_made_again(cluster: Movers) -> None:
    """A heartbeat's answer that never arrived costs half a minute, not the copy's place on the disk for ever."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.settle()
    assert sum(len(cluster.repair.surplus.offers_for(id)) for id in cluster.zones) == 1
    assert sum(len(cluster.repair.surplus.offers_for(id)) for id in cluster.zones) == 0
    cluster.pass_time(31, *cluster.zones)
    cluster.work()
    assert len(cluster.holders(digest)) == 2


def test_nothing_goes_while_a_write_of_it_is_open(cluster: Movers) -> None:
    """A ticket for the content keeps every copy; once it is committed or over, the copy too many goes."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.collector.note_open(digest, cluster.clock.now() + 500)
    cluster.collector.note_open(digest, cluster.clock.now() + 500)
    for committed in (0, 1):
        cluster.work()
        assert len(cluster.holders(digest)) == 3, f"dropped with {2 - committed} tickets open"
        cluster.collector.note_done(digest)
    cluster.work()
    assert len(cluster.holders(digest)) == 2


def test_what_was_given_up_is_known_to_commits_over_a_restart(cluster: Movers) -> None:
    """A write begun before a copy was dropped may not count on it; one begun after may. A restart forgets neither."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    before = cluster.clock.now()
    cluster.work()
    (gone,) = {"1", "2", "3"} - set(cluster.holders(digest))
    after = cluster.clock.now() + 1
    for _ in range(2):
        trimmer = cluster.repair.surplus
        with cluster.store.read() as reader:
            assert trimmer.given_up(reader, digest, gone, before)
            assert not trimmer.given_up(reader, digest, gone, after)
            assert not trimmer.given_up(reader, digest, cluster.holders(digest)[0], before)
        cluster.restart()
        cluster.plan()
    cluster.store.write(lambda tx: cluster.repair.surplus.remove_ended(tx, after))
    with cluster.store.read() as reader:
        assert not cluster.repair.surplus.given_up(reader, digest, gone, before)


def test_a_write_under_way_does_not_make_a_damaged_copy_whole(cluster: Movers) -> None:
    """What was sealed before the damage was found is not counted by a commit that comes after the report; what is
    sealed later is."""
    digest = cluster.add_blob("blob", "1", "2")
    new = chunk_digest(b"not in the metadata yet")
    before = cluster.clock.now()
    cluster.repair.damaged("1", [digest, new])
    with cluster.store.read() as reader:
        for one in (digest, new):
            assert cluster.repair.surplus.given_up(reader, one, "1", before)
            assert not cluster.repair.surplus.given_up(reader, one, "2", before)
            assert not cluster.repair.surplus.given_up(reader, one, "1", cluster.clock.now() + 1)


def test_a_late_word_does_not_bring_a_dropped_copy_back(cluster: Movers) -> None:
    """An inventory that was on its way while the copy went is not believed; an order's own report is."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.work()
    (gone,) = {"1", "2", "3"} - set(cluster.holders(digest))
    cluster.repair.held(gone, [digest])
    assert gone not in cluster.holders(digest)
    left = cluster.holders(digest)[0]
    cluster.lose(left)
    cluster.settle()
    assert cluster.obey() == 1
    assert gone in cluster.holders(digest)


def test_an_order_for_another_server_makes_no_late_word_true(tmp_path: Path) -> None:
    """Only who was ordered to make the copy again is believed; others still speak of the one they dropped."""
    cluster = Movers(tmp_path, {"1": "a", "2": "b", "3": "c", "4": "d"})
    digests = [cluster.add_blob(f"blob {n}", "1", "2", "3") for n in range(20)]
    cluster.work()
    gone = {digest: min({"1", "2", "3"} - set(cluster.holders(digest))) for digest in digests}
    cluster.pass_time(10 + GRACE + 1, "2", "3", "4")
    cluster.settle()
    ordered = [(id, order.digest) for id, orders in cluster.orders().items() for order in orders]
    late = [digest for id, digest in ordered if gone[digest] not in (id, "1")]
    assert late
    for digest in late:
        cluster.repair.held(gone[digest], [digest])
        assert gone[digest] not in cluster.holders(digest)
    cluster.store.close()


# ---------------------------------------------------------------- zones and servers that leave


def test_copies_spread_when_a_zone_is_added(tmp_path: Path) -> None:
    """Files whose copies share a zone get one in the new zone and lose one in the old, and none is short meanwhile."""
    cluster = Movers(tmp_path, {"1": "a", "2": "a"})
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(30)]
    cluster.settle()
    assert cluster.orders() == {}
    cluster.zones["3"] = "b"
    cluster.register("3", "b")
    cluster.beat("3")
    cluster.work()
    assert set(cluster.sets(*digests)) <= {"13", "23"}
    cluster.store.close()


def test_copies_spread_when_a_server_comes_back_in_another_zone(tmp_path: Path) -> None:
    """A server that is started again with another zone's name may stand beside a copy now: that is found at once, also
    when the zones are the same ones as before."""
    cluster = Movers(tmp_path, {"1": "a", "2": "b", "3": "b"})
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(20)]
    cluster.work()
    cluster.register("2", "a")
    cluster.beat("2")
    cluster.work()
    assert set(cluster.sets(*digests)) <= {"13", "23"}
    cluster.store.close()


def test_a_drained_server_ends_empty_and_can_go(cluster: Movers) -> None:
    """Everything is copied elsewhere first, then dropped here; only then does removing need no force."""
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(25)]
    with pytest.raises(Conflict, match="25 blobs") as refused:
        cluster.draining.remove("1")
    assert refused.value.facts["blobs"] == 25
    cluster.draining.drain("1")
    cluster.settle()
    assert cluster.repair.info().to_move == 25
    assert cluster.repair.info().under_copied == 0
    assert not cluster.repair.finished()
    cluster.work()
    assert set(cluster.sets(*digests)) == {"23"}
    assert cluster.repair.info().to_move == 0
    assert cluster.repair.is_settled()
    assert cluster.repair.finished()
    cluster.draining.remove("1")
    with pytest.raises(Conflict, match="removed"):
        cluster.draining.drain("1", stop=True)
    with pytest.raises(NotFound):
        cluster.draining.drain("9")


def test_a_server_whose_disk_is_full_is_drained_when_it_can_be_removed(cluster: Movers) -> None:
    """It can drop nothing, so it never ends empty; `drained` is said as soon as `remove` accepts it, and not before."""
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(25)]
    cluster.draining.drain("1")
    for _ in range(20):
        assert cluster.draining.is_drained("1") == all("3" in cluster.holders(digest) for digest in digests)
        cluster.machine.advance(0.5)
        cluster.beat("2", "3")
        cluster.beat("1", problem="the disk is full", healthy=False, free_bytes=0)
        cluster.settle()
        cluster.obey()
        cluster.drop()
    assert cluster.draining.is_drained("1")
    assert all("1" in cluster.holders(digest) for digest in digests)
    cluster.draining.remove("1")


def test_a_drain_can_be_taken_back(cluster: Movers) -> None:
    """What was not moved yet stays; what was moved is trimmed."""
    digests = [cluster.add_blob(f"blob {n}", "1", "2") for n in range(20)]
    cluster.draining.drain("1")
    cluster.settle()
    cluster.draining.drain("1", stop=True)
    cluster.obey()
    cluster.work()
    assert all(len(cluster.holders(digest)) == 2 for digest in digests)
    assert cluster.repair.info().to_move == 0


def test_a_drain_that_leaves_too_few_servers_is_refused(tmp_path: Path) -> None:
    """With two servers and two copies none may leave: every write would fail from then on."""
    cluster = Movers(tmp_path, {"1": "a", "2": "b"})
    with pytest.raises(Conflict, match="add a file server first"):
        cluster.draining.drain("1")
    cluster.store.close()


def test_force_gives_up_what_is_nowhere_else(cluster: Movers) -> None:
    """A server removed by force is forgotten at once: what others have is repaired, the rest is lost and counted."""
    shared, alone = cluster.add_blob("shared", "1", "2"), cluster.add_blob("alone", "1")
    cluster.draining.remove("1", force=True)
    cluster.zones.pop("1")
    cluster.work()
    assert cluster.sets(shared, alone) == ["23", ""]
    assert cluster.repair.info().without_living_copy == 1
    assert cluster.repair.finished()


def test_a_removal_that_was_cut_short_is_finished(cluster: Movers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the decision and the forgetting leaves copies that count for nothing; the next start forgets
    them. What the removed server still reports is not counted."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    monkeypatch.setattr(cluster.membership, "_forget_held", lambda id: None)
    cluster.draining.remove("1", force=True)
    assert cluster.sets(digest) == ["123"]
    cluster.zones.pop("1")
    cluster.restart()
    cluster.plan()
    assert cluster.sets(digest) == ["23"]
    cluster.repair.held("1", [digest])
    assert cluster.sets(digest) == ["23"]


def test_a_surplus_that_is_none_any_more_is_forgotten(cluster: Movers) -> None:
    """A server dies while a copy is to be trimmed: nothing goes, and nothing is shown as too many."""
    digest = cluster.add_blob("blob", "1", "2", "3")
    cluster.settle()
    assert cluster.repair.info().surplus == 1
    cluster.lose("1")
    cluster.settle()
    cluster.settle()
    assert cluster.repair.info().surplus == 0
    assert (cluster.drop(), cluster.sets(digest)) == (0, ["123"])


# ---------------------------------------------------------------- damage


def test_all_copies_damaged_is_tried_once_and_then_lost(cluster: Movers) -> None:
    """One of the servers is told to put the blob together from the parts of all; if it cannot, the blob is counted as
    lost, and tried again only with the next walk."""
    digest = cluster.add_blob("blob", "1", "2")
    for id in ("1", "2"):
        cluster.repair.damaged(id, [digest])
    assert cluster.repair.info().without_living_copy == 1
    cluster.settle()
    orders = cluster.orders()
    ((target, (order,)),) = orders.items()
    assert {target, *(source.id for source in order.sources)} == {"1", "2"}
    cluster.pass_time(70, *cluster.zones)
    cluster.settle()
    assert cluster.orders() == {}
    assert cluster.repair.finished()
    cluster.pass_time(600, *cluster.zones)
    cluster.settle()
    assert len(cluster.orders()) == 1
    cluster.repair.held(target, [digest])
    assert cluster.repair.info().without_living_copy == 0
    cluster.work()
    assert len(cluster.blob(digest).sound) == 2
