"""The promises of every metadata engine (directory_server/metadata/store.py)."""

from __future__ import annotations

import functools
import os
import signal
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
from sqlalchemy import bindparam, create_engine, delete, insert, select, update

from directory_server.metadata import schema
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.migrate import SCHEMA_REVISION
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import ConstraintBroken, MetadataStore, Reader, Tx
from directory_server.metadata.upgrade import MIGRATIONS
from lockstep_store.wire.errors import Damaged, LockstepError, SetupError, StorageFormatError, StorageFull, Unavailable
from tests import ROOT

ENGINES: dict[str, Callable[..., MetadataStore]] = {
    "sqlite": lambda folder, **options: SqliteStore(folder / "metadata.db", **options),
}

GET = Statement(select(schema.setting.c.value).where(schema.setting.c.name == bindparam("key")))
PUT = Statement(insert(schema.setting).values(name=bindparam("name"), value=bindparam("value")))
SET = Statement(update(schema.setting).where(schema.setting.c.name == bindparam("key")).values(value=bindparam("to")))
ALL = Statement(select(schema.setting.c.name).order_by(schema.setting.c.name))
NOTE = Statement(
    insert(schema.journal)
    .values({c.name: bindparam(c.name) for c in schema.journal.c if c.name != "cursor"})
    .returning(schema.journal.c.cursor)
)
FORGET = Statement(delete(schema.journal))


@pytest.fixture(params=ENGINES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., MetadataStore]]:
    """Opens a store in one folder, also again after a close."""
    opened: list[MetadataStore] = []

    def open_one(**options: Any) -> MetadataStore:
        opened.append(ENGINES[request.param](tmp_path, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., MetadataStore]) -> MetadataStore:
    return open_store()


def put(store: MetadataStore, name: str, value: str = "") -> None:
    store.write(lambda tx: tx.run(PUT, name=name, value=value))


def names(store: MetadataStore) -> list[str]:
    with store.read() as reader:
        return [row[0] for row in reader.all(ALL)]


def journal(tx: Tx, kind: str = "") -> int:
    row = tx.one(NOTE, kind=kind, bucket="", path="", version="", at=0.0)
    assert row is not None
    return int(row[0])


def in_one_transaction(store: MetadataStore, works: list[Callable[[Tx], Any]]) -> list[Any]:
    """Make `works` share a commit, behind one that is held up; return results and exceptions."""
    started, go = threading.Event(), threading.Event()
    results: list[Any] = [None] * len(works)

    def hold(tx: Tx) -> None:
        started.set()
        go.wait(60)

    def submit(index: int) -> None:
        try:
            results[index] = store.write(works[index])
        except Exception as error:
            results[index] = error

    holder = threading.Thread(target=store.write, args=(hold,))
    holder.start()
    started.wait(60)
    threads = [threading.Thread(target=submit, args=(index,)) for index in range(len(works))]
    for index, thread in enumerate(threads):
        thread.start()
        while thread.is_alive() and _queued(store) <= index:
            pass
    go.set()
    for thread in [holder, *threads]:
        thread.join(60)
    return results


def _queued(store: MetadataStore) -> int:
    return len(store._group._queue)  # type: ignore[attr-defined]


def test_a_write_is_there_after_reopening(open_store: Callable[..., MetadataStore]) -> None:
    """The next process reads every write that returned."""
    store = open_store()
    put(store, "a", "1")
    store.close()
    with open_store().read() as reader:
        assert reader.one(GET, key="a") == ("1",)


def test_a_write_that_raises_leaves_nothing(store: MetadataStore) -> None:
    """The error is raised, its transaction is undone, and the store goes on."""

    def fails(tx: Tx) -> None:
        tx.run(PUT, name="gone", value="")
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        store.write(fails)
    put(store, "kept")
    assert names(store) == ["kept"]
    assert store.problem == ""


def test_callers_sharing_a_commit_are_undone_alone(store: MetadataStore) -> None:
    """One caller's refusal undoes that caller's work and nobody else's."""

    def fails(tx: Tx) -> None:
        tx.run(PUT, name="gone", value="")
        raise LookupError

    works: list[Callable[[Tx], Any]] = [
        lambda tx: tx.run(PUT, name="a", value=""),
        fails,
        lambda tx: tx.run(PUT, name="b", value=""),
    ]
    first, second, third = in_one_transaction(store, works)
    assert (first, third) == (1, 1)
    assert isinstance(second, LookupError)
    assert names(store) == ["a", "b"]


def test_savepoints_nest(store: MetadataStore) -> None:
    """A savepoint undoes what is in it, down to the depth that raised, and the work goes on."""

    def work(tx: Tx) -> None:
        tx.run(PUT, name="outer", value="")
        with pytest.raises(LookupError), tx.savepoint():
            tx.run(PUT, name="middle", value="")
            with tx.savepoint():
                tx.run(PUT, name="inner", value="")
                raise LookupError
        with tx.savepoint():
            tx.run(PUT, name="later", value="")

    store.write(work)
    assert names(store) == ["later", "outer"]


def test_a_broken_constraint_is_told_and_survived(store: MetadataStore) -> None:
    """A key that exists raises ConstraintBroken, and the transaction can still be used."""

    def work(tx: Tx) -> None:
        tx.run(PUT, name="a", value="")
        with pytest.raises(ConstraintBroken):
            tx.run(PUT, name="a", value="")
        tx.run(PUT, name="b", value="")

    store.write(work)
    assert names(store) == ["a", "b"]


