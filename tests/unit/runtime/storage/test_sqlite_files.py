"""Databases whose schema is damaged, and those that are only read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lockstep_store.runtime.storage.sqlite_files import open_database, read_only, reports_damage
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


def test_damage_is_told_from_other_errors() -> None:
    """Also when a damaged row has a text that is not UTF-8, for which the error has no code."""
    connection = sqlite3.connect(":memory:")

    def error_of(statement: str) -> sqlite3.Error:
        with pytest.raises(sqlite3.Error) as raised:
            connection.execute(statement).fetchone()
        return raised.value

    assert reports_damage(error_of("SELECT CAST(x'f6a921' AS TEXT)"))
    assert not reports_damage(error_of("SELECT nothing"))
    assert not reports_damage(UnicodeDecodeError("utf-8", b"", 0, 0, ""))
    assert not reports_damage(None)
    connection.close()


def test_a_file_of_any_name_is_opened_for_reading_only(tmp_path: Path) -> None:
    """In a URI, SQLite takes `%41` for a letter, and `?` and `#` for the end of the path."""
    file = tmp_path / "100%41 ?mode=rw#1.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with closing(open_database(read_only(file), uri=True)) as opened:
        assert opened.execute("SELECT count(*) FROM something").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            opened.execute("INSERT INTO something VALUES (1)")
