"""The engine for PostgreSQL: one directory for a database, lost connections, servers that are not fit, stopped ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.maintenance.new_metadata import check_new_metadata
from directory_server.maintenance.restore import accept_older_database
from directory_server.maintenance.safe_to_start import CURSOR_JUMP
from directory_server.metadata import schema, upgrade
from directory_server.metadata.engines.sqlite.totals import folders_of, kind_of
from directory_server.metadata.redo_lines import UNRECORDED
from directory_server.metadata.schema import join_secret
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import redo
from directory_server.metadata.store import ConstraintBroken, MetadataStore, Tx
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from lockstep_store.wire.content_types import FOUND_TYPE, known_endings
from lockstep_store.wire.errors import BadRequest, Conflict, SetupError, StorageFormatError, Unavailable, Undecided
from tests.contract.store_rows import GET, PUT, address_file, journal, names, put
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg")

JOIN = Statement(
    insert(join_secret).values(secret_hash=bindparam("hash"), expires=bindparam("expires"), hosts=bindparam("hosts"))
)
JOINING = Statement(select(join_secret.c.hosts))
BLOB = Statement(insert(schema.blob).values({c.name: bindparam(c.name) for c in schema.blob.c}))
REMOVE = Statement(delete(schema.blob).where(schema.blob.c.digest == bindparam("digest")))
BUCKET = Statement(
    insert(schema.bucket).values(
        name=bindparam("name"), owner="ann", versioning="off", shared=bindparam("shared"), created_at=bindparam("at")
    )
)
RENAME = Statement(update(schema.bucket).where(schema.bucket.c.name == bindparam("old")).values(name=bindparam("to")))


@pytest.fixture(params=["postgres"])
def engine(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> Iterator[str]:
    with postgres.database() as address:
        address_file(tmp_path).write_text(address)
        yield "postgres"


@pytest.fixture
def address(engine: str, tmp_path: Path) -> str:
    return address_file(tmp_path).read_text()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    from tests.fakes.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.close()


def end_connections(address: str) -> None:
    """End every other connection to a database."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


# ---------------------------------------------------------------- one directory for a database


def test_a_database_belongs_to_one_directory(open_store: Callable[..., MetadataStore]) -> None:
    """A second directory is refused with what to do, and the first is not disturbed."""
    store = open_store()
    with pytest.raises(SetupError, match="another directory server uses this database"):
        open_store(start_seconds=0.2)
    put(store, "a")
    assert names(store) == ["a"]


def test_a_start_waits_for_the_connections_of_one_that_has_just_ended(
    open_store: Callable[..., MetadataStore], address: str
) -> None:
    first = open_store()
    put(first, "a")
    end_connections(address)
    assert names(open_store()) == ["a"]


def test_who_lost_its_place_commits_and_reads_nothing(open_store: Callable[..., MetadataStore], address: str) -> None:
    """Also if the one that took it has ended meanwhile: what the first has in memory is out of date."""
    first = open_store()
    put(first, "a")
    end_connections(address)
    second = open_store()
    put(second, "b")
    second.close()
    with pytest.raises(Unavailable, match="another directory server has used this database since"):
        put(first, "c")
    with pytest.raises(Unavailable, match="stands by from now on"), first.read():
        pass
    assert "another directory server" in first.problem
    assert names(open_store()) == ["a", "b"]


