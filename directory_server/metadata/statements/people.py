"""Statements about accounts, log-ins, keys and join secrets, for `directory_server.people`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from directory_server.metadata.schema import account, api_key, bucket, join_secret, s3_key, session, setting
from directory_server.metadata.schema_identity_providers import linked_identity
from directory_server.metadata.schema_second_factor import second_factor
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.names import quoted, tenant_of


class PasswordRow(Protocol):
    """A password's hash and how it was made."""

    @property
    def salt(self) -> bytes: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def log_n(self) -> int: ...
    @property
    def p(self) -> int: ...


def _insert(table: Any) -> Statement:
    return Statement(insert(table).values({column.name: bindparam(column.name) for column in table.c}))


_SECRETS = (
    account.c.salt,
    account.c.password_hash,
    account.c.scrypt_log_n,
    account.c.scrypt_p,
    account.c.admin,
    account.c.disabled,
    account.c.must_change,
)
_WHO = (account.c.name, account.c.admin, account.c.read_only, account.c.disabled, account.c.tenant_admin)
"""Of a credential's account, in this order."""
_ADMINISTRATORS = Statement(
    select(account.c.name)
    .where(or_(account.c.admin, account.c.tenant_admin), account.c.disabled.is_(False))
    .order_by(account.c.name)
)
_ROLE = Statement(
    select(account.c.admin, account.c.read_only, account.c.tenant_admin).where(account.c.name == bindparam("name"))
)
_STATE = Statement(select(*_WHO[1:]).where(account.c.name == bindparam("name")))
ACCOUNT = Statement(select(account.c.admin, account.c.created_at).where(account.c.name == bindparam("name")))
PASSWORD = Statement(select(*_SECRETS).where(account.c.name == bindparam("name")))
ACCOUNT_NAMES = Statement(select(account.c.name).order_by(account.c.created_at, account.c.name))
INSERT_ACCOUNT = _insert(account)

SESSION = Statement(
    select(*_WHO, session.c.expires, session.c.expires_at)
    .join(account, account.c.name == session.c.account)
    .where(session.c.token_hash == bindparam("hash"))
)
INSERT_SESSION = _insert(session)
DELETE_SESSION = Statement(delete(session).where(session.c.token_hash == bindparam("hash")))
DELETE_SESSIONS_OF = Statement(delete(session).where(session.c.account == bindparam("of_account")))
SESSIONS_OF = Statement(
    select(session.c.token_hash, session.c.client, session.c.created_at, session.c.expires_at)
    .where(session.c.account == bindparam("of_account"))
    .order_by(session.c.created_at)
    .limit(bindparam("count"))
)
DELETE_ENDED_SESSIONS = Statement(delete(session).where(session.c.expires < bindparam("now")))

API_KEY = Statement(
    select(*_WHO, api_key.c.id)
    .join(account, account.c.name == api_key.c.account)
    .where(api_key.c.key_hash == bindparam("hash"))
)
API_KEYS_OF = Statement(
    select(api_key.c.id, api_key.c.name, api_key.c.created_at)
    .where(api_key.c.account == bindparam("account"))
    .order_by(api_key.c.created_at, api_key.c.id)
    .limit(bindparam("count"))
)
API_KEY_HASH = Statement(
    select(api_key.c.key_hash).where(api_key.c.id == bindparam("id"), api_key.c.account == bindparam("account"))
)
INSERT_API_KEY = _insert(api_key)
DELETE_API_KEYS_OF = Statement(delete(api_key).where(api_key.c.account == bindparam("of_account")))
DELETE_API_KEY = Statement(delete(api_key).where(api_key.c.key_hash == bindparam("hash")))

USERS = Statement(
    select(
        account.c.name,
        or_(account.c.admin, account.c.tenant_admin),
        account.c.read_only,
        account.c.created_at,
        account.c.disabled,
        account.c.must_change,
        *(
            select(func.count()).where(table.c.account == account.c.name).scalar_subquery()
            for table in (session, api_key, s3_key)
        ),
        account.c.second_factor_required,
        select(func.count())
        .where(second_factor.c.account == account.c.name, second_factor.c.enabled_at.is_not(None))
        .scalar_subquery(),
        select(func.count()).where(linked_identity.c.account == account.c.name).scalar_subquery(),
        account.c.password_hash,
    ).order_by(account.c.name)
)
_SET_STATE = Statement(
    update(account)
    .where(account.c.name == bindparam("of_account"))
    .values(
        admin=bindparam("new_admin"),
        read_only=bindparam("new_read_only"),
        disabled=bindparam("new_disabled"),
        tenant_admin=bindparam("new_tenant_admin"),
    )
)
SET_PASSWORD = Statement(
    update(account)
    .where(account.c.name == bindparam("of_account"))
    .values(
        salt=bindparam("new_salt"),
        password_hash=bindparam("new_hash"),
        scrypt_log_n=bindparam("new_log_n"),
        scrypt_p=bindparam("new_p"),
        must_change=bindparam("new_must_change"),
    )
)
DELETE_ACCOUNT = Statement(delete(account).where(account.c.name == bindparam("of_account")))
OTHER_ADMINISTRATORS = Statement(
    select(func.count()).where(account.c.admin, ~account.c.disabled, account.c.name != bindparam("name"))
)
GIVE_BUCKETS = Statement(
    update(bucket).where(bucket.c.owner == bindparam("of_account")).values(owner=bindparam("new_owner"))
)

