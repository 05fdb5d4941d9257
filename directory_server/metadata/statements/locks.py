"""Statements about locks, the queue and fences. What they mean is decided in lock_rules.

A lock's paths stand twice: as rows of `lock_path`, which find the lock of a path, and as JSON in the lock itself, so
that ending a lock needs no second read. The same holds for waiters and `waiter_path`. They never change once written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, exists, func, insert, literal, or_, select, update

from directory_server.metadata.schema import counter, lock, lock_path, path_fence, waiter, waiter_path
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.party import Party
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.messages.locks import LockPath


@dataclass(frozen=True)
class LockRow:
    """A lock; `until` is directory time, `since_at` wall clock."""

    number: int
    request_id: str
    party: Party
    paths: tuple[LockPath, ...]
    lease_seconds: float
    until: float
    since_at: float


@dataclass(frozen=True)
class WaiterRow:
    """A place in the queue; `seq` rises with the order of arrival, `keep_until` is directory time."""

    seq: int
    request_id: str
    party: Party
    paths: tuple[LockPath, ...]
    lease_seconds: float
    keep_until: float
    since_at: float


_paths = msgspec.json.Decoder(tuple[LockPath, ...])
_encode = msgspec.json.Encoder().encode

_LOCK = (
    lock.c.number,
    lock.c.request_id,
    lock.c.account,
    lock.c.client,
    lock.c.session,
    lock.c.paths,
    lock.c.lease_seconds,
    lock.c.until,
    lock.c.since_at,
)
_WAITER = (
    waiter.c.seq,
    waiter.c.request_id,
    waiter.c.account,
    waiter.c.client,
    waiter.c.session,
    waiter.c.paths,
    waiter.c.lease_seconds,
    waiter.c.keep_until,
    waiter.c.since_at,
)


def _of_request(table: Any) -> Any:
    return (table.c.account == bindparam("account")) & (table.c.request_id == bindparam("request_id"))


def _on_path(table: Any) -> Any:
    return (table.c.bucket == bindparam("bucket")) & (table.c.path == bindparam("path"))


_LOCK_BY_NUMBER = Statement(select(*_LOCK).where(lock.c.number == bindparam("number")))
_LOCK_BY_REQUEST = Statement(select(*_LOCK).where(_of_request(lock)))
_LOCK_BY_ANY_REQUEST = Statement(select(*_LOCK).where(lock.c.request_id == bindparam("request_id")).limit(1))
_LOCK_ON = Statement(
    select(*_LOCK).join_from(lock_path, lock, lock.c.number == lock_path.c.lock_number).where(_on_path(lock_path))
)
_LOCKS_DUE = Statement(select(*_LOCK).where(lock.c.until <= bindparam("now")).order_by(lock.c.until))
_LOCKS_OF_ACCOUNT = Statement(
    select(lock.c.account, lock.c.client, lock.c.session).where(lock.c.account == bindparam("account")).distinct()
)
_ALL_LOCKS = Statement(select(*_LOCK).order_by(lock.c.number))
_LOCKS_IN_BUCKET = Statement(
    select(*_LOCK)
    .where(lock.c.number.in_(select(lock_path.c.lock_number).where(lock_path.c.bucket == bindparam("bucket"))))
    .order_by(lock.c.number)
)
_COUNT_LOCKS = Statement(select(func.count()).select_from(lock))
_TAKEN = Statement(
    select(literal(1)).where(
        or_(
            exists(select(literal(1)).select_from(lock_path).where(_on_path(lock_path))),
            exists(select(literal(1)).select_from(waiter_path).where(_on_path(waiter_path))),
        )
    )
)
_INSERT_LOCK = Statement(insert(lock).values({c.name: bindparam(c.name) for c in _LOCK}))
_INSERT_LOCK_PATH = Statement(
    insert(lock_path).values(bucket=bindparam("bucket"), path=bindparam("path"), lock_number=bindparam("number"))
)
_DELETE_LOCK = Statement(delete(lock).where(lock.c.number == bindparam("number")))
_DELETE_LOCK_PATH = Statement(delete(lock_path).where(_on_path(lock_path)))
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
_FENCE = Statement(select(path_fence.c.number).where(_on_path(path_fence)))
_RAISE_FENCE = Statement(
    update(path_fence)
    .where((path_fence.c.bucket == bindparam("of_bucket")) & (path_fence.c.path == bindparam("of_path")))
    .values(number=bindparam("fence"))
)
_FIRST_FENCE = Statement(
    insert(path_fence).values(bucket=bindparam("bucket"), path=bindparam("path"), number=bindparam("number"))
)

_WAITER_BY_REQUEST = Statement(select(*_WAITER).where(_of_request(waiter)))
_FIRST_WAITER = Statement(
    select(*_WAITER)
    .join_from(waiter_path, waiter, waiter.c.seq == waiter_path.c.seq)
    .where(_on_path(waiter_path))
    .order_by(waiter_path.c.seq)
    .limit(1)
)
_WANTING = Statement(select(waiter_path.c.seq).where(_on_path(waiter_path) & (waiter_path.c.seq < bindparam("before"))))
_PARTIES_WAITING = Statement(
    select(waiter.c.account, waiter.c.client, waiter.c.session)
    .distinct()
    .join_from(waiter_path, waiter, waiter.c.seq == waiter_path.c.seq)
    .where(
        _on_path(waiter_path) & (waiter_path.c.seq >= bindparam("since")) & (waiter_path.c.seq < bindparam("before"))
    )
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
_ALL_WAITERS = Statement(select(*_WAITER).order_by(waiter.c.seq))
_WAITERS_IN_BUCKET = Statement(
    select(*_WAITER)
    .where(waiter.c.seq.in_(select(waiter_path.c.seq).where(waiter_path.c.bucket == bindparam("bucket"))))
    .order_by(waiter.c.seq)
)
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
    delete(waiter_path).where(_on_path(waiter_path) & (waiter_path.c.seq == bindparam("seq")))
)
_NEXT_UNTIL = Statement(select(func.min(lock.c.until)))
_NEXT_KEEP = Statement(select(func.min(waiter.c.keep_until)))

LAST = 2**62


def _lock(row: Row | None) -> LockRow | None:
    return None if row is None else _lock_row(row)


def _lock_row(row: Row) -> LockRow:
    number, request_id, account, client, session, paths, lease, until, since = row
    return LockRow(number, request_id, Party(account, client, session), _paths.decode(paths), lease, until, since)


def _waiter_row(row: Row) -> WaiterRow:
    seq, request_id, account, client, session, paths, lease, keep, since = row
    return WaiterRow(seq, request_id, Party(account, client, session), _paths.decode(paths), lease, keep, since)


# ---------------------------------------------------------------- locks


def lock_by_number(reader: Reader, number: int) -> LockRow | None:
    return _lock(reader.one(_LOCK_BY_NUMBER, number=number))


def lock_by_request(reader: Reader, account: str, request_id: str) -> LockRow | None:
    return _lock(reader.one(_LOCK_BY_REQUEST, account=account, request_id=request_id))


def lock_by_any_request(reader: Reader, request_id: str) -> LockRow | None:
    """For administrators: whoever's request it was."""
    return _lock(reader.one(_LOCK_BY_ANY_REQUEST, request_id=request_id))


