"""Statements about the queue of waiters for locks, for `directory_server.locks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select, union_all, update

from directory_server.metadata.schema_locks import lock, waiter, waiter_path
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.lock_requests import (
    LAST,
    LockRequest,
    columns_of,
    from_columns,
    of_request,
    on_path,
)
from directory_server.metadata.statements.party import Party
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.messages.locks import LockPath


@dataclass(frozen=True, kw_only=True)
class WaiterRow(LockRequest):
    """A place in the queue; `seq` rises with the order of arrival, `keep_until` is directory time."""

    seq: int
    keep_until: float


_WAITER = (waiter.c.seq, waiter.c.keep_until, *columns_of(waiter))
_WAITER_BY_REQUEST = Statement(select(*_WAITER).where(of_request(waiter)))
_FIRST_WAITER = Statement(
    select(*_WAITER)
    .join_from(waiter_path, waiter, waiter.c.seq == waiter_path.c.seq)
    .where(on_path(waiter_path))
    .order_by(waiter_path.c.seq)
    .limit(1)
)
_WANTING = Statement(select(waiter_path.c.seq).where(on_path(waiter_path) & (waiter_path.c.seq < bindparam("before"))))
_PARTIES_WAITING = Statement(
    select(waiter.c.account, waiter.c.client, waiter.c.session)
    .distinct()
    .join_from(waiter_path, waiter, waiter.c.seq == waiter_path.c.seq)
    .where(on_path(waiter_path) & (waiter_path.c.seq >= bindparam("since")) & (waiter_path.c.seq < bindparam("before")))
)
_WAITERS_OF_CLIENT = Statement(
    select(*_WAITER).where((waiter.c.account == bindparam("account")) & (waiter.c.client == bindparam("client")))
)
_WAITERS_OF_SESSION = Statement(
    select(*_WAITER).where(
        (waiter.c.account == bindparam("account"))
        & (waiter.c.client == "")
        & (waiter.c.session == bindparam("session"))
    )
)
_WAITERS_DUE = Statement(select(*_WAITER).where(waiter.c.keep_until <= bindparam("now")))
_ANYTHING_DUE = Statement(
    union_all(
        select(waiter.c.seq).where(waiter.c.keep_until <= bindparam("now")),
        select(lock.c.number).where(lock.c.until <= bindparam("now")),
    ).limit(1)
)
_WAITERS_AFTER = Statement(
    select(*_WAITER).where(waiter.c.seq > bindparam("after")).order_by(waiter.c.seq).limit(bindparam("count"))
)
_WAITERS_IN_BUCKET = Statement(
    select(*_WAITER)
    .where(waiter.c.seq.in_(select(waiter_path.c.seq).where(waiter_path.c.bucket == bindparam("bucket"))))
    .order_by(waiter.c.seq)
)
_WAITERS_BY_ACCOUNT = Statement(select(*_WAITER).where(waiter.c.account == bindparam("account")).order_by(waiter.c.seq))
_COUNT_WAITERS = Statement(select(func.count()).select_from(waiter))
_INSERT_WAITER = Statement(
    insert(waiter).values({c.name: bindparam(c.name) for c in _WAITER[1:]}).returning(waiter.c.seq)
)
_INSERT_WAITER_PATH = Statement(
    insert(waiter_path).values(bucket=bindparam("bucket"), path=bindparam("path"), seq=bindparam("seq"))
)
_KEEP_WAITER = Statement(update(waiter).where(waiter.c.seq == bindparam("of_seq")).values(keep_until=bindparam("kept")))
_DELETE_WAITER = Statement(delete(waiter).where(waiter.c.seq == bindparam("seq")))
_DELETE_WAITER_PATH = Statement(
    delete(waiter_path).where(on_path(waiter_path) & (waiter_path.c.seq == bindparam("seq")))
)


def _waiter_row(row: Row) -> WaiterRow:
    seq, keep_until, *rest = row
    return WaiterRow(seq=seq, keep_until=keep_until, **from_columns(*rest))


def waiter_by_request(reader: Reader, account: str, request_id: str) -> WaiterRow | None:
    row = reader.one(_WAITER_BY_REQUEST, account=account, request_id=request_id)
    return None if row is None else _waiter_row(row)


def first_waiter(reader: Reader, path: LockPath) -> WaiterRow | None:
    """Return the first waiter in the queue of `path`."""
    row = reader.one(_FIRST_WAITER, bucket=path.bucket, path=path.path)
    return None if row is None else _waiter_row(row)


def line_of(reader: Reader, path: LockPath) -> list[int]:
    """Return the places in the queue of `path`, in order."""
    return sorted(row[0] for row in reader.all(_WANTING, bucket=path.bucket, path=path.path, before=LAST))


def count_wanting(reader: Reader, paths: Sequence[LockPath], before: int | None = None) -> int:
    """Return how many waiters, before place `before`, want any of `paths`."""
    seqs: set[int] = set()
    for path in paths:
        rows = reader.all(_WANTING, bucket=path.bucket, path=path.path, before=before or LAST)
        seqs.update(row[0] for row in rows)
    return len(seqs)


def parties_waiting(reader: Reader, path: LockPath, before: int | None, since: int = 0) -> list[Party]:
    """Return the parties that wait for `path` at place `since` or later and before `before` (None: all)."""
    rows = reader.all(_PARTIES_WAITING, bucket=path.bucket, path=path.path, since=since, before=before or LAST)
    return [Party(*row) for row in rows]


def waiters_of(reader: Reader, party: Party) -> list[WaiterRow]:
    if party.client:
        rows = reader.all(_WAITERS_OF_CLIENT, account=party.account, client=party.client)
    else:
        rows = reader.all(_WAITERS_OF_SESSION, account=party.account, session=party.session)
    return [_waiter_row(row) for row in rows]


def anything_due(reader: Reader, now: float) -> bool:
    """Whether any waiter's place or any lock has expired. Every transaction asks, so it is one statement."""
    return reader.one(_ANYTHING_DUE, now=now) is not None