def test_a_background_check_finds_it_without_a_write(
    open_store: Callable[..., MetadataStore], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from directory_server.metadata.engines.postgres import store as module

    monkeypatch.setattr(module, "RETURN_SECONDS", 0.1)
    first = open_store()
    assert first.check_some() == 1.0
    assert names(first) == []
    end_connections(address)
    open_store()
    first.check_some()
    with pytest.raises(Unavailable, match="stands by from now on"), first.read():
        pass


# ---------------------------------------------------------------- lost connections


def test_ended_connections_are_opened_again(open_store: Callable[..., MetadataStore], address: str) -> None:
    """Nobody notices a restart of PostgreSQL between two calls."""
    store = open_store()
    put(store, "a")
    assert names(store) == ["a"]
    end_connections(address)
    assert names(store) == ["a"]
    end_connections(address)
    put(store, "b")
    assert names(store) == ["a", "b"]
    assert store.problem == ""


def lose_the_answer(store: Any, *, committed: bool, then: Callable[[], None] = lambda: None) -> None:
    """Let the connection break at the next commit, before or after PostgreSQL has made it."""
    writer = store._writer
    execute = writer.connection.execute

    def lost(statement: Any, *parameters: Any, **options: Any) -> Any:
        if statement != "COMMIT":
            return execute(statement, *parameters, **options)
        if committed:
            execute(statement)
        writer.connection.pgconn.finish()
        then()
        raise psycopg.OperationalError("the connection is lost")

    writer.connection.execute = lost


@pytest.mark.parametrize("committed", [False, True])
def test_the_outcome_of_a_commit_without_an_answer_is_found_out(
    open_store: Callable[..., MetadataStore], committed: bool
) -> None:
    """A commit that was made succeeds, with what follows it; one that was not is refused, and leaves nothing."""
    store = open_store()
    put(store, "before")
    lose_the_answer(store, committed=committed)
    followed: list[str] = []

    def write() -> None:
        store.write(lambda tx: (tx.run(PUT, name="it", value=""), tx.after_commit(lambda: followed.append("it"))))

    if committed:
        write()
    else:
        with pytest.raises(Unavailable, match="cannot be reached"):
            write()
    assert names(store) == ["before", *(["it"] if committed else [])]
    assert followed == (["it"] if committed else [])
    put(store, "later")
    assert "later" in names(store)


@pytest.mark.parametrize("committed", [False, True])
def test_nobody_reads_while_an_outcome_is_unknown(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """PostgreSQL is gone for longer: the writer is told that nobody knows, and all others wait until somebody does."""
    from directory_server.metadata.engines.postgres import store as module

    monkeypatch.setattr(module, "RETURN_SECONDS", 0.1)
    with own_server.database() as address, closing(module.PostgresStore(address)) as store:
        lose_the_answer(store, committed=committed, then=own_server.kill)
        followed: list[str] = []
        with pytest.raises(Undecided, match="not known"):
            store.write(lambda tx: (tx.run(PUT, name="it", value=""), tx.after_commit(lambda: followed.append("it"))))
        with pytest.raises(Unavailable, match="not known"), store.read():
            pass
        with pytest.raises(Unavailable):
            put(store, "other")
        assert followed == []
        own_server.start()
        store.check_some()
        assert names(store) == (["it"] if committed else [])
        assert followed == (["it"] if committed else [])
        put(store, "later")
        assert store.problem == ""


def test_a_server_that_is_gone_is_told(own_server: PostgresServer) -> None:
    """Reads and writes say that PostgreSQL cannot be reached, and go on when it is back."""
    from directory_server.metadata.engines.postgres import store as module

    with own_server.database() as address, closing(module.PostgresStore(address)) as store:
        put(store, "a")
        own_server.kill()
        with pytest.raises(Unavailable, match="PostgreSQL cannot be reached"), store.read() as reader:
            reader.one(JOINING)
        own_server.start()
        assert names(store) == ["a"]
        put(store, "b")
        assert names(store) == ["a", "b"]


# ---------------------------------------------------------------- servers and data that are not fit


def test_a_database_that_does_not_compare_by_bytes_is_refused(postgres: PostgresServer) -> None:
    from directory_server.metadata.engines.postgres.store import PostgresStore

    postgres.run("CREATE DATABASE other TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
    with pytest.raises(SetupError, match="createdb --template=template0 --encoding=UTF8 --locale=C"):
        PostgresStore(postgres.url("other"))
    postgres.run("DROP DATABASE other WITH (FORCE)")


def test_a_server_without_fsync_is_refused(own_server: PostgresServer) -> None:
    from directory_server.metadata.engines.postgres.store import PostgresStore

    own_server.run("ALTER SYSTEM SET fsync = off")
    own_server.run("SELECT pg_reload_conf()")
    wait_until(lambda: own_server.run("SHOW fsync") == [("off",)])
    with pytest.raises(SetupError, match="fsync = off"):
        PostgresStore(own_server.url("prepared"))


@pytest.mark.parametrize("address", ["postgresql:///none?host=/nowhere", "postgresql://host:port/x"])
def test_an_address_that_leads_nowhere_is_told_without_its_password(address: str) -> None:
    from directory_server.metadata.engines.postgres.store import PostgresStore

    with pytest.raises(SetupError, match="PostgreSQL") as refused:
        PostgresStore(address.replace("//", "//user:secret@", 1), start_seconds=0.1)
    assert "secret" not in str(refused.value)


def test_data_of_a_newer_program_is_refused(
    open_store: Callable[..., MetadataStore], postgres: PostgresServer, address: str
) -> None:
    open_store().close()
    with psycopg.connect(address) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFormatError, match="newer Lockstep"):
        open_store()


LATER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head}"

def upgrade():
    op.create_table("later", sa.Column("id", sa.Text, primary_key=True))
    op.execute("UPDATE setting SET value = 'changed' WHERE name = 'a'")
"""


def test_an_older_database_is_brought_up_to_date(
    open_store: Callable[..., MetadataStore], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the migrations that it lacks; redo records of the older schema lead no further."""
    from directory_server.metadata.engines.postgres import installed

    store = open_store()
    put(store, "a", "1")
    with store.read() as reader:
        before = redo.newest(reader)
    store.close()
    migrations = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, migrations)
    (migrations / "versions" / "9999_later.py").write_text(LATER.format(head=installed.SCHEMA_REVISION))
    monkeypatch.setattr(upgrade, "MIGRATIONS", migrations)
    monkeypatch.setattr(installed, "SCHEMA_REVISION", "9999")
    store = open_store()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT count(*) FROM later").fetchone() == (0,)
    with store.read() as reader:
        assert reader.one(GET, key="a") == ("changed",)
        oldest = redo.oldest(reader)
        assert before is not None
        assert oldest is not None
        assert oldest.sequence > before.sequence
    put(store, "b")