def test_run_tells_how_many_rows_changed(store: MetadataStore) -> None:
    """run() returns 0 for an update that matches no row."""
    put(store, "a")
    assert store.write(lambda tx: (tx.run(SET, key="a", to="x"), tx.run(SET, key="b", to="x"))) == (1, 0)


def test_a_read_is_one_moment(store: MetadataStore) -> None:
    """A snapshot does not see what is committed after its first read; the next snapshot does."""
    put(store, "a")
    with store.read() as reader:
        assert reader.all(ALL) == [("a",)]
        put(store, "b")
        assert reader.all(ALL) == [("a",)]
    assert names(store) == ["a", "b"]


def test_many_readers_at_once(store: MetadataStore) -> None:
    """More snapshots than kept connections can be open at the same time."""
    put(store, "a")
    readers = [store.read() for _ in range(30)]
    opened: list[Reader] = [reader.__enter__() for reader in readers]
    assert all(reader.all(ALL) == [("a",)] for reader in opened)
    for reader in readers:
        reader.__exit__(None, None, None)
    assert names(store) == ["a"]


def test_a_reader_cannot_write(store: MetadataStore) -> None:
    """A snapshot rejects a statement that writes, and nothing is changed."""
    with store.read() as reader, pytest.raises((LockstepError, ConstraintBroken)):
        reader.one(PUT, name="a", value="")
    assert names(store) == []


def test_works_run_one_after_another(store: MetadataStore) -> None:
    """Read-and-add from 16 threads loses no addition: every work sees the results of those before it."""
    put(store, "count", "0")

    def add(tx: Tx) -> None:
        row = tx.one(GET, key="count")
        assert row is not None
        tx.run(SET, key="count", to=str(int(row[0]) + 1))

    threads = [threading.Thread(target=lambda: [store.write(add) for _ in range(25)]) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as reader:
        assert reader.one(GET, key="count") == ("400",)


def test_after_commit_follows_the_commit(store: MetadataStore) -> None:
    """after_commit calls run once the write can be read, and not for what was undone."""
    seen: list[list[str]] = []
    undone: list[str] = []

    def work(tx: Tx) -> None:
        tx.run(PUT, name="a", value="")
        tx.after_commit(lambda: seen.append(names(store)))
        with pytest.raises(LookupError), tx.savepoint():
            tx.after_commit(lambda: undone.append("inner"))
            raise LookupError

    def fails(tx: Tx) -> None:
        tx.after_commit(lambda: undone.append("whole"))
        raise LookupError

    store.write(work)
    with pytest.raises(LookupError):
        store.write(fails)
    put(store, "b")
    assert seen == [["a"]]
    assert undone == []


def test_work_at_both_ends_of_each_transaction(store: MetadataStore) -> None:
    """Registered works run in every transaction, before and after the caller's."""
    order: list[str] = []
    store.first_in_each_transaction(lambda tx: order.append("first"))
    store.last_in_each_transaction(lambda tx: order.append("last"))
    store.last_in_each_transaction(lambda tx: tx.run(SET, key="a", to="saved"))
    store.write(lambda tx: (order.append("work"), tx.run(PUT, name="a", value="")))
    assert order == ["first", "work", "last"]
    with store.read() as reader:
        assert reader.one(GET, key="a") == ("saved",)


def test_text_orders_by_its_bytes(store: MetadataStore) -> None:
    """Names come in the order of their UTF-8 bytes: capitals first, astral characters after all others."""
    given = ["a", "B", "é", "\uffee", "\U0001f600", "ab", "a/", "a!"]
    for name in given:
        put(store, name)
    assert names(store) == sorted(given, key=lambda name: name.encode())


def test_a_number_is_never_given_twice(open_store: Callable[..., MetadataStore]) -> None:
    """Journal cursors rise for ever, also when all rows are gone and the store was opened again."""
    store = open_store()
    last = [store.write(journal) for _ in range(3)][-1]
    store.write(lambda tx: tx.run(FORGET))
    store.close()
    assert open_store().write(journal) == last + 1


def test_a_closed_store_says_so(store: MetadataStore) -> None:
    """After close, which may be repeated, reads and writes raise an error that can be retried."""
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        put(store, "a")
    with pytest.raises(Unavailable), store.read():
        pass


# ---------------------------------------------------------------- the embedded engine's own


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
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


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


CHILD = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.contract.test_metadata_store import PUT, SqliteStore
store = SqliteStore(Path({folder!r}) / "metadata.db")
say = threading.Lock()

def write(thread):
    for number in range(100_000):
        name = f"{{thread}}-{{number}}"
        store.write(lambda tx: tx.run(PUT, name=name, value=""))
        with say:
            print(name, flush=True)

for thread in range(8):
    threading.Thread(target=write, args=(thread,)).start()
"""


def test_a_killed_process_loses_nothing_acknowledged(open_store: Callable[..., MetadataStore], tmp_path: Path) -> None:
    """After SIGKILL in the middle of commits, every write that was acknowledged is there."""
    root = ROOT
    script = textwrap.dedent(CHILD).format(root=str(root), folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(500)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    kept = set(names(open_store()))
    assert [name for name in acknowledged if name not in kept] == []
    assert len(acknowledged) >= 500


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
