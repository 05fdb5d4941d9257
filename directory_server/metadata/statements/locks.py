"""Statements about locks and fences, for `directory_server.locks`. The queue is in `waiters`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, exists, func, insert, literal, or_, select, update

from directory_server.metadata.schema import counter
from directory_server.metadata.schema_locks import lock, lock_path, path_fence, waiter, waiter_path
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.lock_requests import (
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
class LockRow(LockRequest):
    """A lock; `until` is directory time."""

    number: int
    until: float


_LOCK = (lock.c.number, lock.c.until, *columns_of(lock))
_LOCK_BY_NUMBER = Statement(select(*_LOCK).where(lock.c.number == bindparam("number")))
_LOCK_BY_REQUEST = Statement(select(*_LOCK).where(of_request(lock)))
_LOCK_BY_ANY_REQUEST = Statement(select(*_LOCK).where(lock.c.request_id == bindparam("request_id")).limit(1))
_LOCK_ON = Statement(
    select(*_LOCK).join_from(lock_path, lock, lock.c.number == lock_path.c.lock_number).where(on_path(lock_path))
)
_LOCKS_DUE = Statement(select(*_LOCK).where(lock.c.until <= bindparam("now")).order_by(lock.c.until))
_LOCKS_OF_ACCOUNT = Statement(
    select(lock.c.account, lock.c.client, lock.c.session).where(lock.c.account == bindparam("account")).distinct()
)
_LOCKS_AFTER = Statement(
    select(*_LOCK).where(lock.c.number > bindparam("after")).order_by(lock.c.number).limit(bindparam("count"))
)
_LOCKS_IN_BUCKET = Statement(
    select(*_LOCK)
    .where(lock.c.number.in_(select(lock_path.c.lock_number).where(lock_path.c.bucket == bindparam("bucket"))))
    .order_by(lock.c.number)
)
_LOCKS_BY_ACCOUNT = Statement(select(*_LOCK).where(lock.c.account == bindparam("account")).order_by(lock.c.number))
_COUNT_LOCKS = Statement(select(func.count()).select_from(lock))
_TAKEN = Statement(
    select(literal(1)).where(
        or_(
            exists(select(literal(1)).select_from(lock_path).where(on_path(lock_path))),
            exists(select(literal(1)).select_from(waiter_path).where(on_path(waiter_path))),
        )
    )
)
_INSERT_LOCK = Statement(insert(lock).values({c.name: bindparam(c.name) for c in _LOCK}))
_INSERT_LOCK_PATH = Statement(
    insert(lock_path).values(bucket=bindparam("bucket"), path=bindparam("path"), lock_number=bindparam("number"))
)
_DELETE_LOCK = Statement(delete(lock).where(lock.c.number == bindparam("number")))
_DELETE_LOCK_PATH = Statement(delete(lock_path).where(on_path(lock_path)))
_SET_LEASE = Statement(
    update(lock)
    .where(lock.c.number == bindparam("of_number"))
    .values(lease_seconds=bindparam("lease"), until=bindparam("ends"))
)
_RESTART_LOCKS = Statement(update(lock).values(until=lock.c.lease_seconds + bindparam("now")))
_RESTART_WAITERS = Statement(update(waiter).values(keep_until=bindparam("kept")))

_NEXT_NUMBER = Statement(
    update(counter).where(counter.c.name == "lock_number").values(value=counter.c.value + 1).returning(counter.c.value)
)
_FIRST_NUMBER = Statement(insert(counter).values(name=bindparam("name"), value=bindparam("value")))
_FENCE = Statement(select(path_fence.c.number).where(on_path(path_fence)))
_RAISE_FENCE = Statement(
    update(path_fence)
    .where((path_fence.c.bucket == bindparam("of_bucket")) & (path_fence.c.path == bindparam("of_path")))
    .values(number=bindparam("fence"))
)
_FIRST_FENCE = Statement(
    insert(path_fence).values(bucket=bindparam("bucket"), path=bindparam("path"), number=bindparam("number"))
)

_NEXT_UNTIL = Statement(select(func.min(lock.c.until)))
_NEXT_KEEP = Statement(select(func.min(waiter.c.keep_until)))


def _lock(row: Row | None) -> LockRow | None:
    return None if row is None else _lock_row(row)


def _lock_row(row: Row) -> LockRow:
    number, until, *rest = row
    return LockRow(number=number, until=until, **from_columns(*rest))


# ---------------------------------------------------------------- locks


def lock_by_number(reader: Reader, number: int) -> LockRow | None:
    return _lock(reader.one(_LOCK_BY_NUMBER, number=number))


def lock_by_request(reader: Reader, account: str, request_id: str) -> LockRow | None:
    return _lock(reader.one(_LOCK_BY_REQUEST, account=account, request_id=request_id))


def lock_by_any_request(reader: Reader, request_id: str) -> LockRow | None:
    """Return the lock of a request of any account, for administrators."""
    return _lock(reader.one(_LOCK_BY_ANY_REQUEST, request_id=request_id))


def lock_on(reader: Reader, path: LockPath) -> LockRow | None:
    """Return the lock that covers `path`."""
    return _lock(reader.one(_LOCK_ON, bucket=path.bucket, path=path.path))


def is_taken(reader: Reader, path: LockPath) -> bool:
    """Whether anybody holds a lock on `path` or waits for it."""
    return reader.one(_TAKEN, bucket=path.bucket, path=path.path) is not None


def locks_due(reader: Reader, now: float) -> list[LockRow]:
    return [_lock_row(row) for row in reader.all(_LOCKS_DUE, now=now)]


def holds_any(reader: Reader, party: Party) -> bool:
    """Whether the party has any lock."""
    return any(Party(*row).key == party.key for row in reader.all(_LOCKS_OF_ACCOUNT, account=party.account))


def locks_after(reader: Reader, number: int, count: int) -> list[LockRow]:
    """Return locks with higher numbers, in order."""
    return [_lock_row(row) for row in reader.all(_LOCKS_AFTER, after=number, count=count)]


def locks_in_bucket(reader: Reader, bucket: str) -> list[LockRow]:
    """Return every lock on at least one path in the bucket."""
    return [_lock_row(row) for row in reader.all(_LOCKS_IN_BUCKET, bucket=bucket)]


def locks_by_account(reader: Reader, account: str) -> list[LockRow]:
    """Return every lock of the account."""
    return [_lock_row(row) for row in reader.all(_LOCKS_BY_ACCOUNT, account=account)]


def count_locks(reader: Reader) -> int:
    row = reader.one(_COUNT_LOCKS)
    return int(row[0]) if row else 0


def insert_lock(tx: Tx, row: LockRow) -> None:
    """Insert a lock with its paths, and raise the paths' fences."""
    tx.run(_INSERT_LOCK, number=row.number, until=row.until, **row.columns())
    for path in row.paths:
        tx.run(_INSERT_LOCK_PATH, bucket=path.bucket, path=path.path, number=row.number)
        if not tx.run(_RAISE_FENCE, of_bucket=path.bucket, of_path=path.path, fence=row.number):
            tx.run(_FIRST_FENCE, bucket=path.bucket, path=path.path, number=row.number)


