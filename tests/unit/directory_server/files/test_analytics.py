"""Analytics: totals that are right after every way in which versions come and go, and who is told about them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from directory_server.files.analytics import DAY_SECONDS, Analytics, note_today
from directory_server.metadata.engines.sqlite.totals import folders_of, kind_of
from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import redo, totals
from directory_server.metadata.statements.consistency import CHECKS, TOTAL, find_broken
from directory_server.metadata.store import Tx
from lockstep_store.wire.content_types import FOUND_TYPE
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotFound
from lockstep_store.wire.messages.analytics import (
    FolderUsageRequest,
    GrowthRequest,
    NamedAmount,
    StorageReply,
    StorageRequest,
)
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName

pytestmark = pytest.mark.usefixtures("every_engine")
only_sqlite = pytest.mark.parametrize("every_engine", ["sqlite"], indirect=True)

PATHS = ("a.txt", "in/a.txt", "in/b.png", "in/deep/c", "other/c", "in/deep/more/d.pdf")
BUCKETS = {"plain": "off", "kept": "enabled", "paused": "suspended"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DirectoryRig]:
    rig = DirectoryRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def analytics(rig: DirectoryRig) -> Analytics:
    return Analytics(rig.store, rig.clock, PeopleByName(), 2)


def wrong(rig: DirectoryRig) -> list[tuple[str, str]]:
    """The totals that a scan contradicts."""
    with rig.store.read() as reader:
        checks = [check for check in CHECKS if check.kind == TOTAL]
        assert len(checks) == 3
        return [found for check in checks for found in find_broken(reader, check, 100)]


def storage(analytics: Analytics, who: str = ADMIN, bucket: str = "") -> StorageReply:
    return analytics.storage(StorageRequest(who, bucket))


def later(rig: DirectoryRig, days: int) -> None:
    rig.time.advance(days * DAY_SECONDS)
    for server in ("1", "2", "3"):
        rig.server_up(server)


def change(rig: DirectoryRig, choice: random.Random) -> None:
    """Something that makes, replaces or removes a version, or is undone."""
    bucket, other = choice.choices(list(BUCKETS), k=2)
    path, target = choice.choices(PATHS, k=2)
    who = choice.choice(("ann", "ben"))
    match choice.randrange(8):
        case 0 | 1 | 2:
            kind = choice.choice(("", "", "image/png", "text/plain; charset=utf-8"))
            content = b"x" * choice.randrange(4)
            rig.write(path, content, who, bucket=bucket, content_type=kind)
        case 3:
            rig.delete(path, who, bucket=bucket)
        case 4:
            one = choice.choice(rig.versions(path, who, bucket=bucket))
            rig.delete(path, who, bucket=bucket, version=one.version)
        case 5:
            rig.copy(path, target, who, source_bucket=bucket, bucket=other)
        case 6:
            rig.copy(path, target, who, source_bucket=bucket, bucket=other, move=True)
        case _:

            def undone(tx: Tx) -> None:
                with suppress(KeyError), tx.savepoint():
                    tx.run(_forget(), bucket=bucket)
                    raise KeyError

            rig.store.write(undone)


def _forget() -> Any:

    return Statement(text("DELETE FROM version WHERE bucket = :bucket"))


@pytest.mark.parametrize("seed", range(5))
def test_totals_are_right_after_anything(rig: DirectoryRig, analytics: Analytics, seed: int) -> None:
    """Writes, overwrites, deletions, copies, moves, in every state of versioning; also after everything is gone."""
    choice = random.Random(seed)
    for name, versioning in BUCKETS.items():
        rig.bucket(name, shared=True, versioning=versioning)
    done = 0
    for _ in range(120):
        if choice.random() < 0.1:
            later(rig, 20)
        with suppress(LockstepError):
            change(rig, choice)
            done += 1
        if choice.random() < 0.2:
            assert wrong(rig) == []
    assert done > 60
    assert wrong(rig) == []
    reply = storage(analytics)
    assert len(reply.months) > 1
    for parts in (reply.buckets, reply.accounts, reply.months):
        assert sum(one.versions for one in parts) == reply.total.versions
        assert sum(one.version_bytes for one in parts) == reply.total.version_bytes
    for bucket in BUCKETS:
        for path in PATHS:
            with suppress(NotFound):
                for one in rig.versions(path, bucket=bucket):
                    rig.delete(path, bucket=bucket, version=one.version)
    assert wrong(rig) == []
    gone = storage(analytics)
    assert (gone.total.files, gone.total.versions, gone.total.version_bytes, gone.buckets) == (0, 0, 0, [])
    assert _rows(rig, "stored_total") == _rows(rig, "folder_total") == 0


def _rows(rig: DirectoryRig, table: str) -> int:

    with rig.store.read() as reader:
        row = reader.one(Statement(text(f"SELECT count(*) FROM {table}")))
    return int(row[0]) if row else -1


def test_a_wrong_total_is_found_and_counted_again(rig: DirectoryRig) -> None:
    """One that is missing, one that is wrong, one that is left over."""

    rig.write("in/a.txt", b"12345")
    for broken in (
        "UPDATE stored_total SET file_bytes = file_bytes + 1",
        "DELETE FROM stored_total",
        "UPDATE folder_total SET files = files + 1 WHERE folder = 'in/'",
        "INSERT INTO folder_total (bucket, folder, files, bytes) VALUES ('files', 'none/', 1, 1)",
        "UPDATE content_total SET blobs = blobs + 1",
    ):
        assert wrong(rig) == []
        rig.store.write(lambda tx, broken=broken: tx.run(Statement(text(broken))))
        assert wrong(rig) != [], broken
        rig.store.write(totals.count_again)


def test_records_that_are_made_again_count_once(rig: DirectoryRig) -> None:
    """Late redo records replace rows, also of files that are there."""

    rig.write("in/a.txt", b"12345")
    rig.write("in/a.txt", b"1234567")
    with rig.store.read() as reader:
        bodies = [record.body for record in redo.records_after(reader, 1, 1 << 20)]
    rig.store.write(lambda tx: tx.apply_records(bodies))
    assert wrong(rig) == []


def test_what_is_there_is_told_by_everything_that_it_is(rig: DirectoryRig, analytics: Analytics) -> None:
    """Files and versions, by bucket, author, month and type; what is equal is stored once."""
    rig.bucket("kept", versioning="enabled", shared=True)
    rig.write("in/a.txt", b"12345", bucket="kept")
    rig.write("in/a.txt", b"1234567", who="ben", bucket="kept")
    rig.write("in/b.png", b"1234567", bucket="kept")
    rig.write("c.png", b"1", bucket="kept", content_type="image/PNG; q=1")
    reply = storage(analytics)
    assert reply.buckets == [NamedAmount("kept", 3, 15, 4, 20)]
    assert reply.accounts == [NamedAmount("ann", 2, 8, 3, 13), NamedAmount("ben", 1, 7, 1, 7)]
    assert [(one.name, one.versions) for one in reply.months] == [("2027-01", 4)]
    assert reply.savings is not None
    assert (reply.savings.version_bytes, reply.savings.content_bytes, reply.savings.deduplicated_bytes) == (20, 13, 7)
    types = analytics.file_types(StorageRequest(ADMIN)).types
    assert types == [NamedAmount("text/plain", 1, 7, 2, 12), NamedAmount("image/png", 2, 8, 2, 8)]
    whole = analytics.folder(FolderUsageRequest("ann", "kept"))
    assert (whole.files, whole.bytes) == (3, 15)
    assert [(one.path, one.files, one.bytes) for one in whole.folders] == [("in/", 2, 14)]
    assert analytics.folder(FolderUsageRequest("ann", "kept", "in/")).folders == []
    assert analytics.folder(FolderUsageRequest("ann", "kept", "none/")).files == 0


def test_each_day_is_noted(rig: DirectoryRig, analytics: Analytics) -> None:
    """As it ended; today is as it is now, and what has not changed is not written again."""

    def note() -> None:
        rig.store.write(lambda tx: note_today(tx, rig.clock.wall()))

    for number in range(3):
        rig.write(f"{number}.txt", b"12345")
        note()
        rig.write(f"{number}.more", b"1")
        note()
        later(rig, 1)
    days = analytics.growth(GrowthRequest(ADMIN)).days
    assert [(one.files, one.file_bytes) for one in days] == [(2, 6), (4, 12), (6, 18), (6, 18)]
    assert [one.name for one in days] == sorted({one.name for one in days})
    assert [one.files for one in analytics.growth(GrowthRequest(ADMIN, days=2)).days] == [6, 6]
    rig.delete("0.txt")
    note()
    assert [one.files for one in analytics.growth(GrowthRequest(ADMIN, days=2)).days] == [6, 5]


def test_owners_and_administrators_are_told(rig: DirectoryRig, analytics: Analytics) -> None:
    """Owners of their own buckets, without what the cluster saves; nobody else of anything."""
    rig.bucket("anns", who="ann")
    rig.write("a", b"12345", bucket="anns")
    assert [one.name for one in storage(analytics, "ann").buckets] == ["anns"]
    assert storage(analytics, "ann").savings is None
    assert storage(analytics, "ben").total.files == 0
    assert storage(analytics, ADMIN, "anns").total.files == storage(analytics, "ann", "anns").total.files == 1
    asks: list[Callable[[], Any]] = [
        lambda: storage(analytics, "ben", "anns"),
        lambda: analytics.file_types(StorageRequest("ben", "anns")),
        lambda: analytics.growth(GrowthRequest("ben", "anns")),
        lambda: analytics.folder(FolderUsageRequest("ben", "anns")),
    ]
    for ask in asks:
        with pytest.raises(Forbidden):
            ask()
    with pytest.raises(NotFound):
        storage(analytics, "ben", "none")
    for path in ("in", "/in/", "../", "x/" * 16):
        with pytest.raises(BadRequest):
            analytics.folder(FolderUsageRequest("ann", "anns", path))


def test_deep_paths_have_totals_as_far_as_they_are_kept(rig: DirectoryRig) -> None:
    """Whatever a path looks like, it counts for a bounded number of folders."""
    assert folders_of("a") == [""]
    assert folders_of("a/b//c") == ["", "a/", "a/b/", "a/b//"]
    assert len(folders_of("/" * 1000)) == totals.MAX_DEPTH + 1
    rig.write("d/" * 500 + "x", b"1")
    assert wrong(rig) == []


def test_a_version_counts_for_the_type_that_it_shows() -> None:
    """Stated, by name, or found; without parameters, and not longer than a key should be."""
    assert kind_of("a.png", "", "{}") == "image/png"
    assert kind_of("a.png", "Text/PLAIN; charset=x", "{}") == "text/plain"
    assert kind_of("a", "", f'{{"{FOUND_TYPE}": "image/gif"}}') == "image/gif"
    assert kind_of("a", "", "{}") == "application/octet-stream"
    assert len(kind_of("a", "x/" + "y" * 300, "{}")) == 100


@only_sqlite
def test_metadata_of_before_is_counted_when_it_is_upgraded(tmp_path: Path) -> None:
    """The totals of an older file are those of a scan from the first moment on."""
    rig = DirectoryRig(tmp_path)
    rig.write("in/a.txt", b"12345")
    rig.write("in/b", b"1")
    rig.close()
    (file,) = tmp_path.rglob("*.db")
    with closing(sqlite3.connect(file)) as db:
        for table in ("stored_total", "folder_total", "content_total", "daily_total"):
            db.execute(f"DROP TABLE {table}")
        db.execute("UPDATE alembic_version SET version_num = '0028'")
        db.commit()
    file.with_name(file.name + ".sums").unlink(missing_ok=True)

    bring_up_to_date(file)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT files, bytes FROM folder_total WHERE folder = 'in/'").fetchall() == [(2, 6)]
        assert db.execute("SELECT sum(files), sum(versions) FROM stored_total").fetchall() == [(2, 2)]
        assert db.execute("SELECT blobs, bytes FROM content_total").fetchall() == [(2, 6)]


@only_sqlite
def test_what_a_write_costs(rig: DirectoryRig) -> None:
    """A total each for the version and the file, one row for each folder; nothing for what stays as it is."""
    rig.bucket("kept", versioning="enabled", shared=True)

    def ran(content: bytes, path: str = "in/deep/a.txt", **fields: Any) -> tuple[int, int]:
        """How often a total and a folder's total changed."""
        before = _changes(rig)
        rig.write(path, content, bucket="kept", **fields)
        return tuple(after - was for after, was in zip(_changes(rig), before, strict=True))  # type: ignore[return-value]

    rig.store.write(_count_changes)
    assert ran(b"12345") == (2, 3)
    assert ran(b"54321") == (1, 0)
    assert ran(b"123456") == (2, 3)
    assert ran(b"123457", who="ben") == (3, 0)
    assert ran(b"1", path="b.txt") == (2, 1)


def _count_changes(tx: Tx) -> None:
    connection = tx._cursor.connection  # type: ignore[attr-defined]
    connection.execute("CREATE TEMP TABLE changes (total TEXT)")
    for total in ("stored_total", "folder_total"):
        for event in ("INSERT", "UPDATE"):
            connection.execute(
                f"CREATE TEMP TRIGGER note_{total}_{event} AFTER {event} ON main.{total}"
                f" BEGIN INSERT INTO changes VALUES ('{total}'); END"
            )


def _changes(rig: DirectoryRig) -> tuple[int, int]:
    found: list[int] = []

    def read(tx: Tx) -> None:
        rows = tx._cursor.connection.execute(  # type: ignore[attr-defined]
            "SELECT count(*) FILTER (WHERE total = 'stored_total'), count(*) FILTER (WHERE total = 'folder_total')"
            " FROM changes"
        )
        found.extend(rows.fetchone())

    rig.store.write(read)
    return found[0], found[1]
