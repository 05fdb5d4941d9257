"""Savepoints of a transaction that cost a statement only when something was written before them.

Most transactions hold the work of one writer, which hardly ever fails. To undo that, the transaction is rolled back and
begun again, as nothing else was written in it. To undo an inner savepoint that began where its outer one did, the outer
one's serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

BEGIN = "BEGIN IMMEDIATE"


class CountsChanges(Protocol):
    """A connection of SQLite, or what counts its changes as one does."""

    @property
    def total_changes(self) -> int:
        """A number that never falls, and rises with each change that would have to be undone."""
        ...


@dataclass
class _Savepoint:
    changes: int
    """The connection's count where it began."""
    name: str
    """Its name in the database; empty if it has none there."""


class Savepoints:
    """The savepoints, one within another, of a transaction that has just begun. `run` executes a statement."""

    def __init__(self, connection: CountsChanges, run: Callable[[str], object], begin: str = BEGIN) -> None:
        self._connection = connection
        self._run = run
        self._begin = begin
        self._open = [_Savepoint(connection.total_changes, "")]

    def begin(self) -> None:
        """Begin a savepoint."""
        changes, name = self._connection.total_changes, ""
        if changes != self._open[-1].changes:
            name = f"s{len(self._open)}"
            self._run(f"SAVEPOINT {name}")
        self._open.append(_Savepoint(changes, name))

    def keep(self) -> None:
        """End the latest savepoint, and keep what was written since."""
        ended = self._open.pop()
        if ended.name:
            self._run(f"RELEASE {ended.name}")

    def undo(self) -> None:
        """End the latest savepoint, and undo what was written since."""
        ended = self._open[-1]
        if self._connection.total_changes != ended.changes:
            same = [savepoint for savepoint in self._open if savepoint.changes == ended.changes]
            name = next((savepoint.name for savepoint in same if savepoint.name), "")
            if name:
                self._run(f"ROLLBACK TO {name}")
            else:
                self._run("ROLLBACK")
                self._run(self._begin)
            for savepoint in same:
                savepoint.changes = self._connection.total_changes
        self.keep()

    def forget(self) -> None:
        """Drop the latest savepoint of a transaction that failed as a whole."""
        self._open.pop()
