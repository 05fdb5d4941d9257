"""What every metadata engine promises about copies: damaged ones are marked, given up ones remembered; old databases
are brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from directory_server.metadata.statements import files, servers
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.metadata.upgrade import MIGRATIONS
from lockstep_store.wire.digest import chunk_digest
from tests.contract.store_rows import only_sqlite


@only_sqlite
def test_an_older_schema_is_brought_up_to_date(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """A database made by the first schema keeps its rows: every copy it knows counts as undamaged."""
    engine = create_engine(f"sqlite:///{tmp_path / 'metadata.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        digest = chunk_digest(b"content")
        connection.exec_driver_sql("INSERT INTO blob (digest, size, refs) VALUES (?, 7, 1)", (digest,))
        for rank, id in enumerate(("2", "1")):
            connection.exec_driver_sql("INSERT INTO holder VALUES (?, ?, ?)", (digest, id, rank))
    engine.dispose()
    store = open_store()
    with store.read() as reader:
        assert servers.blob_and_holders(reader, digest) == HeldBlob(digest, 7, ("2", "1"))
        assert servers.latest_drop(reader) == float("-inf")


def test_copies_are_marked_and_healed(store: MetadataStore) -> None:
    """A damaged copy keeps its row and rank, does not count, and counts again once it is whole; rows that are not
    there cannot be marked."""
    digest, other = chunk_digest(b"content"), chunk_digest(b"other")

    def prepare(tx: Tx) -> None:
        for name in (digest, other):
            tx.run(files.INSERT_BLOB, digest=name, size=7)
            for id in ("1", "2"):
                servers.add_holder(tx, name, id)

    store.write(prepare)
    marked = store.write(lambda tx: [servers.mark_damaged(tx, digest, id) for id in ("1", "9")])
    assert marked == [True, False]
    with store.read() as reader:
        (first, second) = sorted(servers.page_of_blobs(reader, b"", 10), key=lambda blob: blob.digest != digest)
        assert (first.holders, first.damaged, first.sound) == (("1", "2"), ("1",), ("2",))
        assert second.sound == ("1", "2")
        assert servers.counted_copies(reader) == {"1": 1, "2": 2}
        assert servers.digests_held_by(reader, "1", b"", 10) == sorted([digest, other])
    assert store.write(lambda tx: [servers.add_holder(tx, digest, "1") for _ in range(2)]) == [True, False]
    with store.read() as reader:
        assert servers.blob_and_holders(reader, digest) == HeldBlob(digest, 7, ("1", "2"))


def test_drops_are_remembered_until_they_are_old(store: MetadataStore) -> None:
    """Of each copy the latest drop counts; what is older than any ticket is forgotten."""
    digest = chunk_digest(b"content")
    for time in (10.0, 20.0):
        store.write(lambda tx, time=time: servers.remember_drop(tx, digest, "1", time))  # type: ignore[misc]
    with store.read() as reader:
        assert servers.was_dropped(reader, digest, "1", 20.0)
        assert not servers.was_dropped(reader, digest, "1", 20.5)
        assert not servers.was_dropped(reader, digest, "2", 0.0)
        assert servers.latest_drop(reader) == 20.0
    store.write(lambda tx: servers.forget_drops(tx, 21.0))
    with store.read() as reader:
        assert not servers.was_dropped(reader, digest, "1", 0.0)
