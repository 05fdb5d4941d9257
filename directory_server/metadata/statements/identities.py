"""Statements about users, roles and groups below accounts, for `people` and the feature `identities`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, insert, select, update

from directory_server.metadata.schema_identities import group_member, identity, identity_policy
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import people
from directory_server.metadata.store import Reader, Row, Tx


@dataclass(frozen=True)
class IdentityRow:
    """A user, role or group of an account. `trust` and `max_session_seconds` are those of a role."""

    account: str
    kind: str
    name: str
    id: str
    path: str
    created_at: float
    description: str = ""
    trust: str = ""
    max_session_seconds: float = 0.0


_COLUMNS = (
    identity.c.account,
    identity.c.kind,
    identity.c.name,
    identity.c.id,
    identity.c.path,
    identity.c.created_at,
    identity.c.description,
    identity.c.trust,
    identity.c.max_session_seconds,
)
_THIS = and_(
    identity.c.account == bindparam("of_account"),
    identity.c.kind == bindparam("of_kind"),
    identity.c.folded == bindparam("of_folded"),
)
_FIND = Statement(select(*_COLUMNS).where(_THIS))
_OF = Statement(
    select(*_COLUMNS)
    .where(
        identity.c.account == bindparam("of_account"),
        identity.c.kind == bindparam("of_kind"),
        identity.c.folded > bindparam("after"),
    )
    .order_by(identity.c.folded)
    .limit(bindparam("count"))
)
_INSERT = Statement(insert(identity).values({column.name: bindparam(column.name) for column in identity.c}))
_DELETE = Statement(delete(identity).where(_THIS))
_UPDATE = Statement(
    update(identity)
    .where(_THIS)
    .values(
        trust=bindparam("new_trust"), description=bindparam("new_description"), max_session_seconds=bindparam("seconds")
    )
)

_POLICIES_OF = and_(
    identity_policy.c.account == bindparam("of_account"),
    identity_policy.c.kind == bindparam("of_kind"),
    identity_policy.c.identity == bindparam("of_identity"),
)
_POLICIES = Statement(
    select(identity_policy.c.name, identity_policy.c.document).where(_POLICIES_OF).order_by(identity_policy.c.name)
)
_GROUP_POLICIES = Statement(
    select(identity_policy.c.document)
    .join(
        group_member,
        and_(
            group_member.c.account == identity_policy.c.account,
            group_member.c.group_name == identity_policy.c.identity,
        ),
    )
    .where(
        identity_policy.c.account == bindparam("of_account"),
        identity_policy.c.kind == "group",
        group_member.c.user_name == bindparam("of_user"),
    )
    .order_by(identity_policy.c.identity, identity_policy.c.name)
)
_INSERT_POLICY = Statement(
    insert(identity_policy).values({column.name: bindparam(column.name) for column in identity_policy.c})
)
_DELETE_POLICY = Statement(delete(identity_policy).where(_POLICIES_OF, identity_policy.c.name == bindparam("of_name")))

_MEMBERS = Statement(
    select(group_member.c.user_name)
    .where(group_member.c.account == bindparam("of_account"), group_member.c.group_name == bindparam("of_group"))
    .order_by(group_member.c.user_name)
)
_GROUPS = Statement(
    select(group_member.c.group_name)
    .where(group_member.c.account == bindparam("of_account"), group_member.c.user_name == bindparam("of_user"))
    .order_by(group_member.c.group_name)
)
_INSERT_MEMBER = Statement(
    insert(group_member).values({column.name: bindparam(column.name) for column in group_member.c})
)
_DELETE_MEMBER = Statement(
    delete(group_member).where(
        group_member.c.account == bindparam("of_account"),
        group_member.c.group_name == bindparam("of_group"),
        group_member.c.user_name == bindparam("of_user"),
    )
)
DELETE_ALL_OF = tuple(
    Statement(delete(table).where(table.c.account == bindparam("of_account")))
    for table in (identity, identity_policy, group_member)
)
"""Delete everything below an account."""


def find(reader: Reader, account: str, kind: str, name: str) -> IdentityRow | None:
    """Return an identity by its name in any case; None if there is none."""
    row = reader.one(_FIND, of_account=account, of_kind=kind, of_folded=name.lower())
    return None if row is None else _identity(row)


def is_principal(reader: Reader, name: str) -> bool:
    """Whether there is an account of that name, or an identity such as `ann:user/backup`."""
    account, _, identity = name.partition(":")
    if not identity:
        return reader.one(people.ACCOUNT, name=account) is not None
    kind, _, own_name = identity.partition("/")
    found = find(reader, account, kind, own_name)
    return found is not None and found.name == own_name


def page(reader: Reader, account: str, kind: str, after: str, count: int) -> list[IdentityRow]:
    """Return the identities of a kind after the name `after`, by name."""
    rows = reader.all(_OF, of_account=account, of_kind=kind, after=after.lower(), count=count)
    return [_identity(row) for row in rows]


def insert_identity(tx: Tx, made: IdentityRow) -> None:
    tx.run(
        _INSERT,
        account=made.account,
        kind=made.kind,
        folded=made.name.lower(),
        name=made.name,
        id=made.id,
        path=made.path,
        created_at=made.created_at,
        description=made.description,
        trust=made.trust,
        max_session_seconds=made.max_session_seconds,
    )


def change_identity(tx: Tx, changed: IdentityRow) -> None:
    """Store the trust policy, description and session length of a role."""
    tx.run(
        _UPDATE,
        of_account=changed.account,
        of_kind=changed.kind,
        of_folded=changed.name.lower(),
        new_trust=changed.trust,
        new_description=changed.description,
        seconds=changed.max_session_seconds,
    )


def drop_identity(tx: Tx, found: IdentityRow) -> None:
    tx.run(_DELETE, of_account=found.account, of_kind=found.kind, of_folded=found.name.lower())


def policies_of(reader: Reader, account: str, kind: str, name: str) -> dict[str, str]:
    """Return an identity's inline policies: documents by name."""
    rows = reader.all(_POLICIES, of_account=account, of_kind=kind, of_identity=name)
    return {row[0]: row[1] for row in rows}


