"""Redo records: each transaction's changes, from which a copy of the metadata before it becomes the metadata after."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.maintenance.redo_log import RedoLog, bodies_of, to_wire
from directory_server.maintenance.replay import replay
from directory_server.metadata import redo_lines, schema, schema_locks
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.redo_lines import UNRECORDED
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import redo
from directory_server.metadata.store import ConstraintBroken, Tx
from lockstep_store.wire.errors import Damaged, Unavailable
from lockstep_store.wire.messages.redo import RedoPlace, RedoReply
from tests.fakes.clock import ManualClock

b = bindparam
PUT_SETTING = Statement(insert(schema.setting).prefix_with("OR REPLACE").values(name=b("name"), value=b("value")))
PUT_BLOB = Statement(insert(schema.blob).values(digest=b("digest"), size=b("size"), refs=b("refs")))
COUNT_BLOB = Statement(update(schema.blob).where(schema.blob.c.digest == b("d")).values(refs=schema.blob.c.refs + 1))
DROP_BLOBS = Statement(delete(schema.blob).where(schema.blob.c.refs > b("many")))
RENAME_BUCKET = Statement(update(schema.bucket).where(schema.bucket.c.name == b("old")).values(name=b("new")))
PUT_BUCKET = Statement(
    insert(schema.bucket).values(
        name=b("name"), owner="o", versioning="off", shared=False, created_at=b("at"), since_cursor=0
    )
)
PUT_JOURNAL = Statement(insert(schema.journal).values(kind="write", bucket="b", path=b("path"), version="", at=b("at")))
PUT_S3_KEY = Statement(
    insert(schema.s3_key).values(
        access_key_id=b("id"), secret="s", account="a", created_at=1.5, name="", session_hash=b("hash"), expires=b("t")
    )
)
PUT_LOCK_PATH = Statement(insert(schema_locks.lock_path).values(bucket="b", path=b("path"), lock_number=1))


class Metadata:
    """A store with a whole copy of an earlier moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteStore(folder / "metadata.db")
        self.clock = ManualClock()
        self.log = RedoLog(self.store, self.clock, lambda: {"k": b"k" * 32})  # type: ignore[arg-type]
        self.put("first", "1")

    def put(self, name: str, value: str) -> None:
        self.store.write(lambda tx: tx.run(PUT_SETTING, name=name, value=value))

    def copy(self, name: str = "copy.db") -> Path:
        path = self.folder / name
        self.store.copy_to(path)
        return path

    def replies(self, after: RedoPlace) -> Iterator[RedoReply]:
        while (reply := self.log.read(after, sealed=False)).batch is not None:
            yield reply
            after = reply.batch.through

    def assert_follows(self, copy: Path) -> None:
        """The copy and the records since are the metadata as it is now."""
        with closing(sqlite3.connect(copy, isolation_level=None)) as db:
            place = redo.HistoryPlace(
                *db.execute("SELECT sequence, chain FROM redo_record ORDER BY 1 DESC LIMIT 1").fetchone()
            )
            replay(db, [reply.batch for reply in self.replies(to_wire(place)) if reply.batch is not None])
        now = self.copy("now.db")
        assert contents(copy) == contents(now)
        now.unlink()