def delete_lock(tx: Tx, row: LockRow) -> None:
    tx.run(_DELETE_LOCK, number=row.number)
    for path in row.paths:
        tx.run(_DELETE_LOCK_PATH, bucket=path.bucket, path=path.path)


def set_lease(tx: Tx, row: LockRow) -> None:
    tx.run(_SET_LEASE, of_number=row.number, lease=row.lease_seconds, ends=row.until)


def next_number(tx: Tx) -> int:
    """Return a new lock number, higher than every earlier one, restarts included."""
    row = tx.one(_NEXT_NUMBER)
    if row is None:
        tx.run(_FIRST_NUMBER, name="lock_number", value=1)
        return 1
    return int(row[0])


def fence(reader: Reader, path: LockPath) -> int:
    row = reader.one(_FENCE, bucket=path.bucket, path=path.path)
    return int(row[0]) if row else 0


def restart(tx: Tx, now: float, keep_until: float) -> None:
    """Give every lock its full lease from `now`, and every waiter its grace."""
    tx.run(_RESTART_LOCKS, now=now)
    tx.run(_RESTART_WAITERS, kept=keep_until)


def next_due(reader: Reader) -> float | None:
    """Return the directory time at which the next lease or place ends."""
    rows = reader.one(_NEXT_UNTIL), reader.one(_NEXT_KEEP)
    return min((row[0] for row in rows if row and row[0] is not None), default=None)
