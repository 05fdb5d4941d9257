"""Statements about tenants. The name of an account, or of a bucket's owner, says whose it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select

from directory_server.metadata.schema import account, bucket
from directory_server.metadata.schema_groups import account_group, tenant
from directory_server.metadata.statement import Position, Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.names import TENANT_SEPARATOR


def of_tenant(owner: Any, name: Any) -> Any:
    """The condition that an account's name, in a column, is of a tenant."""
    return func.substr(owner, 1, Position(owner, TENANT_SEPARATOR)) == name + TENANT_SEPARATOR


class TenantRow(NamedTuple):
    name: str
    description: str
    created_at: float
    accounts: int
    buckets: int


def _counted(table: Any, owner: Any) -> Any:
    return select(func.count()).select_from(table).where(of_tenant(owner, tenant.c.name)).scalar_subquery()


_COLUMNS = (
    tenant.c.name,
    tenant.c.description,
    tenant.c.created_at,
    _counted(account, account.c.name),
    _counted(bucket, bucket.c.owner),
)
_FIND = Statement(select(*_COLUMNS).where(tenant.c.name == bindparam("of_name")))
_ALL = Statement(select(*_COLUMNS).order_by(tenant.c.name))
_INSERT = Statement(insert(tenant).values({column.name: bindparam(column.name) for column in tenant.c}))
_DELETE = Statement(delete(tenant).where(tenant.c.name == bindparam("of_name")))
_DELETE_GROUPS = Statement(delete(account_group).where(account_group.c.tenant == bindparam("of_name")))


def find(reader: Reader, name: str) -> TenantRow | None:
    """Return a tenant; None if there is none of that name."""
    row = reader.one(_FIND, of_name=name)
    return None if row is None else TenantRow(*row)


def require(reader: Reader, name: str) -> TenantRow:
    """Return a tenant; raise NotFound if there is none of that name."""
    found = find(reader, name)
    if found is None:
        raise missing(name)
    return found


def missing(name: str) -> NotFound:
    """Return the error for a tenant that does not exist, or must seem not to."""
    return NotFound(f"there is no tenant {name!r}")


def every_tenant(reader: Reader) -> list[TenantRow]:
    """Return the tenants by name."""
    return [TenantRow(*row) for row in reader.all(_ALL)]


def insert_tenant(tx: Tx, name: str, description: str, at: float) -> None:
    tx.run(_INSERT, name=name, description=description, created_at=at)


def delete_tenant(tx: Tx, name: str) -> None:
    """Delete a tenant without accounts, and its groups, which are empty."""
    tx.run(_DELETE_GROUPS, of_name=name)
    tx.run(_DELETE, of_name=name)