def contents(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [table for table in schema.metadata.tables if table not in UNRECORDED - {"redo_record"}]
        found = {name: db.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall() for name in tables}
        found["numbers"] = db.execute("SELECT * FROM sqlite_sequence WHERE name IN ('journal', 'event')").fetchall()
        return found


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[Metadata]:
    made = Metadata(tmp_path)
    yield made
    made.store.close()


def test_records_lead_from_a_copy_to_the_metadata_as_it_is(metadata: Metadata) -> None:
    """Rows put, replaced, changed, renamed and removed, with every kind of value, are the same after a replay."""
    copy = metadata.copy()
    odd = "a\0b\n\"\\ \ufffe \U0001f600 '"

    def work(tx: Tx) -> None:
        for number in range(5):
            tx.run(PUT_BLOB, digest=bytes([number]) * 32, size=1 << 60, refs=number)
            tx.run(PUT_JOURNAL, path=odd, at=0.1 + number)
        tx.run(COUNT_BLOB, d=bytes(32))
        tx.run(DROP_BLOBS, many=2)
        tx.run(PUT_BUCKET, name="old", at=1e-300)
        tx.run(RENAME_BUCKET, old="old", new=odd)
        tx.run(PUT_S3_KEY, id="1", hash=None, t=None)
        tx.run(PUT_S3_KEY, id="2", hash=b"\0\xff" * 16, t=1 / 3)

    metadata.store.write(work)
    metadata.put("first", odd)
    metadata.assert_follows(copy)


def test_what_was_undone_is_in_no_record(metadata: Metadata) -> None:
    """Neither a savepoint's rows, nor those of a statement that broke a constraint, nor a failed transaction's."""
    copy = metadata.copy()

    def work(tx: Tx) -> None:
        tx.run(PUT_BLOB, digest=b"1" * 32, size=1, refs=1)
        with pytest.raises(ConstraintBroken):
            tx.run(PUT_BLOB, digest=b"1" * 32, size=2, refs=2)
        with pytest.raises(KeyError), tx.savepoint():
            tx.run(PUT_BLOB, digest=b"2" * 32, size=2, refs=2)
            raise KeyError

    metadata.store.write(work)

    def fail(tx: Tx) -> None:
        tx.run(PUT_BLOB, digest=b"3" * 32, size=2, refs=2)
        raise KeyError

    with pytest.raises(KeyError):
        metadata.store.write(fail)
    metadata.assert_follows(copy)


def test_a_transaction_that_changes_nothing_leaves_no_record(metadata: Metadata) -> None:
    """Nor does one that changes only what a restore empties."""
    before = metadata.log.place()
    metadata.store.write(lambda tx: tx.one(redo.NEWEST))
    metadata.store.write(lambda tx: tx.run(PUT_LOCK_PATH, path="p"))
    assert metadata.log.place() == before


def test_records_go_on_after_a_restart_and_after_a_failed_commit(metadata: Metadata) -> None:
    """The chain of records is the metadata's, not the program's."""
    copy = metadata.copy()
    metadata.put("a", "1")
    metadata.store.close()
    metadata.store = SqliteStore(metadata.folder / "metadata.db")
    metadata.log = RedoLog(metadata.store, metadata.clock, lambda: {"k": b"k" * 32})  # type: ignore[arg-type]
    metadata.put("a", "2")
    metadata.store._drop_writer()
    metadata.put("a", "3")
    metadata.assert_follows(copy)


def test_a_record_of_a_commit_that_failed_is_forgotten(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer remembers its newest record, but only of what was committed."""
    copy = metadata.copy()
    metadata.put("a", "1")

    def fail(self: SqliteStore, tx: Tx) -> None:
        raise Unavailable("the disk does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "_commit", fail)
        with pytest.raises(Unavailable):
            metadata.put("a", "2")
    metadata.put("a", "3")
    metadata.assert_follows(copy)


def test_a_record_asks_for_the_newest_once(metadata: Metadata) -> None:
    """Nothing else writes to the file meanwhile, so no transaction has to read it."""
    asked: list[str] = []
    assert metadata.store._writer is not None
    metadata.store._writer.connection.set_trace_callback(asked.append)
    for number in range(3):
        metadata.put("a", str(number))
    assert len([statement for statement in asked if statement.startswith("INSERT INTO redo_record")]) == 3
    assert not [statement for statement in asked if "FROM redo_record" in statement]


def test_random_changes_are_followed(metadata: Metadata) -> None:
    """Some thousand random statements in transactions of any length, followed from three moments."""
    choose = random.Random(7)
    copies = []

    def work(tx: Tx) -> None:
        for _ in range(choose.randrange(1, 30)):
            digest = bytes([choose.randrange(20)]) * 32
            with tx.savepoint():
                if choose.random() < 0.5 and not tx.run(COUNT_BLOB, d=digest):
                    tx.run(PUT_BLOB, digest=digest, size=choose.randrange(9), refs=0)
                elif choose.random() < 0.3:
                    tx.run(DROP_BLOBS, many=choose.randrange(9))
                else:
                    tx.run(PUT_SETTING, name=str(choose.randrange(9)), value=str(choose.random()))
                    tx.run(PUT_JOURNAL, path=str(choose.random()), at=choose.random())

    for number in range(60):
        if number % 20 == 0:
            copies.append(metadata.copy(f"copy-{number}.db"))
        metadata.store.write(work)
    for copy in copies:
        metadata.assert_follows(copy)


def test_old_records_go_and_who_is_too_far_behind_is_told(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest record stays in any case, and records from another life are not mixed with this one's."""
    monkeypatch.setattr(redo_lines, "KEPT_BYTES", 20_000)
    place = metadata.log.place()
    for number in range(3 * redo_lines.TRIM_EVERY):
        metadata.put("a", f"{number:0100}")
    reply = metadata.log.read(place, sealed=False)
    assert not reply.known
    assert reply.batch is None
    assert place.sequence < reply.oldest.sequence < reply.newest.sequence
    assert metadata.log.read(reply.oldest, sealed=False).batch is not None
    assert metadata.log.read(reply.newest, sealed=False).known
    other = RedoPlace(reply.newest.sequence, "00" * 16)
    assert not metadata.log.read(other, sealed=False).known
    with metadata.store.read() as reader:
        assert sum(len(row[0]) for row in reader.all(Statement(select(schema.redo_record.c.body)))) < 120_000


def test_a_sealed_batch_is_read_by_nobody_else_and_only_whole(metadata: Metadata) -> None:
    """Sealed for file servers; with another key, or a changed claim about it, it does not open."""
    place = metadata.log.place()
    metadata.put("secret", "verysecret")
    batch = metadata.log.read(place, sealed=True).batch
    assert batch is not None
    with pytest.raises(Damaged):
        bodies_of(batch)
    assert "verysecret" in bodies_of(metadata.log.unseal(batch))[0]
    stranger = RedoLog(metadata.store, metadata.clock, lambda: {"x": b"x" * 32})  # type: ignore[arg-type]
    with pytest.raises(Damaged):
        stranger.unseal(batch)
    batch.made_at += 1
    with pytest.raises(Damaged):
        metadata.log.unseal(batch)
