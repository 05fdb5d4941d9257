"""Metadata that cannot be opened is named in one sentence, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata import upgrade as upgrading
from lockstep_store.wire.errors import Unavailable


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
