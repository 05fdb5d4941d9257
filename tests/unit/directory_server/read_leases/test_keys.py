"""Which rows a leased reply depends on, as the store tells of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.redo_lines import UNRECORDED, UNRECORDED_BUT_REPORTED
from directory_server.metadata.schema import metadata
from directory_server.metadata.statements import people
from directory_server.metadata.store import Tx
from directory_server.people.accounts import credential_hash, insert_account
from directory_server.people.passwords import NOBODY
from directory_server.read_leases.keys import (
    ALL,
    LEASED_ON,
    NOT_READ,
    NOTHING,
    account_key,
    changed_keys,
    credential_key,
    path_key,
)


def test_every_table_is_known() -> None:
    """A new table is in one of the two lists: what a reply depends on must end leases, and nothing else should."""
    tables = set(metadata.tables)
    assert not LEASED_ON & NOT_READ
    assert tables == LEASED_ON | NOT_READ
    assert set(UNRECORDED) & LEASED_ON == set(UNRECORDED_BUT_REPORTED), "the store reports no change of these"


def test_an_unknown_table_ends_every_lease() -> None:
    assert changed_keys('["+","invented","a"]') == ALL
    assert changed_keys("") == NOTHING
    assert changed_keys('["+","journal",1]\n["-","counter","x"]') == NOTHING


def test_names_with_line_breaks_are_one_row() -> None:
    assert changed_keys('["+","current","b","two\\nlines","v"]\n["-","current","b","k"]') == {
        path_key("b", "two\nlines"),
        path_key("b", "k"),
    }


def test_the_store_tells_of_accounts_and_ended_log_ins(tmp_path: Path) -> None:
    """Before the commit: a log-in that ended is in no redo record, and is told all the same; undone work is not."""
    store = SqliteStore(tmp_path / "metadata.db")
    told: list[str] = []

    @contextlib.contextmanager
    def guard(changes: str) -> Iterator[None]:
        told.append(changes)
        yield

    store.guard_each_commit(guard)
    hash = credential_hash("lst_token")
    session = {"token_hash": hash, "account": "ann", "client": "", "created_at": 0.0, "expires": 1.0, "expires_at": 1.0}

    def undone(tx: Tx) -> None:
        with contextlib.suppress(KeyError), tx.savepoint():
            tx.run(people.DELETE_SESSION, hash=hash)
            raise KeyError
        people.write_setting(tx, "any", "1")

    try:
        store.write(lambda tx: insert_account(tx, "ann", NOBODY, admin=False, at=0.0))
        store.write(lambda tx: tx.run(people.INSERT_SESSION, **session))
        store.write(undone)
        store.write(lambda tx: tx.run(people.DELETE_SESSION, hash=hash))
    finally:
        store.close()
    assert [changed_keys(each) for each in told] == [
        {account_key("ann")},
        NOTHING,
        NOTHING,
        {credential_key(hash)},
    ]
