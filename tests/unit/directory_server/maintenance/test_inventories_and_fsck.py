"""The directory's side of inventories and fsck: what disagrees is found, and nothing that agrees is called so."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from directory_server.maintenance.fsck import Fsck, check_metadata
from directory_server.maintenance.inventory import Inventories
from directory_server.maintenance.recovery import Recovery
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import search, servers
from directory_server.repair.planner import RepairPlanner
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.messages.servers import InventoryReply, InventoryRequest
from tests.fakes.directory_rig import DirectoryRig, heartbeat


class Rig(DirectoryRig):
    """A directory that compares."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.repair = RepairPlanner(self.store, self.clock, self.membership, self.collector, self.copies)
        self.recovery = Recovery(self.store, self.clock, self.locks, self.repair.held, self.hooks)
        self.collector.keeps = self.recovery.keeps
        self.collector.remember = self.repair.surplus.remember
        self.inventories = Inventories(self.store, self.recovery, self.repair.held)
        self.fsck = Fsck(self.store, self.clock, self.membership, self.inventories)

    def holders(self, digest: Digest) -> list[str]:
        with self.store.read() as reader:
            return sorted(servers.holders_of(reader, digest))

    def compare(self, id: str, *digests: Digest, order: int = 0) -> InventoryReply:
        return self.inventories.compare(id, InventoryRequest(order, None, None, sorted(digests)))

    def sql(self, statement: str, *values: object) -> None:
        """Change the metadata behind the directory's back."""
        with closing(sqlite3.connect(self.folder / "metadata.db", isolation_level=None)) as db:
            db.execute(statement, values)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


# ---------------------------------------------------------------- inventories


def test_a_page_that_agrees_changes_nothing(rig: Rig) -> None:
    """A server that names exactly what the metadata counts hears nothing and changes nothing."""
    digest = rig.write("a.txt").digest
    holders = rig.holders(digest)
    assert rig.compare(holders[0], digest) == InventoryReply([], [], 0, None)
    assert rig.holders(digest) == holders


def test_what_the_metadata_counts_and_nobody_named_is_missing(rig: Rig) -> None:
    """Exactly the copies counted on that server within the page's range are answered as missing."""
    digests = sorted(rig.write(f"{n}.txt", b"%d" % n).digest for n in range(6))
    mine = [digest for digest in digests if "1" in rig.holders(digest)]
    assert mine
    assert rig.compare("1").missing == mine
    request = InventoryRequest(0, mine[0], mine[-1], [])
    assert rig.inventories.compare("1", request).missing == mine[1:]
    rig.repair.damaged("1", mine)
    assert rig.compare("1").missing == [], "what was reported already is not asked for again"


def test_a_copy_that_is_not_counted_is_counted_again(rig: Rig) -> None:
    """A server that holds a blob which the metadata do not count there becomes its holder, once."""
    digest = rig.write("a.txt").digest
    other = next(id for id in "123" if id not in rig.holders(digest))
    assert rig.compare(other, digest).counted == 1
    assert rig.holders(digest) == ["1", "2", "3"]
    assert rig.compare(other, digest).counted == 0


def test_what_no_version_refers_to_is_left_to_the_collector(rig: Rig) -> None:
    """A blob of a write that is not committed is neither missing nor counted nor dropped."""
    begun = rig.begin("a.txt")
    reply = rig.compare("1", chunk_digest(b"sealed, not committed"))
    assert reply == InventoryReply([], [], 0, None)
    committed = rig.commit(begun, b"sealed, not committed")
    assert committed.copies == 2


def test_a_copy_that_was_just_given_up_is_not_counted(rig: Rig) -> None:
    """A page that was read before the collector let a copy go does not make it count."""
    version = rig.write("a.txt", b"short life")
    rig.delete("a.txt", version=version.version)
    rig.time.advance(10_000)
    for id in "123":
        rig.server_up(id)
    holders = rig.holders(version.digest)
    assert rig.collector.collect(holders[0], [version.digest]) == [version.digest]
    again = rig.begin("b.txt")  # the same content comes back, on whichever servers
    others = [id for id in "123" if id != holders[0]]
    rig.commit(again, b"short life", holders=others)
    assert rig.compare(holders[0], version.digest) == InventoryReply([], [], 0, None)
    assert rig.holders(version.digest) == others


