"""What callers share in a transaction, and what is each one's own."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator

import pytest

from lockstep_store.runtime.storage.group_commit import SharedTransaction, call_when_durable
from lockstep_store.runtime.storage.savepoints import Savepoints


class Judged(SharedTransaction):
    """Refuses what was noted as bad."""

    def judge(self, noted: list[str]) -> None:
        if "bad" in noted:
            raise PermissionError("bad")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE word (word TEXT)")
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_an_undone_savepoint_takes_its_notes_and_calls_along(connection: sqlite3.Connection) -> None:
    """What is noted is judged once, at the end of the innermost savepoint; the others' work stays."""
    noted: list[str] = ["of a transaction that failed"]
    tx = Judged(Savepoints(connection, connection.execute), noted)
    called: list[str] = []

    def say(word: str) -> None:
        connection.execute("INSERT INTO word VALUES (?)", (word,))
        noted.append(word)
        tx.after_commit(lambda: called.append(word))

    with tx.savepoint():
        say("first")
    with tx.savepoint():
        say("outer")
        with pytest.raises(PermissionError), tx.savepoint():
            say("bad")
        with pytest.raises(LookupError), tx.savepoint():
            say("gone")
            raise LookupError
    assert noted == []
    assert connection.execute("SELECT word FROM word").fetchall() == [("first",), ("outer",)]
    call_when_durable(tx.when_durable)
    assert called == ["first", "outer"]


def test_a_call_that_fails_keeps_no_other_from_being_made(caplog: pytest.LogCaptureFixture) -> None:
    """The commit is done: nobody may be told otherwise."""
    called: list[int] = []
    with caplog.at_level(logging.ERROR, logger="lockstep"):
        call_when_durable([lambda: called.append(1), lambda: called.append(1 // 0), lambda: called.append(2)])
    assert called == [1, 2]
    assert "ZeroDivisionError" in caplog.text