def test_what_postgresql_cannot_store_is_a_bad_request(store: MetadataStore) -> None:
    with pytest.raises(BadRequest, match="cannot store"):
        put(store, "a\0b")
    assert names(store) == []


def test_a_backup_is_for_postgresqls_own_tools(store: MetadataStore, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="pg_basebackup"):
        store.copy_to(tmp_path / "copy")
    assert store.defects() == []


def test_changes_from_outside_are_refused(store: MetadataStore, address: str) -> None:
    """They would be in no redo record."""
    put(store, "a")
    with psycopg.connect(address) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("DELETE FROM setting")
    assert names(store) == ["a"]


# ---------------------------------------------------------------- redo records


def rows_of(address: str) -> dict[str, list[Any]]:
    with psycopg.connect(address) as connection:
        return {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
            for name in schema.metadata.tables
            if name not in UNRECORDED
        }


def test_records_lead_from_one_database_to_the_next(
    open_store: Callable[..., MetadataStore], postgres: PostgresServer, address: str
) -> None:
    """Rows put, changed, renamed and removed, with every kind of value; numbers go on behind those of the records."""
    from directory_server.metadata.engines.postgres.store import PostgresStore

    odd = "a\n\"\\ \ufffe \U0001f600 '"
    store = open_store()

    def work(tx: Tx) -> None:
        for number in range(3):
            tx.run(BLOB, digest=bytes([number]) * 32, size=1 << 60, refs=number)
            tx.run(BUCKET, name=f"{odd}{number}", at=(1 / 3, 1e-300, 1e22)[number], shared=number == 1)
            journal(tx, odd)
        tx.run(RENAME, old=f"{odd}0", to="renamed")
        tx.run(REMOVE, digest=bytes(32))
        with pytest.raises(ConstraintBroken), tx.savepoint():
            tx.run(BLOB, digest=b"\1" * 32, size=2, refs=2)

    store.write(work)
    put(store, "first", odd)
    with store.read() as reader:
        bodies = [record.body for record in redo.records_after(reader, 1, 1 << 20)]
    with postgres.database() as other, closing(PostgresStore(other)) as second:
        second.write(lambda tx: tx.apply_records(bodies[:1]))
        second.write(lambda tx: tx.apply_records(bodies))
        assert rows_of(other) == rows_of(address)
        assert second.write(journal) == store.write(journal)


# ---------------------------------------------------------------- the functions of totals


