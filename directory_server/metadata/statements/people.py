"""Statements about accounts, log-ins, keys and join secrets, for `directory_server.people`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.metadata.schema import account, api_key, join_secret, session, setting
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx


def _insert(table: Any) -> Statement:
    return Statement(insert(table).values({column.name: bindparam(column.name) for column in table.c}))


_SECRETS = (account.c.salt, account.c.password_hash, account.c.scrypt_log_n, account.c.admin)
ACCOUNT = Statement(select(account.c.admin, account.c.created_at).where(account.c.name == bindparam("name")))
PASSWORD = Statement(select(*_SECRETS).where(account.c.name == bindparam("name")))
ACCOUNT_NAMES = Statement(select(account.c.name).order_by(account.c.created_at, account.c.name))
INSERT_ACCOUNT = _insert(account)

SESSION = Statement(
    select(session.c.account, account.c.admin, session.c.expires, session.c.expires_at)
    .join(account, account.c.name == session.c.account)
    .where(session.c.token_hash == bindparam("hash"))
)
INSERT_SESSION = _insert(session)
DELETE_SESSION = Statement(delete(session).where(session.c.token_hash == bindparam("hash")))
DELETE_ENDED_SESSIONS = Statement(delete(session).where(session.c.expires < bindparam("now")))

API_KEY = Statement(
    select(api_key.c.account, account.c.admin, api_key.c.id)
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
DELETE_API_KEY = Statement(delete(api_key).where(api_key.c.key_hash == bindparam("hash")))

JOIN_SECRET = Statement(
    select(join_secret.c.expires, join_secret.c.role, join_secret.c.program, join_secret.c.hosts).where(
        join_secret.c.secret_hash == bindparam("hash")
    )
)
INSERT_JOIN_SECRET = _insert(join_secret)
DELETE_JOIN_SECRET = Statement(delete(join_secret).where(join_secret.c.secret_hash == bindparam("hash")))
DELETE_ENDED_JOIN_SECRETS = Statement(delete(join_secret).where(join_secret.c.expires < bindparam("now")))

_SETTING = Statement(select(setting.c.value).where(setting.c.name == bindparam("setting_name")))
_INSERT_SETTING = _insert(setting)
_UPDATE_SETTING = Statement(
    update(setting).where(setting.c.name == bindparam("setting_name")).values(value=bindparam("value"))
)


def is_admin(reader: Reader, name: str) -> bool:
    row = reader.one(ACCOUNT, name=name)
    return row is not None and bool(row[0])


def read_setting(reader: Reader, name: str) -> str | None:
    row = reader.one(_SETTING, setting_name=name)
    return None if row is None else str(row[0])


def write_setting(tx: Tx, name: str, value: str) -> None:
    if not tx.run(_UPDATE_SETTING, setting_name=name, value=value):
        tx.run(_INSERT_SETTING, name=name, value=value)