def documents_of(reader: Reader, account: str, kind: str, name: str) -> tuple[str, ...]:
    """Return every policy document of an identity, those of a user's groups included."""
    own = tuple(policies_of(reader, account, kind, name).values())
    if kind != "user":
        return own
    return own + tuple(row[0] for row in reader.all(_GROUP_POLICIES, of_account=account, of_user=name))


def put_policy(tx: Tx, account: str, kind: str, name: str, policy: str, document: str) -> None:
    drop_policy(tx, account, kind, name, policy)
    tx.run(_INSERT_POLICY, account=account, kind=kind, identity=name, name=policy, document=document)


def drop_policy(tx: Tx, account: str, kind: str, name: str, policy: str) -> bool:
    """Delete a policy; False if there is none of that name."""
    return bool(tx.run(_DELETE_POLICY, of_account=account, of_kind=kind, of_identity=name, of_name=policy))


def members_of(reader: Reader, account: str, group: str) -> list[str]:
    return [row[0] for row in reader.all(_MEMBERS, of_account=account, of_group=group)]


def groups_of(reader: Reader, account: str, user: str) -> list[str]:
    return [row[0] for row in reader.all(_GROUPS, of_account=account, of_user=user)]


def add_member(tx: Tx, account: str, group: str, user: str) -> None:
    """Add a user to a group. Safe to repeat."""
    drop_member(tx, account, group, user)
    tx.run(_INSERT_MEMBER, account=account, group_name=group, user_name=user)


def drop_member(tx: Tx, account: str, group: str, user: str) -> bool:
    """Remove a user from a group; False if the user is not in it."""
    return bool(tx.run(_DELETE_MEMBER, of_account=account, of_group=group, of_user=user))


def _identity(row: Row) -> IdentityRow:
    return IdentityRow(*row)