def test_types_and_folders_are_those_of_the_other_engine(
    open_store: Callable[..., MetadataStore], address: str
) -> None:
    open_store()
    found = f'{{"{FOUND_TYPE}": "text/plain; charset=utf-8", "other": "\\u0000"}}'
    paths = [
        *(f"in/a.{case(ending)}" for ending, _, _ in known_endings() for case in (str, str.upper, str.title)),
        *("a", ".txt", "a.", "..txt", "a.tar.gz", "a.txt.bz2", "a.tar.Z", "folder.txt/a", "a.txt/", "ä.TXT", "a.b.c"),
    ]
    stated = ["", "Text/HTML ; charset=x", "x" * 200]
    with psycopg.connect(address) as connection:
        for path in paths:
            for type_, metadata in [*((one, "{}") for one in stated), ("", found)]:
                row = connection.execute("SELECT lockstep_kind(%s, %s, %s)", (path, type_, metadata)).fetchone()
                assert row == (kind_of(path, type_, metadata),), (path, type_, metadata)
        for path in ("a", "a/b", "a//b/", "/", "/".join("abcdefghijklmnopqrstuvw")):
            rows = connection.execute("SELECT * FROM lockstep_folders(%s)", (path,)).fetchall()
            assert [row[0] for row in rows] == folders_of(path), path


# ---------------------------------------------------------------- while no directory runs


def test_an_older_database_is_accepted(
    open_store: Callable[..., MetadataStore], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers jump, secrets and records of before are void; and not while a directory runs."""
    from directory_server.metadata.engines.postgres import stopped
    from directory_server.metadata.engines.postgres.stopped import StoppedDatabase

    monkeypatch.setattr(stopped, "WAIT_SECONDS", 0.1)
    store = open_store()
    store.write(journal)
    store.write(lambda tx: tx.run(JOIN, hash=bytes(32), expires=1.0, hosts="[]"))
    with store.read() as reader:
        before = redo.newest(reader)
    store.close()
    accept_older_database(StoppedDatabase(address))
    store = open_store()
    assert store.write(journal) > CURSOR_JUMP
    with store.read() as reader:
        after = redo.oldest(reader)
        assert reader.all(JOINING) == []
    assert before is not None
    assert after is not None
    assert after.sequence > before.sequence + CURSOR_JUMP
    with pytest.raises(SetupError, match="another directory server"):
        accept_older_database(StoppedDatabase(address))


def test_the_database_of_a_cluster_is_refused_without_its_authority(
    open_store: Callable[..., MetadataStore], address: str, tmp_path: Path
) -> None:
    """A new authority would be strange to every program. A first start that was interrupted can be repeated."""
    from directory_server.metadata.engines.postgres.stopped import StoppedDatabase

    database, certs = StoppedDatabase(address), tmp_path / "certs"
    store = open_store()
    check_new_metadata(database, certs, asked_for=False, wall=lambda: 0.0)
    store.write(lambda tx: insert_account(tx, "ann", NOBODY, admin=True, at=0.0))
    with pytest.raises(SetupError, match="has no authority"):
        check_new_metadata(database, certs, asked_for=False, wall=lambda: 0.0)
    (certs / "authority").mkdir(parents=True)
    check_new_metadata(database, certs, asked_for=False, wall=lambda: 0.0)


def test_an_empty_database_of_a_known_cluster_is_refused_unless_asked_for(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    from directory_server.metadata.engines.postgres.stopped import StoppedDatabase
    from directory_server.metadata.engines.postgres.store import PostgresStore

    (tmp_path / "authority").mkdir()
    (tmp_path / "directory_server-1").mkdir()
    (tmp_path / "directory_server-1" / "cert.pem").touch()
    postgres.make("empty", "template0")
    try:
        database = StoppedDatabase(postgres.url("empty"))
        with pytest.raises(SetupError, match="there is no metadata in the PostgreSQL database"):
            check_new_metadata(database, tmp_path, asked_for=False, wall=lambda: 0.0)
        check_new_metadata(database, tmp_path, asked_for=True, wall=lambda: 0.0)
        with closing(PostgresStore(postgres.url("empty"))) as store:
            assert store.write(journal) > CURSOR_JUMP
        check_new_metadata(database, tmp_path, asked_for=False, wall=lambda: 0.0)
    finally:
        postgres.run("DROP DATABASE empty WITH (FORCE)")