def test_a_range_with_more_copies_than_one_answer_can_name_is_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lost everything is told of it in bounded pages that together name all of it."""
    monkeypatch.setattr("directory_server.maintenance.inventory.MAX_INVENTORY", 4)
    digests = sorted(rig.write(f"{n}.txt", b"%d" % n).digest for n in range(15))
    mine = [digest for digest in digests if "1" in rig.holders(digest)]
    missing: list[Digest] = []
    after: Digest | None = None
    while True:
        reply = rig.inventories.compare("1", InventoryRequest(0, after, None, []))
        assert len(reply.missing) <= 4
        missing += reply.missing
        after = reply.through
        if after is None:
            break
    assert missing == mine


# ---------------------------------------------------------------- fsck

SEEDED = {
    "total": "UPDATE folder_total SET files = files + 1",
    "reference count": "UPDATE blob SET refs = refs + 1",
    "version without its blob": "DELETE FROM blob",
    "size": "UPDATE blob SET size = size + 1",
    "part without its blob": "INSERT INTO part (upload, number, digest, size, facts, write_id, at)"
    " VALUES ('u', 1, zeroblob(32), 1, '{}', 'w', 0)",
    "part without its upload": "INSERT INTO part (upload, number, digest, size, facts, write_id, at)"
    " SELECT 'u', 1, digest, size, '{}', 'w', 0 FROM blob LIMIT 1",
    "upload without its bucket": "INSERT INTO upload (id, bucket, path, account, content_type, metadata, settings,"
    " since_at) VALUES ('u', 'never', 'p', 'ann', '', '{}', '{}', 0)",
    "delete marker": "UPDATE version SET delete_marker = 1",
    "current version missing": "UPDATE current SET author = 'somebody else'",
    "current version not the newest": "UPDATE current SET version = (SELECT min(id) FROM version)",
    "file without a current version": "DELETE FROM current",
    "two null versions": "UPDATE version SET null_version = 1",
    "version not in the journal": "DELETE FROM journal WHERE cursor = 1",
    "version without its bucket": "DELETE FROM bucket",
    "bucket without its owner": "UPDATE bucket SET owner = 'nobody'",
    "copy on an unknown file server": "DELETE FROM file_server WHERE id = '1'",
    "copy of an unknown blob": "INSERT INTO holder (digest, server_id, rank) VALUES (zeroblob(32), '1', 0)",
    "blob without a copy": "DELETE FROM holder",
    "locked path without its lock": "DELETE FROM lock",
    "lock without a path": "DELETE FROM lock_path",
    "fence behind its lock": "DELETE FROM path_fence",
    "lock number ahead of its counter": "UPDATE counter SET value = 0",
    "waiting path without its waiter": "INSERT INTO waiter_path (bucket, path, seq) VALUES ('files', 'x', 9)",
    "use of a quota": "INSERT INTO usage (scope, name, resource, used) VALUES ('bucket', 'files', 'bytes', 1)",
    "quota without its count": "INSERT INTO quota (scope, name, resource, allowed)"
    " VALUES ('account', 'ann', 'files', 1)",
    "key without its account": "INSERT INTO api_key (key_hash, id, account, name, created_at)"
    " VALUES (zeroblob(32), 'k', 'nobody', '', 0)",
    "S3 key without its account": "INSERT INTO s3_key (access_key_id, secret, account, created_at)"
    " VALUES ('k', 's', 'nobody', 0)",
    "file not in the search index": "DELETE FROM search_file",
    "search index": "INSERT INTO search_file (id, number, name, path) VALUES (5, 1, 'none', 'none')",
    "name not in the search index": "INSERT INTO search_index (search_index) VALUES ('delete-all')",
}


@pytest.fixture(scope="module")
def busy_metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metadata of a directory in which everything that can disagree exists."""
    rig = Rig(tmp_path_factory.mktemp("busy"))
    rig.write("a.txt", b"one")
    rig.write("a.txt", b"two")
    rig.write("gone.txt", b"one")
    rig.delete("gone.txt")
    rig.copy("a.txt", "b.txt")
    rig.lock("a.txt")
    rig.store.write(lambda tx: search.fill(tx, 100))
    rig.close()
    return rig.folder / "metadata.db"


@pytest.mark.parametrize("kind", SEEDED)
def test_each_kind_of_disagreement_is_found_by_its_name(busy_metadata: Path, tmp_path: Path, kind: str) -> None:
    """After one change behind the directory's back, that kind of disagreement is reported."""
    changed = tmp_path / "metadata.db"
    shutil.copy(busy_metadata, changed)
    with closing(sqlite3.connect(changed, isolation_level=None)) as db:
        if kind == "two null versions":
            db.execute("DROP INDEX version_null")
        db.execute(SEEDED[kind])
    store = SqliteStore(changed)
    try:
        assert kind in {problem.kind for problem in check_metadata(store)[1]}
    finally:
        store.close()