def lock_on(reader: Reader, path: LockPath) -> LockRow | None:
    """The lock that covers `path`."""
    return _lock(reader.one(_LOCK_ON, bucket=path.bucket, path=path.path))


def is_taken(reader: Reader, path: LockPath) -> bool:
    """Someone holds a lock on `path` or waits for it."""
    return reader.one(_TAKEN, bucket=path.bucket, path=path.path) is not None


def locks_due(reader: Reader, now: float) -> list[LockRow]:
    return [_lock_row(row) for row in reader.all(_LOCKS_DUE, now=now)]


def holds_any(reader: Reader, party: Party) -> bool:
    """Whether the party has any lock."""
    return any(Party(*row).key == party.key for row in reader.all(_LOCKS_OF_ACCOUNT, account=party.account))


def all_locks(reader: Reader) -> list[LockRow]:
    return [_lock_row(row) for row in reader.all(_ALL_LOCKS)]


def locks_in_bucket(reader: Reader, bucket: str) -> list[LockRow]:
    """Every lock on at least one path in the bucket."""
    return [_lock_row(row) for row in reader.all(_LOCKS_IN_BUCKET, bucket=bucket)]


def count_locks(reader: Reader) -> int:
    row = reader.one(_COUNT_LOCKS)
    return int(row[0]) if row else 0


