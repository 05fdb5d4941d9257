"""Statements about holder rows in a range of digests, and about blobs that no version names."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, func, insert, literal, select, update

from directory_server.metadata.schema import (
    account,
    blob,
    counter,
    dropped,
    holder,
    journal,
    past_write,
    unnamed,
    version,
)
from directory_server.metadata.schema_s3 import event
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.digest import Digest


class Unnamed(NamedTuple):
    """A copy, found after a restore, of a blob that no version refers to."""

    digest: Digest
    server_id: str
    size: int


_HELD_IN_RANGE = Statement(
    select(holder.c.digest, holder.c.damaged)
    .where(holder.c.server_id == bindparam("server_id"), holder.c.digest > bindparam("after"))
    .order_by(holder.c.digest)
    .limit(bindparam("limit"))
)
_UNNAMED_ROW = (unnamed.c.digest, unnamed.c.server_id, unnamed.c.size)
_UNNAMED_OF = Statement(
    select(*_UNNAMED_ROW).where(unnamed.c.digest == bindparam("digest")).order_by(unnamed.c.server_id)
)
_SOME_UNNAMED = Statement(
    select(*_UNNAMED_ROW).order_by(unnamed.c.digest, unnamed.c.server_id).limit(bindparam("limit"))
)
_INSERT_UNNAMED = Statement(insert(unnamed).values({column.name: bindparam(column.name) for column in _UNNAMED_ROW}))
_DELETE_UNNAMED = Statement(delete(unnamed).where(unnamed.c.digest == bindparam("digest")))
_each = (
    select(unnamed.c.digest, func.max(unnamed.c.size).label("size"))
    .where(~exists(select(literal(1)).where(blob.c.digest == unnamed.c.digest, blob.c.refs > 0)))
    .group_by(unnamed.c.digest)
    .subquery()
)
_COUNT_UNNAMED = Statement(select(func.count(), func.coalesce(func.sum(_each.c.size), 0)).select_from(_each))
_ADMINISTRATOR = Statement(select(account.c.name).where(account.c.admin).order_by(account.c.created_at).limit(1))
_LOCK_NUMBER = Statement(select(counter.c.value).where(counter.c.name == "lock_number"))
_RAISE_LOCK_NUMBER = Statement(
    update(counter).where(counter.c.name == "lock_number").values(value=bindparam("raised_to"))
)
_FIRST_LOCK_NUMBER = Statement(insert(counter).values(name="lock_number", value=bindparam("value")))
_CURSOR_BELOW = Statement(
    select(func.coalesce(func.max(journal.c.cursor), 0)).where(journal.c.cursor < bindparam("below"))
)
_RESTART_TIMES = tuple(
    Statement(update(column.table).values({column.name: bindparam("now")}))
    for column in (past_write.c.done_time, dropped.c.dropped_time, event.c.queued_time)
)
_VERSION_NAMES = Statement(
    select(version.c.id, version.c.bucket, version.c.path, version.c.digest)
    .where(version.c.id > bindparam("after"))
    .order_by(version.c.id)
    .limit(bindparam("limit"))
)


def newest_cursor_below(reader: Reader, below: int) -> int:
    """The newest change before this one."""
    row = reader.one(_CURSOR_BELOW, below=below)
    return 0 if row is None else int(row[0])


def restart_times(tx: Tx, now: float) -> None:
    """Count from now what is remembered for a time: directory time has jumped."""
    for statement in _RESTART_TIMES:
        tx.run(statement, now=now)


def held_in_range(reader: Reader, server_id: str, after: Digest | None, limit: int) -> list[tuple[Digest, bool]]:
    """Return a server's next holder rows in digest order: (digest, damaged)."""
    rows = reader.all(_HELD_IN_RANGE, server_id=server_id, after=after or b"", limit=limit)
    return [(Digest(row[0]), bool(row[1])) for row in rows]


def unnamed_of(reader: Reader, digest: Digest) -> list[Unnamed]:
    """Return the unnamed copies of a blob."""
    return [Unnamed(Digest(row[0]), row[1], row[2]) for row in reader.all(_UNNAMED_OF, digest=digest)]


def some_unnamed(reader: Reader, limit: int) -> list[Unnamed]:
    """Return the first `limit` unnamed copies in digest order."""
    return [Unnamed(Digest(row[0]), row[1], row[2]) for row in reader.all(_SOME_UNNAMED, limit=limit)]


def add_unnamed(tx: Tx, row: Unnamed) -> None:
    """Insert an unnamed copy. Safe to repeat."""
    if row.server_id not in {known.server_id for known in unnamed_of(tx, row.digest)}:
        tx.run(_INSERT_UNNAMED, **row._asdict())


def forget_unnamed(tx: Tx, digest: Digest) -> None:
    tx.run(_DELETE_UNNAMED, digest=digest)


def count_unnamed(reader: Reader) -> tuple[int, int]:
    """Return the number of unnamed blobs and their bytes."""
    row = reader.one(_COUNT_UNNAMED)
    return (int(row[0]), int(row[1])) if row else (0, 0)


def first_administrator(reader: Reader) -> str:
    """Return the oldest administrator's account; empty if there is none."""
    row = reader.one(_ADMINISTRATOR)
    return str(row[0]) if row else ""


def lock_number(reader: Reader) -> int:
    """Return the last lock number granted."""
    row = reader.one(_LOCK_NUMBER)
    return int(row[0]) if row else 0


def raise_lock_number(tx: Tx, number: int) -> None:
    """Make the next lock number higher than `number`."""
    if not tx.run(_RAISE_LOCK_NUMBER, raised_to=number):
        tx.run(_FIRST_LOCK_NUMBER, value=number)


def version_names(reader: Reader, after: str, limit: int) -> list[tuple[str, str, str, Digest | None]]:
    """Return the next versions in order of id: (id, bucket, path, digest)."""
    rows = reader.all(_VERSION_NAMES, after=after, limit=limit)
    return [(row[0], row[1], row[2], Digest(row[3]) if row[3] is not None else None) for row in rows]