def test_consistent_metadata_has_no_problem(busy_metadata: Path, tmp_path: Path) -> None:
    """A directory that nobody changed behind its back agrees with itself, whatever was done in it."""
    shutil.copy(busy_metadata, tmp_path / "metadata.db")
    store = SqliteStore(tmp_path / "metadata.db")
    counts, problems, more = check_metadata(store)
    store.close()
    assert (problems, more) == ([], 0)
    assert counts["version"] == 5


def test_every_rule_has_a_seeded_breach() -> None:
    """A rule that no test breaks could be one that finds nothing."""
    from directory_server.metadata.statements.consistency import CHECKS

    assert {check.kind for check in CHECKS} == set(SEEDED)


def run(rig: Rig) -> None:
    for _ in range(20):
        if rig.fsck.report().state == "done":
            return
        rig.fsck.step()


def test_wrong_totals_are_named_and_counted_again(rig: Rig) -> None:
    """The next check finds none."""
    rig.write("folder/a.txt", b"counted")
    rig.store.write(lambda tx: tx.run(Statement(text("DELETE FROM folder_total"))))
    rig.fsck.start(deep=False)
    run(rig)
    assert {problem.kind for problem in rig.fsck.report().problems} == {"total"}
    assert check_metadata(rig.store)[1] == []


def test_a_report_is_finite_and_names_files(rig: Rig) -> None:
    """fsck ends when every server has answered or gone down, and says which files a missing copy is of."""
    digest = rig.write("folder/a.txt", b"lost here").digest
    victim = rig.holders(digest)[0]
    rig.fsck.start(deep=False)
    orders = {id: rig.inventories.order_for(id) for id in "123"}
    for id, order in orders.items():
        assert order is not None
        held = [digest] if id in rig.holders(digest) and id != victim else []
        reply = rig.compare(id, *held, order=order.id)
        if id == victim:
            assert reply.missing == [digest]
            rig.repair.damaged(id, [digest])
            rig.inventories.note_damaged(id, [digest], order.id)
        if id != "3":
            rig.inventories.note_done(id, order.id)
    rig.fsck.step()
    assert rig.fsck.report().state == "running"
    rig.time.advance(20)  # nobody is heard any more, the third never ended
    run(rig)
    report = rig.fsck.report()
    assert report.state == "done"
    assert {server.id: server.state for server in report.file_servers} == {"1": "done", "2": "done", "3": "away"}
    assert [(p.kind, p.name, p.file_server) for p in report.problems] == [
        ("missing copy", "files/folder/a.txt", victim)
    ]
    assert rig.inventories.order_for("1") is None, "what was done is not ordered again"


def test_a_check_under_way_is_joined(rig: Rig) -> None:
    """Starting twice gives one check."""
    rig.fsck.start(deep=True)
    first = rig.inventories.order_for("1")
    rig.fsck.start(deep=False)
    assert rig.inventories.order_for("1") == first
    assert first is not None
    assert first.deep


def test_a_check_ends_although_a_server_that_is_up_cannot_compare(rig: Rig) -> None:
    """One whose storage has a problem and that makes no progress counts as not checked; a healthy one may take long."""
    rig.write("a.txt")
    rig.fsck.start(deep=False)
    rig.fsck.step()

    def beat(*ids: str, problem: str = "") -> None:
        for id in ids:
            said = msgspec.structs.replace(heartbeat(f"https://server-{id}", f"store-{id}"), problem=problem)
            assert rig.membership.heartbeat(id, said)

    for _ in range(100):
        rig.time.advance(1.0)
        beat("1", "2", "3")
        rig.fsck.step()
    assert rig.fsck.report().state == "running", "healthy servers are waited for"
    for _ in range(29):
        rig.time.advance(1.0)
        beat("1", "2")
        beat("3", problem="the file server's index is damaged")
        rig.fsck.step()
    assert {server.state for server in rig.fsck.report().file_servers} == {"waiting"}
    order = rig.inventories.order_for("1")
    assert order is not None
    for id in "12":
        rig.inventories.note_done(id, order.id)
    rig.time.advance(2.0)
    beat("1", "2")
    beat("3", problem="the file server's index is damaged")
    rig.fsck.step()
    rig.fsck.step()
    report = rig.fsck.report()
    assert (report.state, {server.id: server.state for server in report.file_servers}) == (
        "done",
        {"1": "done", "2": "done", "3": "away"},
    )
