"""Statements about buckets."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from directory_server.metadata.schema import bucket, journal
from directory_server.metadata.schema_s3 import bucket_setting
from directory_server.metadata.statement import JoinedByComma, Statement
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.buckets import BucketInfo, Versioning

NO_SETTINGS: frozenset[str] = frozenset()


class Bucket(NamedTuple):
    """A row of the bucket table, with the names of the bucket's settings.

    The names tell which features and access rules the bucket has, so a bucket without any costs no further read.
    """

    name: str
    owner: str
    versioning: Versioning
    shared: bool
    created_at: float
    settings: frozenset[str] = NO_SETTINGS

    def info(self) -> BucketInfo:
        return BucketInfo(self.name, self.owner, self.versioning, bool(self.shared), self.created_at)


_setting_names = (
    select(JoinedByComma(bucket_setting.c.name))
    .where(bucket_setting.c.bucket == bucket.c.name)
    .correlate(bucket)
    .scalar_subquery()
)
_COLUMNS = (bucket.c.name, bucket.c.owner, bucket.c.versioning, bucket.c.shared, bucket.c.created_at, _setting_names)
_ONE = Statement(select(*_COLUMNS).where(bucket.c.name == bindparam("name")))
_ALL = Statement(select(*_COLUMNS).order_by(bucket.c.name))
# A bucket's changes start at the journal's end: an earlier bucket of the same name has its own.
_INSERT = Statement(
    insert(bucket).values(
        {
            **{column.name: bindparam(column.name) for column in bucket.c},
            "since_cursor": select(func.coalesce(func.max(journal.c.cursor), 0)).scalar_subquery(),
        }
    )
)
_CHANGE = Statement(
    update(bucket)
    .where(bucket.c.name == bindparam("bucket_name"))
    .values(versioning=bindparam("versioning"), shared=bindparam("shared"))
)
_DELETE = Statement(delete(bucket).where(bucket.c.name == bindparam("name")))


def find(reader: Reader, name: str) -> Bucket | None:
    """Return the bucket, or None."""
    row = reader.one(_ONE, name=name)
    return None if row is None else _bucket(row)


def require(reader: Reader, name: str) -> Bucket:
    """Return the bucket; raise NotFound if there is none of that name."""
    found = find(reader, name)
    if found is None:
        raise missing(name)
    return found


def missing(name: str) -> NotFound:
    """Return the error for a bucket that does not exist, or must seem not to."""
    return NotFound(f"there is no bucket {name!r}: create it first", bucket=name)


def all_buckets(reader: Reader) -> list[Bucket]:
    """Return every bucket, sorted by name."""
    return [_bucket(row) for row in reader.all(_ALL)]


def insert_bucket(tx: Tx, made: Bucket) -> None:
    """Insert the row, without settings (see `s3_settings`)."""
    name, owner, versioning, shared, created_at, _ = made
    tx.run(_INSERT, name=name, owner=owner, versioning=versioning, shared=shared, created_at=created_at)


def change_bucket(tx: Tx, name: str, versioning: Versioning, *, shared: bool) -> None:
    tx.run(_CHANGE, bucket_name=name, versioning=versioning, shared=shared)


def delete_bucket(tx: Tx, name: str) -> None:
    tx.run(_DELETE, name=name)


def _bucket(row: Row) -> Bucket:
    name, owner, versioning, shared, created_at, settings = row
    names = frozenset(settings.split(",")) if settings else NO_SETTINGS
    return Bucket(name, owner, versioning, shared, created_at, names)
