"""Databases whose schema is damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lockstep_store.runtime.storage.sqlite_files import open_database
from tests.fakes.damaged_schema import spoil_a_table_name


def test_a_schema_that_is_not_text_is_a_malformed_database(tmp_path: Path) -> None:
    """Python's module alone raises UnicodeDecodeError, which nobody expects of a database."""
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    open_database(file).close()
    spoil_a_table_name(file, b"something")
    with pytest.raises(sqlite3.DatabaseError, match="malformed database schema") as refused:
        open_database(file)
    assert refused.value.sqlite_errorcode == sqlite3.SQLITE_CORRUPT
