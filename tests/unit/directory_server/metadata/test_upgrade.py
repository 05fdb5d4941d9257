"""Metadata that cannot be opened is named in one sentence, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from directory_server.maintenance.restore import accept_older
from directory_server.metadata import upgrade as upgrading
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.engines.sqlite.store import SqliteStore
from lockstep_store.wire.errors import Damaged, StorageFormatError, Unavailable
from tests.fakes.damaged_schema import spoil_a_table_name


def test_a_full_disk_is_told_from_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite reports both as the same class of error, but a person does something else."""
    with pytest.raises(Unavailable, match="check its disk, its owner and its permissions"):
        upgrading.upgrade(tmp_path / "missing" / "metadata.db")
    prepare = upgrading._prepare

    def with_three_pages(connection: Any, record: object) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA max_page_count = 3").close()

    monkeypatch.setattr(upgrading, "_prepare", with_three_pages)
    with pytest.raises(Unavailable, match=r"disk is full\): free space on that disk"):
        upgrading.upgrade(tmp_path / "metadata.db")


def test_a_damaged_schema_is_told_from_a_fault_of_the_program(tmp_path: Path) -> None:
    """With checksums, without them (as a restored backup), and when older metadata is accepted."""
    file = tmp_path / "metadata.db"
    SqliteStore(file).close()
    spoil_a_table_name(file, b"journal")
    with pytest.raises(Damaged, match="restore a backup"):
        SqliteStore(file)
    with pytest.raises(Damaged):
        accept_older(file)
    forget_checks(file)
    with pytest.raises(StorageFormatError, match="restore a backup"):
        SqliteStore(file)
