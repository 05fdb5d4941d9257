"""Redo records as rows: one behind another, where the metadata is in its own history, and the records behind a place.

The engine collects what a record says; see redo_lines.py for its form.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from blake3 import blake3
from sqlalchemy import bindparam, select

from directory_server.metadata import redo_lines
from directory_server.metadata.schema import redo_record
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader

CHAIN_BYTES = 16
BREAK_CHAIN = (
    "INSERT INTO redo_record (sequence, end_offset, chain, body)"
    " SELECT coalesce(max(sequence), 0) + :ahead, 0, :chain, '' FROM redo_record",
    "DELETE FROM redo_record WHERE sequence < (SELECT max(sequence) FROM redo_record)",
)
"""For metadata that is changed without records: nobody can go on from before. `chain` is random."""

PAGE = 256

_NEWEST = "SELECT sequence, end_offset, chain FROM redo_record ORDER BY sequence DESC LIMIT 1"
_WRITE = "INSERT INTO redo_record (sequence, end_offset, chain, body) VALUES (?, ?, ?, ?)"
_TRIM = """DELETE FROM redo_record WHERE sequence IN (
 SELECT sequence FROM (SELECT sequence, end_offset FROM redo_record ORDER BY sequence LIMIT ?) oldest
 WHERE end_offset <= (SELECT end_offset FROM redo_record ORDER BY sequence DESC LIMIT 1) - ?)"""

_columns = redo_record.c
NEWEST = Statement(select(_columns.sequence, _columns.chain).order_by(_columns.sequence.desc()).limit(1))
OLDEST = Statement(select(_columns.sequence, _columns.chain).order_by(_columns.sequence).limit(1))
CHAIN_AT = Statement(select(_columns.chain).where(_columns.sequence == bindparam("sequence")))
AFTER = Statement(
    select(_columns.sequence, _columns.chain, _columns.body)
    .where(_columns.sequence > bindparam("sequence"))
    .order_by(_columns.sequence)
    .limit(PAGE)
)


class HistoryPlace(NamedTuple):
    """A place in the history of one metadata: the record `sequence`, and the chain up to it."""

    sequence: int
    chain: bytes


class Record(NamedTuple):
    """One transaction's changes."""

    sequence: int
    chain: bytes
    body: str


class _Newest(NamedTuple):
    """The newest record without its body."""

    sequence: int
    end: int
    chain: bytes


class RecordChain:
    """Appends records, and removes those beyond what is kept. For one transaction at a time.

    It remembers the newest record, because nothing else writes to the metadata meanwhile. After a transaction that was
    not committed, use a new one. `run` runs a statement of the engine, whose placeholder is `mark`.
    """

    def __init__(self, run: Callable[[str, Sequence[Any]], Any], mark: str) -> None:
        self._run = run
        self._write, self._trim = _WRITE.replace("?", mark), _TRIM.replace("?", mark)
        self._newest: _Newest | None = None
        self._since_trim = 0

    def append(self, body: str) -> None:
        """Write the record of a transaction."""
        before = self._newest or self._read_newest()
        newest = _Newest(before.sequence + 1, before.end + len(body), next_chain(before.chain, body))
        self._run(self._write, (*newest, body))
        self._newest = newest
        self._since_trim += 1
        if self._since_trim >= redo_lines.TRIM_EVERY:
            self._since_trim = 0
            self._run(self._trim, (2 * redo_lines.TRIM_EVERY, redo_lines.KEPT_BYTES))

    def keep(self, record: Record) -> None:
        """Write a record whose changes were made again, so that its place is the metadata's."""
        _, end, _ = self._run(_NEWEST, ()).fetchone() or (0, 0, b"")
        self._run(self._write, (record.sequence, end + len(record.body), record.chain, record.body))

    def _read_newest(self) -> _Newest:
        """Before the first record: write the row that it follows, with a chain that no other metadata has."""
        row = self._run(_NEWEST, ()).fetchone()
        if row is not None:
            return _Newest(*row)
        begun = _Newest(1, 0, secrets.token_bytes(CHAIN_BYTES))
        self._run(self._write, (*begun, ""))
        return begun


def next_chain(chain: bytes, body: str) -> bytes:
    """The chain behind a record."""
    return blake3(chain + body.encode("utf-8", "surrogatepass")).digest(CHAIN_BYTES)


def newest(reader: Reader) -> HistoryPlace | None:
    """None for metadata in which nothing was changed yet."""
    row = reader.one(NEWEST)
    return None if row is None else HistoryPlace(*row)


def oldest(reader: Reader) -> HistoryPlace | None:
    """Behind this place every record is there."""
    row = reader.one(OLDEST)
    return None if row is None else HistoryPlace(*row)


def is_past(reader: Reader, place: HistoryPlace) -> bool:
    """Whether the metadata was at `place`, and has every record since."""
    row = reader.one(CHAIN_AT, sequence=place.sequence)
    return row is not None and bytes(row[0]) == place.chain


def records_after(reader: Reader, sequence: int, max_bytes: int) -> list[Record]:
    """At least one record behind `sequence` if there is one, more while they fit into `max_bytes`."""
    found: list[Record] = []
    size = 0
    for row in reader.all(AFTER, sequence=sequence):
        record = Record(*row)
        size += len(record.body)
        if found and size > max_bytes:
            break
        found.append(record)
    return found