def waiters_due(reader: Reader, now: float) -> list[WaiterRow]:
    return [_waiter_row(row) for row in reader.all(_WAITERS_DUE, now=now)]


def waiters_after(reader: Reader, seq: int, count: int) -> list[WaiterRow]:
    """Return places in line that were taken later, in order."""
    return [_waiter_row(row) for row in reader.all(_WAITERS_AFTER, after=seq, count=count)]


def waiters_in_bucket(reader: Reader, bucket: str) -> list[WaiterRow]:
    """Return every waiter for at least one path in the bucket."""
    return [_waiter_row(row) for row in reader.all(_WAITERS_IN_BUCKET, bucket=bucket)]


def waiters_by_account(reader: Reader, account: str) -> list[WaiterRow]:
    """Return every place in line of the account."""
    return [_waiter_row(row) for row in reader.all(_WAITERS_BY_ACCOUNT, account=account)]


def count_waiters(reader: Reader) -> int:
    row = reader.one(_COUNT_WAITERS)
    return int(row[0]) if row else 0


def insert_waiter(tx: Tx, row: WaiterRow) -> int:
    """Insert a waiter with its paths; return its place. Ignores `row.seq`."""
    made = tx.one(_INSERT_WAITER, keep_until=row.keep_until, **row.columns())
    assert made is not None
    seq = int(made[0])
    for path in row.paths:
        tx.run(_INSERT_WAITER_PATH, bucket=path.bucket, path=path.path, seq=seq)
    return seq


def keep_waiter(tx: Tx, seq: int, keep_until: float) -> None:
    tx.run(_KEEP_WAITER, of_seq=seq, kept=keep_until)


def delete_waiter(tx: Tx, row: WaiterRow) -> None:
    tx.run(_DELETE_WAITER, seq=row.seq)
    for path in row.paths:
        tx.run(_DELETE_WAITER_PATH, bucket=path.bucket, path=path.path, seq=row.seq)
