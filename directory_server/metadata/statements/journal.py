"""Statements that read the journal: the changes after a cursor that a person may see.

Every statement walks over the journal between two cursors only, so its cost has a bound however little of it is the
person's. Rows come in the order of their cursors: (cursor, kind, bucket, path, version, at).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from directory_server.metadata.schema import bucket, journal, past_bucket, version
from directory_server.metadata.statement import Position, Statement
from directory_server.metadata.statements.tenants import of_tenant
from directory_server.metadata.store import Tx
from lockstep_store.wire.names import TENANT_SEPARATOR, tenant_of

_ROW = (journal.c.cursor, journal.c.kind, journal.c.bucket, journal.c.path, journal.c.version, journal.c.at)


def _between(*conditions: ColumnElement[bool]) -> Statement:
    walked = and_(journal.c.cursor > bindparam("after"), journal.c.cursor <= bindparam("until"))
    return Statement(select(*_ROW).where(walked, *conditions).order_by(journal.c.cursor).limit(bindparam("count")))


def _theirs(table: Any) -> ColumnElement[bool]:
    of_tenant = func.substr(table.c.owner, 1, Position(table.c.owner, TENANT_SEPARATOR)) == bindparam("domain")
    return and_(of_tenant, or_(table.c.shared, table.c.owner == bindparam("account"), bindparam("all", type_=Boolean)))


# A deleted private bucket's name may be reused by somebody else, who must not see what was in it. So the journal rows
# of a bucket are those between the cursors at which it was created and deleted.
_in_a_bucket = exists(
    select(literal_column("1")).where(
        bucket.c.name == journal.c.bucket, journal.c.cursor > bucket.c.since_cursor, _theirs(bucket)
    )
)
_in_a_past_bucket = exists(
    select(literal_column("1")).where(
        past_bucket.c.name == journal.c.bucket,
        journal.c.cursor > past_bucket.c.since_cursor,
        journal.c.cursor <= past_bucket.c.until_cursor,
        _theirs(past_bucket),
    )
)

EVERYTHING = _between()
VISIBLE = _between(or_(_in_a_bucket, _in_a_past_bucket))
OF_BUCKET = _between(journal.c.bucket == bindparam("bucket"))

AT = Statement(select(journal.c.cursor).where(journal.c.cursor == bindparam("cursor")))
FIRST_AFTER = Statement(
    select(journal.c.cursor).where(journal.c.cursor > bindparam("after")).order_by(journal.c.cursor).limit(1)
)
LAST_UNTIL = Statement(
    select(journal.c.cursor).where(journal.c.cursor <= bindparam("until")).order_by(journal.c.cursor.desc()).limit(1)
)

SINCE_CURSOR = Statement(select(bucket.c.since_cursor).where(bucket.c.name == bindparam("name")))
VERSION = Statement(
    select(version.c.digest, version.c.size, version.c.author, version.c.lock_number, version.c.delete_marker).where(
        version.c.id == bindparam("version")
    )
)

_newest = select(func.coalesce(func.max(journal.c.cursor), 0)).scalar_subquery()
# A bucket in which nothing changed leaves no journal rows, so it needs no past bucket.
REMEMBER_BUCKET = Statement(
    insert(past_bucket).from_select(
        ["name", "since_cursor", "until_cursor", "owner", "shared"],
        select(bucket.c.name, bucket.c.since_cursor, _newest, bucket.c.owner, bucket.c.shared).where(
            bucket.c.name == bindparam("name"), bucket.c.since_cursor < _newest
        ),
    )
)
_DISOWN = Statement(
    update(past_bucket).where(past_bucket.c.owner == bindparam("of_account")).values(owner=bindparam("nobody"))
)
_FORGET_OF_TENANT = Statement(delete(past_bucket).where(of_tenant(past_bucket.c.owner, bindparam("tenant"))))


def disown_past_buckets(tx: Tx, account: str) -> None:
    """Let nobody own an account's deleted buckets: not who takes its name. Shared ones stay those of its tenant."""
    tenant = tenant_of(account)
    tx.run(_DISOWN, of_account=account, nobody=f"{tenant}{TENANT_SEPARATOR}" if tenant else "")


def forget_past_buckets(tx: Tx, tenant: str) -> None:
    """Forget a tenant's deleted buckets: whoever takes its name does not see what was in them."""
    tx.run(_FORGET_OF_TENANT, tenant=tenant)
