"""Statements about totals of what is stored. The engine keeps them with every change; here they are read and compared.

`lockstep_kind(path, content_type, metadata)` is a version's content type, and `lockstep_folders(path)` a JSON array of
the folders that a path counts for: functions that the engine adds. PostgreSQL has them, and `lockstep_month(seconds)`,
with the same results (see `in_postgresql`).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text

from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Row, Tx

MAX_DEPTH = 16
"""Folders within so many others have no total of their own: each costs a row in every change."""
KEY = (
    "{0}.bucket, {0}.author, lockstep_kind({0}.path, {0}.content_type, {0}.metadata),"
    " coalesce(strftime('%Y-%m', {0}.created_at, 'unixepoch'), '')"
)
"""The primary key of a version's total, of the row named."""
INSERT_STORED = "INSERT INTO stored_total (bucket, author, kind, month, files, file_bytes, versions, version_bytes)"
INSERT_FOLDER = "INSERT INTO folder_total (bucket, folder, files, bytes)"
COUNTED_STORED = (
    "SELECT bucket, author, kind, month, sum(files) AS files, sum(file_bytes) AS file_bytes,"  # noqa: S608 - our own names
    " sum(versions) AS versions, sum(version_bytes) AS version_bytes FROM"
    " (SELECT '' AS bucket, '' AS author, '' AS kind, '' AS month, 0 AS files, 0 AS file_bytes, 0 AS versions,"
    f" 0 AS version_bytes WHERE FALSE UNION ALL SELECT {KEY.format('c')}, 1, c.size, 0, 0 FROM current c"
    f" UNION ALL SELECT {KEY.format('v')}, 0, 0, 1, v.size FROM version v WHERE v.digest IS NOT NULL) each_one"
    " GROUP BY bucket, author, kind, month"
)
COUNTED_FOLDERS = (
    "SELECT c.bucket AS bucket, f.value AS folder, count(*) AS files, sum(c.size) AS bytes"
    " FROM current c, json_each(lockstep_folders(c.path)) f GROUP BY c.bucket, f.value"
)
COUNTED_CONTENT = "SELECT count(*) AS blobs, coalesce(sum(size), 0) AS bytes FROM blob WHERE refs > 0"
COUNT_AGAIN = (
    *(f"DELETE FROM {table}" for table in ("stored_total", "folder_total", "content_total")),  # noqa: S608 - names here
    f"{INSERT_STORED} {COUNTED_STORED}",
    f"{INSERT_FOLDER} {COUNTED_FOLDERS}",
    f"INSERT INTO content_total (id, blobs, bytes) SELECT 1, blobs, bytes FROM ({COUNTED_CONTENT}) counted",  # noqa: S608
)
"""Replaces all totals by new counts. Slow: it reads every version."""

_IN_POSTGRESQL = {
    "json_each(:buckets)": "json_array_elements_text(CAST(:buckets AS json)) AS each(value)",
    "json_each(lockstep_folders(c.path)) f": "lockstep_folders(c.path) AS f(value)",
    "coalesce(strftime('%Y-%m', c.created_at, 'unixepoch'), '')": "lockstep_month(c.created_at)",
    "coalesce(strftime('%Y-%m', v.created_at, 'unixepoch'), '')": "lockstep_month(v.created_at)",
    "instr(": "strpos(",
}


def in_postgresql(sql: str) -> str:
    """Return a statement of this module as PostgreSQL needs it."""
    for ours, theirs in _IN_POSTGRESQL.items():
        sql = sql.replace(ours, theirs)
    return sql


def _statement(sql: str) -> Statement:
    return Statement(text(sql), text(in_postgresql(sql)))


