"""Statements about quotas: what accounts, buckets and tenants may have, and what they have.

Versions, their bytes and files are counted by the engine, in `usage`, from the moment of their quota on. The others are
few, and are counted when somebody wants one more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, union_all

from directory_server.metadata.schema import account, api_key, bucket, current, s3_key, version
from directory_server.metadata.schema_locks import lock, waiter
from directory_server.metadata.schema_quotas import quota, usage
from directory_server.metadata.schema_s3 import part, upload
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.tenants import of_tenant
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.errors import QuotaExceeded
from lockstep_store.wire.messages.quotas import BUILT_IN, COUNTED_RESOURCES, QuotaScope
from lockstep_store.wire.names import quoted

ACCOUNT: QuotaScope = "account"
BUCKET: QuotaScope = "bucket"
TENANT: QuotaScope = "tenant"
Counted = tuple[str, str, str]
"""What the engine counts: a scope, a name and a resource."""
_SCOPES: dict[str, QuotaScope] = {"account": ACCOUNT, "bucket": BUCKET, "tenant": TENANT}


def _of(table: Any) -> Any:
    return (table.c.scope == bindparam("of_scope")) & (table.c.name == bindparam("of_name"))


def _resource(table: Any) -> Any:
    return _of(table) & (table.c.resource == bindparam("of_resource"))


_ALLOWED = Statement(select(quota.c.allowed).where(_resource(quota)))
_STANDING = Statement(
    select(quota.c.allowed, usage.c.used)
    .join(
        usage,
        (usage.c.scope == quota.c.scope) & (usage.c.name == quota.c.name) & (usage.c.resource == quota.c.resource),
    )
    .where(_resource(quota))
)
_QUOTAS_OF = Statement(select(quota.c.resource, quota.c.allowed).where(_of(quota)))
_ALL = Statement(
    select(quota.c.scope, quota.c.name, quota.c.resource, quota.c.allowed).order_by(
        quota.c.scope, quota.c.name, quota.c.resource
    )
)
_USED = Statement(select(usage.c.used).where(_resource(usage)))
_INSERT = Statement(insert(quota).values({column.name: bindparam(column.name) for column in quota.c}))
_DELETE = Statement(delete(quota).where(_resource(quota)))
_DELETE_OF = Statement(delete(quota).where(_of(quota)))
_INSERT_USAGE = Statement(insert(usage).values({column.name: bindparam(column.name) for column in usage.c}))
_DELETE_USAGE = Statement(delete(usage).where(_resource(usage)))
_DELETE_USAGE_OF = Statement(delete(usage).where(_of(usage)))


def _bytes(of_versions: Any, of_parts: Any) -> Any:
    sizes = union_all(
        select(version.c.size).where(of_versions, version.c.digest.is_not(None)),
        select(part.c.size).join(upload, upload.c.id == part.c.upload).where(of_parts),
    ).subquery()
    return select(func.coalesce(func.sum(sizes.c.size), 0))


def _count(table: Any, *conditions: Any) -> Any:
    return select(func.count()).select_from(table).where(*conditions)


_name: BindParameter[str] = bindparam("of_name")
_keys = union_all(
    select(api_key.c.id).where(api_key.c.account == _name),
    select(s3_key.c.access_key_id).where(s3_key.c.account == _name),
).subquery()
_content = version.c.digest.is_not(None)
_theirs = select(bucket.c.name).where(of_tenant(bucket.c.owner, _name))
_COUNTED_NOW: dict[tuple[QuotaScope, str], Any] = {
    (BUCKET, "bytes"): _bytes(version.c.bucket == _name, upload.c.bucket == _name),
    (BUCKET, "versions"): _count(version, version.c.bucket == _name, _content),
    (BUCKET, "files"): _count(current, current.c.bucket == _name),
    (ACCOUNT, "bytes"): _bytes(version.c.author == _name, upload.c.account == _name),
    (ACCOUNT, "versions"): _count(version, version.c.author == _name, _content),
    (ACCOUNT, "files"): _count(current, current.c.author == _name),
    (ACCOUNT, "buckets"): _count(bucket, bucket.c.owner == _name),
    (ACCOUNT, "locks"): _count(lock, lock.c.account == _name),
    (ACCOUNT, "waiters"): _count(waiter, waiter.c.account == _name),
    (TENANT, "bytes"): _bytes(version.c.bucket.in_(_theirs), upload.c.bucket.in_(_theirs)),
    (TENANT, "versions"): _count(version, version.c.bucket.in_(_theirs), _content),
    (TENANT, "files"): _count(current, current.c.bucket.in_(_theirs)),
    (TENANT, "buckets"): _count(bucket, of_tenant(bucket.c.owner, _name)),
    (TENANT, "accounts"): _count(account, of_tenant(account.c.name, _name)),
    (ACCOUNT, "keys"): select(func.count()).select_from(_keys),
}
_COUNTS = {key: Statement(counted) for key, counted in _COUNTED_NOW.items()}
_allowed = select(quota.c.allowed).where(_resource(quota)).scalar_subquery()
_ROOMS = {key: Statement(select(_allowed, counted.scalar_subquery())) for key, counted in _COUNTED_NOW.items()}


def allowed(reader: Reader, scope: QuotaScope, name: str, resource: str) -> int | None:
    """Return what a quota or the built-in bound allows; None without a bound."""
    row = reader.one(_ALLOWED, of_scope=scope, of_name=name, of_resource=resource)
    return int(row[0]) if row else BUILT_IN.get((scope, resource))


def quotas_of(reader: Reader, scope: QuotaScope, name: str) -> dict[str, int]:
    """Return the quotas that were set, by resource."""
    return {row[0]: int(row[1]) for row in reader.all(_QUOTAS_OF, of_scope=scope, of_name=name)}


def every_quota(reader: Reader) -> list[tuple[QuotaScope, str, str, int]]:
    """Return (scope, name, resource, allowed) of every quota that was set."""
    return [(_SCOPES[row[0]], row[1], row[2], int(row[3])) for row in reader.all(_ALL)]


def count_now(reader: Reader, scope: QuotaScope, name: str, resource: str) -> int | None:
    """Count what is there now; None for what is not in the metadata. Slow for versions, bytes and files."""
    statement = _COUNTS.get((scope, resource))
    row = reader.one(statement, of_name=name) if statement is not None else None
    return int(row[0]) if row else None


def used(reader: Reader, scope: QuotaScope, name: str, resource: str) -> int | None:
    """Return what the engine has counted; None without a quota."""
    row = reader.one(_USED, of_scope=scope, of_name=name, of_resource=resource)
    return int(row[0]) if row else None


def set_quota(tx: Tx, scope: QuotaScope, name: str, resource: str, value: int | None) -> None:
    """Set or, with None, remove a quota, and begin or end counting."""
    key = {"of_scope": scope, "of_name": name, "of_resource": resource}
    tx.run(_DELETE, **key)
    if value is not None:
        tx.run(_INSERT, scope=scope, name=name, resource=resource, allowed=value)
    if resource in COUNTED_RESOURCES and (value is None or used(tx, scope, name, resource) is None):
        count_again(tx, scope, name, resource, wanted=value is not None)


def count_again(tx: Tx, scope: QuotaScope, name: str, resource: str, *, wanted: bool = True) -> None:
    """Replace what is counted by a new count, or remove it."""
    tx.run(_DELETE_USAGE, of_scope=scope, of_name=name, of_resource=resource)
    if wanted:
        tx.run(_INSERT_USAGE, scope=scope, name=name, resource=resource, used=count_now(tx, scope, name, resource) or 0)


def drop_quotas(tx: Tx, scope: QuotaScope, name: str) -> None:
    """Remove all quotas of an account, bucket or tenant that is deleted."""
    tx.run(_DELETE_OF, of_scope=scope, of_name=name)
    tx.run(_DELETE_USAGE_OF, of_scope=scope, of_name=name)


def demand_room(reader: Reader, scope: QuotaScope, name: str, resource: str, more: int = 1) -> None:
    """Raise QuotaExceeded unless `more` of a resource may be added, counted now."""
    row = reader.one(_ROOMS[scope, resource], of_scope=scope, of_name=name, of_resource=resource)
    assert row is not None
    limit = row[0] if row[0] is not None else BUILT_IN.get((scope, resource))
    if limit is not None and row[1] + more > limit:
        raise exceeded(scope, name, resource, row[1] + more, limit)


def demand_counted_room(reader: Reader, scope: str, name: str, resource: str, more: int) -> None:
    """The same by what the engine has counted, as far as there is a quota."""
    row = reader.one(_STANDING, of_scope=scope, of_name=name, of_resource=resource)
    if row is not None and row[1] + more > row[0]:
        raise exceeded(scope, name, resource, int(row[1]) + more, int(row[0]))


def demand_none_exceeded(reader: Reader, risen: Iterable[Counted]) -> None:
    """Raise QuotaExceeded if a count that rose above its quota is still above it."""
    for scope, name, resource in dict.fromkeys(risen):
        demand_counted_room(reader, scope, name, resource, 0)


def exceeded(scope: str, name: str, resource: str, wanted: int, limit: int) -> QuotaExceeded:
    """Return the refusal of something that would make it `wanted` of a resource."""
    return QuotaExceeded(
        f"over quota: {scope} {quoted(name)} may have {limit} {resource}, and this would make it {wanted}; remove "
        "some, or ask an administrator for a larger quota",
        scope=scope,
        name=name,
        resource=resource,
        wanted=wanted,
        allowed=limit,
    )
