"""Statements about notification targets and their queued messages."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update

from directory_server.metadata.schema_s3 import event, target
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx


class TargetRow(NamedTuple):
    name: str
    shown_url: str
    sealed: bytes
    created_at: float
    dropped: int


class EventRow(NamedTuple):
    """A queued message. `change` rises, and is the same in all messages about one change."""

    id: int
    change: int
    body: str


_TARGETS = Statement(select(*target.c).order_by(target.c.name))
_TARGET = Statement(select(*target.c).where(target.c.name == bindparam("name")))
_INSERT_TARGET = Statement(insert(target).values({column.name: bindparam(column.name) for column in target.c}))
_CHANGE_TARGET = Statement(
    update(target)
    .where(target.c.name == bindparam("of_name"))
    .values(shown_url=bindparam("new_shown_url"), sealed=bindparam("new_sealed"))
)
_RESEAL_TARGET = Statement(
    update(target)
    .where(target.c.name == bindparam("of_name"), target.c.sealed == bindparam("old_sealed"))
    .values(sealed=bindparam("new_sealed"))
)
_DELETE_TARGET = Statement(delete(target).where(target.c.name == bindparam("name")))
_COUNT_DROPPED = Statement(
    update(target).where(target.c.name == bindparam("of_name")).values(dropped=target.c.dropped + bindparam("more"))
)

_INSERT_EVENT = Statement(
    insert(event)
    .values({column.name: bindparam(column.name) for column in event.c if column.name != "id"})
    .returning(event.c.id)
)
_FIRST = Statement(
    select(event.c.id, event.c.change, event.c.body)
    .where(event.c.target == bindparam("of_target"))
    .order_by(event.c.id)
    .limit(bindparam("count"))
)
_WAITING = Statement(
    select(func.count(), func.min(event.c.queued_time)).where(event.c.target == bindparam("of_target"))
)
_DELETE_UNTIL = Statement(
    delete(event).where(event.c.target == bindparam("of_target"), event.c.id <= bindparam("until"))
)
_LAST_TO_DROP = Statement(
    select(event.c.id)
    .where(event.c.target == bindparam("of_target"))
    .order_by(event.c.id.desc())
    .limit(1)
    .offset(bindparam("kept"))
)
_DELETE_OLD = Statement(
    delete(event).where(
        and_(
            event.c.target == bindparam("of_target"),
            or_(event.c.id <= bindparam("until"), event.c.queued_time < bindparam("before")),
        )
    )
)
_DELETE_ALL = Statement(delete(event).where(event.c.target == bindparam("of_target")))


def targets(reader: Reader) -> list[TargetRow]:
    """Return all targets, by name."""
    return [TargetRow(*row) for row in reader.all(_TARGETS)]


def find_target(reader: Reader, name: str) -> TargetRow | None:
    row = reader.one(_TARGET, name=name)
    return None if row is None else TargetRow(*row)


def put_target(tx: Tx, made: TargetRow) -> None:
    """Insert a target or replace its address; its queued messages stay."""
    if not tx.run(_CHANGE_TARGET, of_name=made.name, new_shown_url=made.shown_url, new_sealed=made.sealed):
        tx.run(_INSERT_TARGET, **made._asdict())


def reseal_target(tx: Tx, row: TargetRow, sealed: bytes) -> int:
    """Store other sealed bytes of a target unless they have changed; return the number of rows changed."""
    return tx.run(_RESEAL_TARGET, of_name=row.name, old_sealed=row.sealed, new_sealed=sealed)


def drop_target(tx: Tx, name: str) -> int:
    """Delete a target with its queued messages; return how many there were."""
    tx.run(_DELETE_TARGET, name=name)
    return tx.run(_DELETE_ALL, of_target=name)


def queue(tx: Tx, name: str, body: str, *, queued_time: float, change: int = 0) -> int:
    """Queue a message for a target and return its number. `change` is the number of the change's first message."""
    row = tx.one(_INSERT_EVENT, target=name, change=change, queued_time=queued_time, body=body)
    assert row is not None
    return int(row[0])


def first_waiting(reader: Reader, name: str, count: int) -> list[EventRow]:
    """Return the oldest messages for a target, in order."""
    rows = reader.all(_FIRST, of_target=name, count=count)
    return [EventRow(id, change or id, body) for id, change, body in rows]


def waiting(reader: Reader, name: str) -> tuple[int, float | None]:
    """Return the number of queued messages, and the directory time of the oldest."""
    row = reader.one(_WAITING, of_target=name)
    assert row is not None
    return int(row[0]), row[1]


def delivered(tx: Tx, name: str, until: int) -> None:
    """Delete a target's delivered messages, up to number `until`."""
    tx.run(_DELETE_UNTIL, of_target=name, until=until)


def drop_old(tx: Tx, name: str, kept: int, before: float) -> int:
    """Drop all but the newest `kept` messages, and messages older than a directory time; return how many."""
    row = tx.one(_LAST_TO_DROP, of_target=name, kept=kept)
    gone = tx.run(_DELETE_OLD, of_target=name, until=row[0] if row else 0, before=before)
    if gone:
        tx.run(_COUNT_DROPPED, of_name=name, more=gone)
    return gone