def insert_lock(tx: Tx, row: LockRow) -> None:
    """The lock, its paths, and the paths' fences."""
    tx.run(
        _INSERT_LOCK,
        number=row.number,
        request_id=row.request_id,
        account=row.party.account,
        client=row.party.client,
        session=row.party.session,
        paths=_encode(row.paths).decode(),
        lease_seconds=row.lease_seconds,
        until=row.until,
        since_at=row.since_at,
    )
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
    """A lock number higher than every one before it, restarts included."""
    row = tx.one(_NEXT_NUMBER)
    if row is None:
        tx.run(_FIRST_NUMBER, name="lock_number", value=1)
        return 1
    return int(row[0])


def fence(reader: Reader, path: LockPath) -> int:
    row = reader.one(_FENCE, bucket=path.bucket, path=path.path)
    return int(row[0]) if row else 0


def restart(tx: Tx, now: float, keep_until: float) -> None:
    """Every lock gets its full lease from `now`, every waiter its grace."""
    tx.run(_RESTART_LOCKS, now=now)
    tx.run(_RESTART_WAITERS, kept=keep_until)


def next_due(reader: Reader) -> float | None:
    """The directory time at which the next lease or place ends."""
    rows = reader.one(_NEXT_UNTIL), reader.one(_NEXT_KEEP)
    return min((row[0] for row in rows if row and row[0] is not None), default=None)


# ---------------------------------------------------------------- the queue


def waiter_by_request(reader: Reader, account: str, request_id: str) -> WaiterRow | None:
    row = reader.one(_WAITER_BY_REQUEST, account=account, request_id=request_id)
    return None if row is None else _waiter_row(row)


def first_waiter(reader: Reader, path: LockPath) -> WaiterRow | None:
    """Who came first of those that want `path`."""
    row = reader.one(_FIRST_WAITER, bucket=path.bucket, path=path.path)
    return None if row is None else _waiter_row(row)


def count_wanting(reader: Reader, paths: Sequence[LockPath], before: int | None = None) -> int:
    """How many waiters (that came before number `before`) want any of `paths`."""
    seqs: set[int] = set()
    for path in paths:
        rows = reader.all(_WANTING, bucket=path.bucket, path=path.path, before=before or LAST)
        seqs.update(row[0] for row in rows)
    return len(seqs)


def parties_waiting(reader: Reader, path: LockPath, before: int | None, since: int = 0) -> list[Party]:
    """Who wants `path` and came before number `before`, as number `since` or later; everyone who waits for it when
    None."""
    rows = reader.all(_PARTIES_WAITING, bucket=path.bucket, path=path.path, since=since, before=before or LAST)
    return [Party(*row) for row in rows]


def waiters_of(reader: Reader, party: Party) -> list[WaiterRow]:
    if party.client:
        rows = reader.all(_WAITERS_OF_CLIENT, account=party.account, client=party.client)
    else:
        rows = reader.all(_WAITERS_OF_SESSION, account=party.account, session=party.session)
    return [_waiter_row(row) for row in rows]


def waiters_due(reader: Reader, now: float) -> list[WaiterRow]:
    return [_waiter_row(row) for row in reader.all(_WAITERS_DUE, now=now)]


def all_waiters(reader: Reader) -> list[WaiterRow]:
    return [_waiter_row(row) for row in reader.all(_ALL_WAITERS)]


def waiters_in_bucket(reader: Reader, bucket: str) -> list[WaiterRow]:
    """Every place in line for at least one path in the bucket."""
    return [_waiter_row(row) for row in reader.all(_WAITERS_IN_BUCKET, bucket=bucket)]


def count_waiters(reader: Reader) -> int:

    row = reader.one(_COUNT_WAITERS)
    return int(row[0]) if row else 0


def insert_waiter(tx: Tx, row: WaiterRow) -> int:
    """The place's number; `row.seq` is not looked at."""
    made = tx.one(
        _INSERT_WAITER,
        request_id=row.request_id,
        account=row.party.account,
        client=row.party.client,
        session=row.party.session,
        paths=_encode(row.paths).decode(),
        lease_seconds=row.lease_seconds,
        keep_until=row.keep_until,
        since_at=row.since_at,
    )
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
