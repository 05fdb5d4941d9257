"""The embedded engine: one process, one file, full and failing disks, migrations."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from directory_server.metadata import schema
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.migrate import SCHEMA_REVISION
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.metadata.upgrade import MIGRATIONS
from lockstep_store.wire.errors import Damaged, SetupError, StorageFormatError, StorageFull, Unavailable
from tests.contract.store_rows import PUT, in_one_transaction, names, put


@pytest.fixture
def engine() -> str:
    return "sqlite"


def test_the_file_belongs_to_one_process(open_store: Callable[..., MetadataStore]) -> None:
    """A second directory on the same data is refused with what to do, and the first is not disturbed."""
    store = open_store()
    with pytest.raises(SetupError, match="another directory server"):
        open_store()
    put(store, "a")
    assert names(store) == ["a"]


def test_only_its_owner_may_read_the_file(store: MetadataStore, tmp_path: Path) -> None:
    """The file holds secrets: neither it nor its write-ahead log is readable by others."""
    put(store, "a")
    assert [file.name for file in tmp_path.iterdir() if file.stat().st_mode & 0o077] == []


def test_data_of_a_newer_program_is_refused(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """A file with an unknown schema revision is rejected unchanged, with what to do."""
    open_store().close()
    file = tmp_path / "metadata.db"
    _execute(file, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFormatError, match="newer Lockstep"):
        open_store()
    assert _execute(file, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_the_newest_migration_is_the_programs_schema() -> None:
    """The revision that skips the migrations is the one that the last of them writes."""
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_REVISION


def test_a_file_that_is_up_to_date_is_opened_without_the_migrations(
    open_store: Callable[..., MetadataStore], tmp_path: Path
) -> None:
    """Nor is their library loaded. A file that was put back, and has no log of its own yet, gets one."""
    open_store().close()
    file = tmp_path / "metadata.db"
    forget_checks(file)
    assert _execute(file, "PRAGMA journal_mode = DELETE") == [("delete",)]
    code = """
        import sys
        from pathlib import Path
        from directory_server.metadata.engines.sqlite.store import SqliteStore
        SqliteStore(Path(sys.argv[1])).close()
        print("alembic" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(file)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "False\n"
    assert _execute(file, "PRAGMA journal_mode") == [("wal",)]


def test_a_file_that_is_something_else_is_refused(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """A file that is no database is rejected unchanged."""
    file = tmp_path / "metadata.db"
    file.write_bytes(b"shopping list\n" * 1000)
    with pytest.raises(StorageFormatError, match="not a Lockstep metadata file"):
        open_store()
    assert file.read_bytes().startswith(b"shopping list")


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("byte", [0, 47])
def test_a_flipped_bit_in_the_files_head_is_damage(
    open_store: Callable[..., MetadataStore], tmp_path: Path, byte: int, bit: int
) -> None:
    """Whatever SQLite makes of it, be it the name of the file's format or the number of the schema's."""
    open_store().close()
    file = tmp_path / "metadata.db"
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)
    with pytest.raises(Damaged, match=r"is damaged.*restore a backup"):
        open_store()


def test_migrations_give_the_schema(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """A file made by the migrations has the tables, columns and indexes that schema.py declares."""
    open_store().close()
    engine = create_engine(f"sqlite:///{tmp_path / 'metadata.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _is_declared})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def _is_declared(name: str | None, kind: str, _: object) -> bool:
    """SQLite makes the tables of its text index itself."""
    return not (kind == "table" and (name or "").startswith("search_index"))


def test_a_full_disk_refuses_and_passes(open_store: Callable[..., MetadataStore]) -> None:
    """On a full disk writes raise StorageFull and leave nothing, reads go on, and writes work again with space."""
    store = open_store()
    put(store, "before")
    pages = store.write(lambda tx: _pragma(tx, "page_count"))
    store.write(lambda tx: _pragma(tx, f"max_page_count = {pages}"))
    with pytest.raises(StorageFull):
        put(store, "big", "x" * 10_000_000)
    assert names(store) == ["before"]
    assert "full" in store.problem
    put(store, "after", "x" * 10_000_000)  # the writer was opened again, without the limit
    assert names(store) == ["after", "before"]
    assert store.problem == ""


def test_everyone_in_a_commit_that_failed_hears_of_it(open_store: Callable[..., MetadataStore]) -> None:
    """When the disk fills up in mid-transaction, callers before and after that statement are all refused."""
    store = open_store()
    pages = store.write(lambda tx: _pragma(tx, "page_count"))
    store.write(lambda tx: _pragma(tx, f"max_page_count = {pages}"))
    works: list[Callable[[Tx], Any]] = [
        lambda tx: tx.run(PUT, name="small", value=""),
        lambda tx: tx.run(PUT, name="big", value="x" * 10_000_000),
        lambda tx: tx.run(PUT, name="later", value=""),
    ]
    results = in_one_transaction(store, works)
    assert [type(result) for result in results] == [StorageFull] * 3
    assert names(store) == []


class FaultyCursor(sqlite3.Cursor):
    """Fails statements that begin with `fail_on`, as a disk that cannot be written does."""

    fail_on = ""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if FaultyCursor.fail_on and sql.startswith(FaultyCursor.fail_on):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, *parameters)


class FaultyConnection(sqlite3.Connection):
    def cursor(self, *_: Any) -> sqlite3.Cursor:  # type: ignore[override]
        return super().cursor(FaultyCursor)


@pytest.fixture
def fail_on() -> Iterator[Callable[[str], None]]:
    yield lambda statement: setattr(FaultyCursor, "fail_on", statement)
    FaultyCursor.fail_on = ""


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT", "INSERT"])
def test_a_failing_disk_refuses_and_passes(
    open_store: Callable[..., MetadataStore], fail_on: Callable[[str], None], statement: str
) -> None:
    """An input/output error at any step is Unavailable, leaves nothing, and is over when the disk works again."""
    store = open_store(connect=functools.partial(sqlite3.connect, factory=FaultyConnection))
    put(store, "before")
    fail_on(statement)
    with pytest.raises(Unavailable):
        put(store, "lost")
    assert store.problem
    fail_on("")
    assert names(store) == ["before"]
    put(store, "after")
    assert names(store) == ["after", "before"]
    assert store.problem == ""


def test_a_read_that_finds_no_connection_is_refused_for_now(open_store: Callable[..., MetadataStore]) -> None:
    """A read that cannot open a connection is Unavailable, as a write is."""
    broken = threading.Event()

    def connect(*arguments: Any, **more: Any) -> sqlite3.Connection:
        return sqlite3.connect("/nowhere/at/all" if broken.is_set() else arguments[0], **more)

    store = open_store(connect=connect)
    put(store, "before")
    with store.read():
        broken.set()
        with pytest.raises(Unavailable), store.read():
            raise AssertionError("there is no connection to read on")
        broken.clear()
        assert names(store) == ["before"]


def _pragma(tx: Tx, pragma: str) -> Any:
    row = tx._cursor.execute(f"PRAGMA {pragma}").fetchone()  # type: ignore[attr-defined]
    return row[0] if row else None


def _execute(file: Path, sql: str) -> list[Any]:
    """Change the file behind the store's back."""
    forget_checks(file)
    connection = sqlite3.connect(file)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()
