"""The index of what this file server holds: an SQLite file in WAL mode, synced at every commit.

This module opens and commits. index_reader.py reads; index_schema.py has the tables, index_transaction.py the changes.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from file_server.store.chunk_store import Totals
from file_server.store.local import index_values as value
from file_server.store.local.digest_upgrade import set_plain_tables_aside
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.index_reader import IndexReader, connect
from file_server.store.local.index_schema import GENERATION, SCHEMA, SEALED_UNDER, TOTALS
from file_server.store.local.index_transaction import IndexTransaction
from file_server.store.local.index_upgrade import bring_up_to_date
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.group_commit import GroupCommit
from lockstep_store.runtime.storage.savepoints import BEGIN
from lockstep_store.runtime.storage.write_ahead_log import make_log_durable
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest

_WRITER_CACHE_KIB = 16 * 1024
MAX_PENDING_NOTES = 20_000
"""More only wait if the disk takes no writes; then the oldest are dropped."""


class PendingNote(NamedTuple):
    """A commit note that waits for a transaction, which encodes it: the commit must not wait for that."""

    cursor: int
    digest: Digest
    encoded: Callable[[], bytes]


class ChunkIndex(IndexReader):
    """The index: many threads read, and one at a time commits the changes of all. Raises sqlite3.Error."""

    def __init__(self, path: Path, flushes: FlushWatch, names: SealedNames) -> None:
        make_log_durable(path)
        super().__init__(path, names)
        self._flushes = flushes
        self._in_doubt = False
        self._writer = connect(path, _WRITER_CACHE_KIB)
        try:
            set_plain_tables_aside(self._writer)
            self._writer.executescript(SCHEMA)
            self._totals: dict[str, int] = dict.fromkeys(TOTALS, 0) | self._stored_totals()
            bring_up_to_date(self._writer, self._totals, names)
        except BaseException:
            self._writer.close()
            raise
        self._notes: deque[PendingNote] = deque(maxlen=MAX_PENDING_NOTES)
        self._soon: dict[str, int] = {}
        self._commits: GroupCommit[IndexTransaction] = GroupCommit(self._transaction)
        self.submit = self._commits.submit

    def close(self) -> None:
        """Finish the submitted work and close the file."""
        self._commits.close()
        super().close()
        self._writer.close()

    @property
    def totals(self) -> Totals:
        """Return the totals as of the latest commit."""
        return Totals(self._totals["chunks"], self._totals["blobs"], self._totals["stored_bytes"])

    @property
    def latest_generation(self) -> int:
        """Return the highest generation given."""
        return self._totals[GENERATION]

    def remembered(self, name: str) -> int:
        """Return the number stored under a name; 0 without one."""
        return self._totals.get(name, 0)

    def sealed_under(self) -> dict[bytes, int]:
        """Return the number of intact chunks under each storage key that has any, by its id."""
        return {
            bytes.fromhex(name.removeprefix(SEALED_UNDER)): count
            for name, count in self._totals.items()
            if name.startswith(SEALED_UNDER) and count
        }

    def keep_soon(self, numbers: dict[str, int]) -> None:
        """Store numbers under their names with the next transaction."""
        self._soon = {**self._soon, **numbers}

    def _stored_totals(self) -> dict[str, int]:
        totals = self._writer.execute("SELECT name, value FROM total").fetchall()
        stored = {value.name(name): value.number(total) for name, total in totals}
        if GENERATION not in stored and self._writer.execute("SELECT 1 FROM blob LIMIT 1").fetchone():
            raise value.malformed("the generation of the latest blob", "another table's page")
        return stored

    def may_hold_chunk(self, digest: Digest) -> bool:
        """Return whether the chunk is held, or may be after a restart. Ask before you remove a file.

        A commit whose flush failed was refused, but it stays in SQLite's log until the next commit overwrites it. A
        process that ends before that finds it committed at its next start, and the row must not name a missing file.
        """
        return self._in_doubt or self.holds_chunk(digest)

    def note(self, note: PendingNote) -> None:
        """Add a commit note to the next transaction."""
        self._notes.append(note)

    def keep_notes(self) -> None:
        """Write the notes and numbers that wait for a transaction."""
        if self._notes or any(self._totals.get(name) != number for name, number in self._soon.items()):
            self.submit(lambda tx: None)

    def _put_notes(self, tx: IndexTransaction, notes: list[PendingNote]) -> None:
        """Move the waiting notes to `notes` and into the transaction."""
        while self._notes:
            notes.append(self._notes.popleft())
        for note in notes:
            if encoded := note.encoded():
                tx.put_note(note.cursor, note.digest, encoded)

    # ------------------------------------------------------------ transactions

    @contextmanager
    def _transaction(self) -> Iterator[IndexTransaction]:
        totals = dict(self._totals)
        connection = self._writer
        notes: list[PendingNote] = []
        before = connection.total_changes
        connection.execute(BEGIN)
        try:
            transaction = IndexTransaction(connection, totals, self._names)
            yield transaction
            transaction.raise_if_lost()
            self._put_notes(transaction, notes)
            totals.update(self._soon)
            changed = [item for item in totals.items() if self._totals.get(item[0]) != item[1]]
            if changed:
                rows = ", ".join(["(?, ?)"] * len(changed))  # one statement, because every small write pays for it
                statement = f"INSERT OR REPLACE INTO total (name, value) VALUES {rows}"  # noqa: S608 - marks only
                connection.execute(statement, sum(changed, ()))
            crash_point("file_server.index.committing")
            self._commit(connection, connection.total_changes != before)
            crash_point("file_server.index.committed")
        except BaseException:
            self._notes.extendleft(reversed(notes))
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._totals = totals

    def _commit(self, connection: sqlite3.Connection, changed: bool) -> None:
        try:
            with self._flushes.waiting():
                connection.execute("COMMIT")
        except sqlite3.Error:
            self._in_doubt = True
            raise
        if changed:  # only a commit that wrote something overwrote the doubtful one in the log
            self._in_doubt = False
