"""Savepoints that cost nothing do what SQLite's own do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.runtime.storage.savepoints import BEGIN, Savepoints


class Failed(Exception):
    """What a block of the tests raises."""


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = _database()
    connection.execute(BEGIN)
    yield connection
    connection.close()


def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY)")
    return connection


def _rows(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM row ORDER BY id")]


# A block is a list of steps: a number is written, a nested block runs, and `fails` undoes the block.
_steps = st.recursive(
    st.integers(0, 30),
    lambda inner: st.tuples(st.lists(inner, max_size=5), st.booleans()),
    max_leaves=40,
)


@given(st.lists(_steps, max_size=12))
def test_they_undo_what_named_ones_undo(program: list[Any]) -> None:
    """Any nesting of blocks that write, fail and go on leaves the same rows, with any of them in between."""
    ours, theirs = _database(), _database()
    for connection in (ours, theirs):
        connection.execute(BEGIN)
    savepoints = Savepoints(ours, ours.execute)
    depth = 0

    def run(steps: list[Any]) -> None:
        nonlocal depth
        for step in steps:
            if isinstance(step, int):
                for connection in (ours, theirs):
                    connection.execute("INSERT OR REPLACE INTO row (id) VALUES (?)", (step,))
                continue
            inner, fails = step
            depth += 1
            savepoints.begin()
            theirs.execute(f"SAVEPOINT s{depth}")
            run(inner)
            if fails:
                savepoints.undo()
                theirs.execute(f"ROLLBACK TO s{depth}")
            else:
                savepoints.keep()
            theirs.execute(f"RELEASE s{depth}")
            depth -= 1
            assert _rows(ours) == _rows(theirs)

    run(program)
    for connection in (ours, theirs):
        connection.execute("COMMIT")
    assert _rows(ours) == _rows(theirs)
    ours.close()
    theirs.close()


def test_the_first_writer_of_a_transaction_pays_nothing(connection: sqlite3.Connection) -> None:
    """Nested as deep as it likes; the second writer needs one savepoint."""
    run: list[str] = []
    savepoints = Savepoints(connection, lambda sql: (run.append(sql), connection.execute(sql)))
    for number in (1, 2):
        savepoints.begin()
        savepoints.begin()
        connection.execute("INSERT INTO row (id) VALUES (?)", (number,))
        savepoints.keep()
        savepoints.keep()
    assert run == ["SAVEPOINT s1", "RELEASE s1"]


def test_the_first_writer_is_undone_by_beginning_again(connection: sqlite3.Connection) -> None:
    """And the next one is the first again."""
    run: list[str] = []
    savepoints = Savepoints(connection, lambda sql: (run.append(sql), connection.execute(sql)))
    for _ in range(2):
        savepoints.begin()
        connection.execute("INSERT INTO row (id) VALUES (1)")
        savepoints.undo()
    assert connection.in_transaction
    assert run == ["ROLLBACK", BEGIN] * 2
    assert _rows(connection) == []


def test_a_writer_that_wrote_nothing_is_undone_for_nothing(connection: sqlite3.Connection) -> None:
    """Refusals are judged before anything is written, and come often."""
    run: list[str] = []
    savepoints = Savepoints(connection, lambda sql: (run.append(sql), connection.execute(sql)))
    savepoints.begin()
    savepoints.undo()
    assert run == []
