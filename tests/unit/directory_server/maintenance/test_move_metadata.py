"""Moving metadata from its file to a database: every row, and nothing but that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from directory_server.__main__ import main
from directory_server.maintenance.fsck import check_metadata
from directory_server.maintenance.move_metadata import move_metadata
from directory_server.metadata.engines.chosen import stopped_database
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.statements import files, redo
from directory_server.metadata.statements.people import read_setting
from lockstep_store.wire.errors import Conflict, Damaged, SetupError
from tests.fakes import metadata_engines
from tests.fakes.directory_rig import DirectoryRig

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer


@pytest.fixture
def address(postgres: PostgresServer) -> Iterator[str]:
    postgres.make("moved", "template0")
    yield postgres.url("moved")
    postgres.run("DROP DATABASE moved WITH (FORCE)")


def lived_in(folder: Path) -> DirectoryRig:
    rig = DirectoryRig(folder)
    rig.bucket("kept", "admin", versioning="enabled", shared=True)
    for bucket in ("files", "kept"):
        for number in range(5):
            rig.write(f"in/{number}.txt", f"{number % 3}".encode(), bucket=bucket)
        rig.write("in/1.txt", b"again", bucket=bucket)
        rig.delete("in/2.txt", bucket=bucket)
    rig.lock("in/3.txt")
    return rig


def facts(rig: DirectoryRig) -> dict[str, Any]:
    with rig.store.read() as reader:
        found = {"cursor": reader.one(files.CURSOR), "place": redo.newest(reader)}
    found["files"] = {
        (bucket, version.path): (version.version, str(version.digest), version.created_at)
        for bucket in ("files", "kept")
        for version in rig.list(bucket=bucket).files
    }
    found["versions"] = [version.version for version in rig.versions("in/1.txt", bucket="kept")]
    return found | {"locks": [lock.number for lock in rig.locks.list().locks]}


def test_every_row_is_there_and_the_directory_goes_on(tmp_path: Path, address: str) -> None:
    """The next start on the database has the same files, versions, locks and place in its history; fsck agrees."""
    rig = lived_in(tmp_path)
    before = facts(rig)
    rig.close()
    command = ["move-metadata", "--data", str(tmp_path), "--metadata", address]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0, ended.output
    assert "every row compared" in ended.output
    metadata_engines.address_of.append(lambda _: address)
    try:
        rig = DirectoryRig(tmp_path / "elsewhere", servers=0)
    finally:
        metadata_engines.address_of.pop()
    with closing(rig):
        assert facts(rig) == before
        assert [problem for problem in check_metadata(rig.store)[1] if "server" not in problem.kind] == []
        again = CliRunner().invoke(main, command)
        assert again.exit_code == 1
        assert "has metadata already" in again.output


def test_an_empty_database_is_no_metadata(address: str) -> None:
    """A check of the wrong database makes nothing in it, which a start would take for metadata."""
    checked = CliRunner().invoke(main, ["fsck", "--metadata", address])
    assert checked.exit_code == 1
    assert "there is no metadata in the PostgreSQL database" in checked.output
    accepted = CliRunner().invoke(main, ["restore", "--accept-older", "--metadata", address])
    assert accepted.exit_code == 1
    assert "there is no metadata in the PostgreSQL database" in accepted.output


def test_no_account_can_prevent_the_move(tmp_path: Path, address: str) -> None:
    """By a text that PostgreSQL cannot store: its zero bytes are replaced."""
    lived_in(tmp_path).close()
    file = tmp_path / "metadata.db"
    _odd(file, "'a' || char(0)")
    move_metadata(file, stopped_database(address))
    metadata_engines.address_of.append(lambda _: address)
    try:
        rig = DirectoryRig(tmp_path / "elsewhere", servers=0)
    finally:
        metadata_engines.address_of.pop()
    with closing(rig), rig.store.read() as reader:
        assert read_setting(reader, "odd") == "a\ufffd"


def test_what_would_be_stored_otherwise_leaves_the_database_empty(tmp_path: Path, address: str) -> None:
    """And once it is gone from the file, the same database will do."""
    lived_in(tmp_path).close()
    file, database = tmp_path / "metadata.db", stopped_database(address)
    _odd(file, "x'ff'")
    with pytest.raises(Damaged, match="setting"):
        move_metadata(file, database)
    with closing(sqlite3.connect(file)) as db:
        db.execute("DELETE FROM setting WHERE name = 'odd'")
        db.commit()
    forget_checks(file)
    assert move_metadata(file, database)["bucket"] == 2
    with pytest.raises(Conflict, match="has metadata already"):
        move_metadata(file, database)


def _odd(file: Path, value: str) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"INSERT INTO setting VALUES ('odd', {value})")
        db.commit()
    forget_checks(file)


def test_a_directory_that_runs_is_not_moved(tmp_path: Path, address: str) -> None:
    database = stopped_database(address)
    with closing(lived_in(tmp_path)):
        with pytest.raises(SetupError, match="another directory server"):
            move_metadata(tmp_path / "metadata.db", database)
    with pytest.raises(SetupError, match="no metadata"):
        move_metadata(tmp_path / "none" / "metadata.db", database)
