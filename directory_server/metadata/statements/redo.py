"""Reading redo records: where the metadata is in its own history, and the records behind a place in it.

The engine writes the records; see redo_lines.py for their form.
"""

from __future__ import annotations

from typing import NamedTuple

from blake3 import blake3
from sqlalchemy import bindparam, select

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
