"""The engine that an address chooses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from directory_server.metadata.engines.chosen import open_metadata, place_of
from directory_server.metadata.engines.sqlite.store import SqliteStore
from lockstep_store.wire.errors import SetupError

ADDRESS = "postgresql://db.example.org/lockstep"


def test_without_an_address_the_metadata_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "metadata.db"
    store = open_metadata(file, "")
    assert isinstance(store, SqliteStore)
    store.close()
    assert place_of(file, "") == file
    assert file.exists()


@pytest.mark.parametrize("opening", [open_metadata, place_of])
def test_a_missing_driver_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Callable[[Path, str], object]
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for module in ("store", "stopped"):
        monkeypatch.delitem(sys.modules, f"directory_server.metadata.engines.postgres.{module}", raising=False)
    with pytest.raises(SetupError, match=r"pip install 'lockstep-store\[postgres\]'"):
        opening(tmp_path / "metadata.db", ADDRESS)