JOIN_SECRET = Statement(
    select(join_secret.c.expires, join_secret.c.role, join_secret.c.program, join_secret.c.hosts).where(
        join_secret.c.secret_hash == bindparam("hash")
    )
)
INSERT_JOIN_SECRET = _insert(join_secret)
DELETE_JOIN_SECRET = Statement(delete(join_secret).where(join_secret.c.secret_hash == bindparam("hash")))
DELETE_JOIN_SECRETS = Statement(delete(join_secret))
DELETE_ENDED_JOIN_SECRETS = Statement(delete(join_secret).where(join_secret.c.expires < bindparam("now")))

_SETTING = Statement(select(setting.c.value).where(setting.c.name == bindparam("setting_name")))
_INSERT_SETTING = _insert(setting)
_DELETE_SETTING = Statement(delete(setting).where(setting.c.name == bindparam("setting_name")))
_UPDATE_SETTING = Statement(
    update(setting).where(setting.c.name == bindparam("setting_name")).values(value=bindparam("value"))
)


class Role(NamedTuple):
    """What an account is: an administrator of the cluster, a reader only, an administrator of its tenant."""

    admin: bool = False
    read_only: bool = False
    tenant_admin: bool = False


NO_ROLE = Role()


def administrators(reader: Reader, tenant: str) -> list[str]:
    """Return the names of a tenant's administrators that are not disabled, in order; without one the cluster's."""
    return [row[0] for row in reader.all(_ADMINISTRATORS) if tenant_of(row[0]) == tenant]


def missing(name: str) -> NotFound:
    """Return the error for an account that does not exist, or must seem not to."""
    return NotFound(f"there is no account {quoted(name)}")


def role_of(reader: Reader, name: str) -> Role:
    """Return what an account is; an unknown one has no role."""
    row = reader.one(_ROLE, name=name)
    return NO_ROLE if row is None else Role(*map(bool, row))


def state_of(reader: Reader, name: str) -> tuple[Role, bool] | None:
    """Return what an account is, and whether it is disabled; None for an unknown one."""
    row = reader.one(_STATE, name=name)
    return None if row is None else (Role(bool(row[0]), bool(row[1]), bool(row[3])), bool(row[2]))


def set_state(tx: Tx, name: str, *, administrator: bool, read_only: bool, disabled: bool) -> None:
    """Change an account's role, and whether it is disabled. An administrator in a tenant is one of that tenant only."""
    tx.run(
        _SET_STATE,
        of_account=name,
        new_admin=administrator and not tenant_of(name),
        new_read_only=read_only,
        new_disabled=disabled,
        new_tenant_admin=administrator and bool(tenant_of(name)),
    )


def set_password(tx: Tx, name: str, password: PasswordRow, *, must_change: bool) -> None:
    """Replace an account's password."""
    tx.run(
        SET_PASSWORD,
        of_account=name,
        new_salt=password.salt,
        new_hash=password.hash,
        new_log_n=password.log_n,
        new_p=password.p,
        new_must_change=must_change,
    )


def is_admin(reader: Reader, name: str) -> bool:
    row = reader.one(ACCOUNT, name=name)
    return row is not None and bool(row[0])


def read_setting(reader: Reader, name: str) -> str | None:
    row = reader.one(_SETTING, setting_name=name)
    return None if row is None else str(row[0])


def delete_setting(tx: Tx, name: str) -> None:
    tx.run(_DELETE_SETTING, setting_name=name)


def write_setting(tx: Tx, name: str, value: str) -> None:
    if not tx.run(_UPDATE_SETTING, setting_name=name, value=value):
        tx.run(_INSERT_SETTING, name=name, value=value)
