"""The search index of every metadata engine: filled in the transaction that makes or removes a path."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from directory_server.maintenance.restore import accept_older
from directory_server.metadata.statements import files, redo, search
from directory_server.metadata.statements.consistency import CHECKS, find_broken
from directory_server.metadata.store import MetadataStore, Reader, Tx
from tests.contract.store_rows import only_sqlite


def add(tx: Tx, path: str, bucket: str = "files", version: str = "1") -> None:
    row: dict[str, Any] = {"bucket": bucket, "path": path, "version": version, "digest": bytes(32), "size": 0}
    row |= {"content_type": "", "metadata": "{}", "author": "ann", "created_at": 0.0}
    tx.run(files.INSERT_CURRENT, **row, lock_number=0, null_version=False, cursor=1)


def remove(tx: Tx, path: str, bucket: str = "files") -> None:
    tx.run(files.DELETE_CURRENT, bucket=bucket, path=path)


def found(reader: Reader, *texts: str, bucket: str = "files") -> list[str]:
    number = search.bucket_numbers(reader).get(bucket)
    return [] if number is None else [row[1] for row in reader.containing([texts], *search.ids_of(number), 1000)]


def find(store: MetadataStore, *texts: str, bucket: str = "files") -> list[str]:
    with store.read() as reader:
        return found(reader, *texts, bucket=bucket)


def broken(store: MetadataStore) -> list[tuple[str, str]]:
    with store.read() as reader:
        checks = [check for check in CHECKS if "search" in check.kind]
        assert len(checks) == 3
        return [(check.kind, name) for check in checks for name, _ in find_broken(reader, check, 100)]


def test_paths_are_found_while_they_are_there(store: MetadataStore) -> None:
    """By any part, in any case, the newest path first; a path that is undone or removed is not."""

    def work(tx: Tx) -> None:
        for path in ("plans/Roof.txt", "plans/über.txt", "x", "proof"):
            add(tx, path)
        with pytest.raises(KeyError), tx.savepoint():
            add(tx, "roof of nobody")
            remove(tx, "proof")
            raise KeyError
        assert found(tx, "roof") == ["proof", "plans/Roof.txt"]

    store.write(work)
    assert find(store, "ROOF") == ["proof", "plans/Roof.txt"]
    assert find(store, "oof", "plan") == ["plans/Roof.txt"]
    assert find(store, "ÜBER") == ["plans/über.txt"]
    assert find(store, "x") == find(store, "of") == find(store, "nobody") == []
    store.write(lambda tx: remove(tx, "proof"))
    assert find(store, "roof") == ["plans/Roof.txt"]
    store.write(lambda tx: search.fill(tx, 100))
    assert broken(store) == []


def test_buckets_are_apart(store: MetadataStore) -> None:
    """One bucket's files are no other's, also when it is made again."""
    store.write(lambda tx: [add(tx, f"file {bucket}", bucket) for bucket in ("one", "two", "one-2")])
    for bucket in ("one", "two", "one-2"):
        assert find(store, "file", bucket=bucket) == [f"file {bucket}"]
    store.write(lambda tx: remove(tx, "file two", "two"))
    assert find(store, "file", bucket="two") == []
    store.write(lambda tx: add(tx, "file again", "two"))
    assert find(store, "file", bucket="two") == ["file again"]
    assert find(store, "file", bucket="one") == ["file one"]


def test_an_engine_that_is_opened_again_goes_on(open_store: Callable[..., MetadataStore]) -> None:
    store = open_store()
    store.write(lambda tx: add(tx, "before"))
    store.close()
    store = open_store()
    store.write(lambda tx: add(tx, "before and after"))
    assert find(store, "before") == ["before and after", "before"]


def test_records_made_again_fill_it(store: MetadataStore) -> None:
    """Late redo records change files, and the index with them; a row that is replaced is found once."""
    store.write(lambda tx: add(tx, "early"))
    store.write(lambda tx: add(tx, "late"))
    store.write(lambda tx: remove(tx, "early"))
    with store.read() as reader:
        bodies = [record.body for record in redo.records_after(reader, 1, 1 << 20)]
    assert len(bodies) == 3

    def work(tx: Tx) -> None:
        remove(tx, "late")
        tx.apply_records(bodies)
        tx.apply_records(bodies[1:2])

    store.write(work)
    assert find(store, "late") == ["late"]
    assert find(store, "early") == []
    store.write(lambda tx: search.fill(tx, 100))
    assert broken(store) == []


def forget_index(file: Path) -> None:
    """As before the upgrade that brought it."""
    with closing(sqlite3.connect(file)) as db:
        for statement in search.EMPTY:
            db.execute(statement)
        db.execute("DELETE FROM search_bucket")
        db.commit()


@only_sqlite
def test_an_older_file_is_filled_step_by_step(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """A restart goes on where it was, and what is written or removed meanwhile is found once or not at all."""
    store = open_store(checked=False)
    paths = [f"file {number:02}" for number in range(10)]
    store.write(lambda tx: [add(tx, path, bucket) for path in paths for bucket in ("a", "b")])
    store.close()
    forget_index(tmp_path / "metadata.db")
    store = open_store(checked=False)
    assert find(store, "file", bucket="a") == []
    steps = 0
    while not store.write(lambda tx: search.fill(tx, 3)):
        steps += 1
        if steps == 1:
            store.write(lambda tx: [remove(tx, "file 01", "a"), remove(tx, "file 09", "a"), add(tx, "file 99", "a")])
            store.write(lambda tx: [add(tx, "file 98", "c"), add(tx, "file 001", "a")])
        if steps == 4:
            store.close()
            store = open_store(checked=False)
        with store.read() as reader:
            assert not search.is_filled(reader)
    with store.read() as reader:
        assert search.is_filled(reader)
    assert steps == 7
    assert sorted(find(store, "file", bucket="a")) == ["file 00", "file 001", *paths[2:9], "file 99"]
    assert sorted(find(store, "file", bucket="b")) == paths
    assert find(store, "file", bucket="c") == ["file 98"]
    assert broken(store) == []


@only_sqlite
def test_a_restored_file_fills_it_again(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """What a restore changes is in no transaction of the engine."""
    store = open_store(checked=False)
    store.write(lambda tx: add(tx, "kept"))
    store.write(lambda tx: search.fill(tx, 100))
    store.close()
    accept_older(tmp_path / "metadata.db")
    store = open_store(checked=False)
    assert find(store, "kept") == []
    store.write(lambda tx: add(tx, "kept too"))
    assert store.write(lambda tx: search.fill(tx, 100))
    assert find(store, "kept") == ["kept", "kept too"]
    assert broken(store) == []
    assert store.defects() == []


@only_sqlite
@pytest.mark.parametrize(
    ("damage", "kind", "name"),
    [
        ("DELETE FROM search_file", "file not in the search index", "files/file"),
        ("INSERT INTO search_file VALUES (5, 1, 'none', 'none')", "search index", "none"),
        ("INSERT INTO search_index (search_index) VALUES ('delete-all')", "name not in the search index", "file"),
    ],
)
def test_fsck_finds_what_differs(
    open_store: Callable[..., MetadataStore], tmp_path: Path, damage: str, kind: str, name: str
) -> None:
    store = open_store(checked=False)
    store.write(lambda tx: add(tx, "file"))
    store.write(lambda tx: search.fill(tx, 100))
    assert broken(store) == []
    with closing(sqlite3.connect(tmp_path / "metadata.db")) as db:
        db.execute(damage)
        db.commit()
    assert (kind, name) in broken(store)
