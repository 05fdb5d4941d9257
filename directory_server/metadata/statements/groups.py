"""Statements about groups of accounts."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from directory_server.metadata.schema_groups import account_group, account_group_member
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.groups import GroupRole

_group, _member = account_group.c, account_group_member.c
_ONE = (_group.tenant == bindparam("of_tenant")) & (_group.name == bindparam("of_name"))
_IN = (_member.tenant == bindparam("of_tenant")) & (_member.group_name == bindparam("of_name"))
_members = (
    select(func.count())
    .where(_member.tenant == _group.tenant, _member.group_name == _group.name)
    .correlate(account_group)
    .scalar_subquery()
)
_COLUMNS = (_group.name, _group.description, _group.created_at, _members)
_FIND = Statement(select(*_COLUMNS).where(_ONE))
_ALL = Statement(select(*_COLUMNS).where(_group.tenant == bindparam("of_tenant")).order_by(_group.name))
_MEMBERS = Statement(select(_member.account, _member.manager).where(_IN).order_by(_member.account))
_OF_ACCOUNT = Statement(
    select(_member.group_name, _member.manager)
    .where(_member.account == bindparam("of_account"))
    .order_by(_member.group_name)
)
_INSERT = Statement(insert(account_group).values({column.name: bindparam(column.name) for column in account_group.c}))
_DESCRIBE = Statement(update(account_group).where(_ONE).values(description=bindparam("new_description")))
_DELETE = Statement(delete(account_group).where(_ONE))
_INSERT_MEMBER = Statement(
    insert(account_group_member).values({column.name: bindparam(column.name) for column in account_group_member.c})
)
_DELETE_MEMBER = Statement(delete(account_group_member).where(_IN, _member.account == bindparam("of_account")))
_DELETE_MEMBERS = Statement(delete(account_group_member).where(_IN))
DELETE_MEMBERSHIPS_OF: Final = Statement(delete(account_group_member).where(_member.account == bindparam("of_account")))


class GroupRow(NamedTuple):
    name: str
    description: str
    created_at: float
    members: int


def find(reader: Reader, tenant: str, name: str) -> GroupRow | None:
    """Return a group; None if there is none of that name."""
    row = reader.one(_FIND, of_tenant=tenant, of_name=name)
    return None if row is None else GroupRow(*row)


def missing(name: str) -> NotFound:
    """Return the error for a group that does not exist, or must seem not to."""
    return NotFound(f"there is no group {name!r}")


def every_group(reader: Reader, tenant: str) -> list[GroupRow]:
    """Return a tenant's groups by name."""
    return [GroupRow(*row) for row in reader.all(_ALL, of_tenant=tenant)]


def members_of(reader: Reader, tenant: str, name: str) -> dict[str, GroupRole]:
    """Return the members of a group by name."""
    return {row[0]: _role(row[1]) for row in reader.all(_MEMBERS, of_tenant=tenant, of_name=name)}


def groups_of(reader: Reader, account: str) -> dict[str, GroupRole]:
    """Return what an account is in each of its groups."""
    return {row[0]: _role(row[1]) for row in reader.all(_OF_ACCOUNT, of_account=account)}


def insert_group(tx: Tx, tenant: str, name: str, description: str, at: float) -> None:
    tx.run(_INSERT, tenant=tenant, name=name, description=description, created_at=at)


def describe(tx: Tx, tenant: str, name: str, description: str) -> None:
    """Replace a group's description."""
    tx.run(_DESCRIBE, of_tenant=tenant, of_name=name, new_description=description)


def set_member(tx: Tx, tenant: str, name: str, account: str, role: GroupRole | None) -> None:
    """Make an account a member or a manager, or remove it with None. Safe to repeat."""
    tx.run(_DELETE_MEMBER, of_tenant=tenant, of_name=name, of_account=account)
    if role is not None:
        tx.run(_INSERT_MEMBER, tenant=tenant, group_name=name, account=account, manager=role == "manager")


def delete_group(tx: Tx, tenant: str, name: str) -> None:
    """Delete a group with its memberships."""
    tx.run(_DELETE_MEMBERS, of_tenant=tenant, of_name=name)
    tx.run(_DELETE, of_tenant=tenant, of_name=name)


def _role(manager: object) -> GroupRole:
    return "manager" if manager else "member"