_COUNT_AGAIN = [_statement(statement) for statement in COUNT_AGAIN]
_SUMS = "sum(t.files), sum(t.file_bytes), sum(t.versions), sum(t.version_bytes)"
_OF_BUCKETS = "t.bucket IN (SELECT value FROM json_each(:buckets))"
_GROUPED = {
    column: _statement(
        f"SELECT t.{column}, {_SUMS} FROM stored_total t WHERE {_OF_BUCKETS} GROUP BY t.{column}"  # noqa: S608 - our own names
        " ORDER BY 5 DESC, 1 LIMIT :count"
    )
    for column in ("bucket", "author", "kind", "month")
}
_IS_AUTHOR = Statement(text("SELECT 1 FROM stored_total WHERE author = :author LIMIT 1"))
_DAYS = _statement(
    f"SELECT t.day, {_SUMS} FROM daily_total t WHERE t.day >= :since AND {_OF_BUCKETS}"  # noqa: S608 - our own names
    " GROUP BY t.day ORDER BY t.day"
)
_ALL = _statement(
    "SELECT coalesce(sum(t.files), 0), coalesce(sum(t.file_bytes), 0), coalesce(sum(t.versions), 0),"  # noqa: S608
    f" coalesce(sum(t.version_bytes), 0) FROM stored_total t WHERE {_OF_BUCKETS}"
)
_FORGET_DAYS = Statement(text("DELETE FROM daily_total WHERE day < :oldest"))
_FORGET_EMPTY = Statement(
    text("DELETE FROM daily_total WHERE day = :day AND bucket NOT IN (SELECT s.bucket FROM stored_total s)")
)
# From one day to the next, because the primary key begins with the day.
_FORGET_BUCKET = Statement(
    text(
        "DELETE FROM daily_total WHERE bucket = :bucket AND day IN ("
        "WITH RECURSIVE known(day) AS (SELECT min(day) FROM daily_total UNION ALL"
        " SELECT (SELECT min(t.day) FROM daily_total t WHERE t.day > known.day) FROM known WHERE known.day IS NOT NULL)"
        " SELECT day FROM known WHERE day IS NOT NULL)"
    )
)
# Rows that have not changed are not written, nor noted in redo records.
_NOTE_DAY = Statement(
    text(
        "INSERT INTO daily_total (day, bucket, files, file_bytes, versions, version_bytes)"  # noqa: S608 - our own names
        f" SELECT :day, t.bucket, {_SUMS} FROM stored_total t WHERE TRUE GROUP BY t.bucket"
        " ON CONFLICT (day, bucket) DO UPDATE SET files = excluded.files, file_bytes = excluded.file_bytes,"
        " versions = excluded.versions, version_bytes = excluded.version_bytes"
        " WHERE (daily_total.files, daily_total.file_bytes, daily_total.versions, daily_total.version_bytes)"
        " <> (excluded.files, excluded.file_bytes, excluded.versions, excluded.version_bytes)"
    )
)
_FOLDER = Statement(text("SELECT files, bytes FROM folder_total WHERE bucket = :bucket AND folder = :folder"))
# A folder's own folders: from one to the next, skipping everything below. `char(0x10FFFF)` is behind every character.
_FOLDERS_IN = _statement(
    "SELECT folder, files, bytes FROM folder_total WHERE bucket = :bucket AND folder > :folder AND folder < :end"
    " AND instr(substr(folder, :length + 1), '/') = length(folder) - :length"
    " ORDER BY bytes DESC, folder LIMIT :count"
)
_CONTENT = Statement(text("SELECT blobs, bytes FROM content_total WHERE id = 1"))
_PARTS = Statement(text("SELECT coalesce(sum(size), 0) FROM part"))


class StoredContent(NamedTuple):
    """Contents, each once: their number and bytes; and the bytes of uploads' parts."""

    blobs: int
    bytes: int
    part_bytes: int


def count_again(tx: Tx) -> None:
    """Replace all totals by new counts."""
    for statement in _COUNT_AGAIN:
        tx.run(statement)


def grouped(reader: Reader, column: str, buckets: str, count: int) -> list[Row]:
    """Return (value, files, file bytes, versions, version bytes) of buckets (a JSON array), the largest first."""
    return reader.all(_GROUPED[column], buckets=buckets, count=count)


def is_author(reader: Reader, account: str) -> bool:
    """Whether a version of any file was written by an account of that name."""
    return reader.one(_IS_AUTHOR, author=account) is not None


def days(reader: Reader, buckets: str, since: int) -> list[Row]:
    """Return the same by day, the oldest first."""
    return reader.all(_DAYS, buckets=buckets, since=since)


def all_of(reader: Reader, buckets: str) -> Row:
    """Return (files, file bytes, versions, version bytes) of all that is in the buckets."""
    row = reader.one(_ALL, buckets=buckets)
    assert row is not None
    return row


def note_day(tx: Tx, day: int, oldest: int) -> None:
    """Store what there is as a day's totals, and forget days before the oldest."""
    tx.run(_FORGET_DAYS, oldest=oldest)
    tx.run(_FORGET_EMPTY, day=day)
    tx.run(_NOTE_DAY, day=day)


def forget_bucket(tx: Tx, bucket: str) -> None:
    """Forget the days of a bucket that is deleted: one of the same name may be somebody else's."""
    tx.run(_FORGET_BUCKET, bucket=bucket)


def folder(reader: Reader, bucket: str, name: str) -> tuple[int, int]:
    """Return the files and bytes in a folder and below."""
    row = reader.one(_FOLDER, bucket=bucket, folder=name)
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def folders_in(reader: Reader, bucket: str, name: str, end: str, count: int) -> list[Row]:
    """Return (folder, files, bytes) of the folders directly in a folder, the largest first."""
    return reader.all(_FOLDERS_IN, bucket=bucket, folder=name, end=end, length=len(name), count=count)


def content(reader: Reader) -> StoredContent:
    """Return the totals of contents. The parts of unfinished uploads are few, and counted."""
    row = reader.one(_CONTENT) or (0, 0)
    parts = reader.one(_PARTS) or (0,)
    return StoredContent(int(row[0]), int(row[1]), int(parts[0]))
