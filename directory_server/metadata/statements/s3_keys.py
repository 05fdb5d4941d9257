"""Statements about S3 access keys, for `directory_server.people.access_keys`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select, update

from directory_server.metadata.schema import account, s3_key
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.messages.s3 import S3KeyInfo


@dataclass(frozen=True)
class S3KeyRow:
    """A key with its secret. `expires` is directory time; `session_hash` is BLAKE3 of a temporary key's token.

    `identity` is "user/NAME" or "role/NAME", empty for the account itself; `session_policies` is a JSON list.
    """

    account: str
    admin: bool
    read_only: bool
    disabled: bool
    secret: str
    name: str
    session_hash: bytes | None
    expires: float | None
    active: bool
    identity: str
    session_name: str
    session_policies: str
    parent_key: str
    tenant_admin: bool = False

    def __repr__(self) -> str:
        return f"S3KeyRow({self.account!r})"


@dataclass(frozen=True)
class S3KeyHolder:
    """Whom a key belongs to, other than its account; see the table `s3_key`."""

    identity: str = ""
    session_name: str = ""
    session_policies: tuple[str, ...] = ()
    parent_key: str = ""


OF_THE_ACCOUNT = S3KeyHolder()
_FIND = Statement(
    select(
        s3_key.c.account,
        account.c.admin,
        account.c.read_only,
        account.c.disabled,
        s3_key.c.secret,
        s3_key.c.name,
        s3_key.c.session_hash,
        s3_key.c.expires,
        s3_key.c.active,
        s3_key.c.identity,
        s3_key.c.session_name,
        s3_key.c.session_policies,
        s3_key.c.parent_key,
        account.c.tenant_admin,
    )
    .join(account, account.c.name == s3_key.c.account)
    .where(s3_key.c.access_key_id == bindparam("id"))
)
_SHOWN = select(
    s3_key.c.access_key_id,
    s3_key.c.account,
    s3_key.c.created_at,
    s3_key.c.name,
    s3_key.c.expires_at,
    s3_key.c.active,
)
_OF = Statement(
    _SHOWN.where(
        s3_key.c.account == bindparam("of_account"),
        s3_key.c.identity == bindparam("of_identity"),
        s3_key.c.parent_key == "",
    )
    .order_by(s3_key.c.created_at, s3_key.c.access_key_id)
    .limit(bindparam("count"))
)
_EVERY_OF = Statement(
    _SHOWN.where(s3_key.c.account == bindparam("of_account"))
    .order_by(s3_key.c.created_at, s3_key.c.access_key_id)
    .limit(bindparam("count"))
)
_made = select(s3_key.c.access_key_id).where(s3_key.c.parent_key == bindparam("parent")).cte("made", recursive=True)
_made = _made.union_all(select(s3_key.c.access_key_id).where(s3_key.c.parent_key == _made.c.access_key_id))
"""A key's sessions, and those that were made with them."""
_SESSIONS = Statement(select(func.count()).select_from(_made))
_FEDERATED_SESSIONS = Statement(
    select(func.count()).where(
        s3_key.c.account == bindparam("of_account"),
        s3_key.c.identity == bindparam("of_identity"),
        s3_key.c.parent_key == "",
        s3_key.c.session_hash.is_not(None),
    )
)
_DELETE_OF_IDENTITY = Statement(
    delete(s3_key).where(s3_key.c.account == bindparam("of_account"), s3_key.c.identity == bindparam("of_identity"))
)
_SET_ACTIVE = Statement(
    update(s3_key)
    .where(
        s3_key.c.access_key_id == bindparam("id"),
        s3_key.c.account == bindparam("of_account"),
        s3_key.c.identity == bindparam("of_identity"),
        s3_key.c.parent_key == "",
    )
    .values(active=bindparam("new_active"))
)
_DELETE_SESSIONS = Statement(delete(s3_key).where(s3_key.c.access_key_id.in_(select(_made.c.access_key_id))))
_INSERT = Statement(insert(s3_key).values({column.name: bindparam(column.name) for column in s3_key.c}))
_DELETE = Statement(
    delete(s3_key).where(s3_key.c.access_key_id == bindparam("id"), s3_key.c.account == bindparam("of_account"))
)
SEALED = "sealed:"
"""Begins a stored secret that is encrypted with the storage keys; base64 of the sealed bytes follows."""
_PLAIN = Statement(select(s3_key.c.access_key_id, s3_key.c.secret).where(~s3_key.c.secret.startswith(SEALED)))
_REPLACE_SECRET = Statement(
    update(s3_key).where(s3_key.c.access_key_id == bindparam("id")).values(secret=bindparam("new_secret"))
)
_SEALED_SECRETS = Statement(select(s3_key.c.access_key_id, s3_key.c.secret).where(s3_key.c.secret.startswith(SEALED)))
_EXCHANGE_SECRET = Statement(
    update(s3_key)
    .where(s3_key.c.access_key_id == bindparam("id"), s3_key.c.secret == bindparam("old_secret"))
    .values(secret=bindparam("new_secret"))
)
DELETE_KEYS_OF = Statement(delete(s3_key).where(s3_key.c.account == bindparam("of_account")))
_DELETE_ENDED = Statement(delete(s3_key).where(s3_key.c.expires < bindparam("now")))


def find_key(reader: Reader, access_key_id: str) -> S3KeyRow | None:
    row = reader.one(_FIND, id=access_key_id)
    if row is None:
        return None
    flags = {index: bool(row[index]) for index in (1, 2, 3, 8, 13)}
    return S3KeyRow(*(flags.get(index, value) for index, value in enumerate(row)))


def keys_of(reader: Reader, account: str, count: int, identity: str = "") -> list[S3KeyInfo]:
    """Return the keys of an account itself, or of one of its identities, the oldest first, without secrets.

    Sessions are not listed.
    """
    return [_info(row) for row in reader.all(_OF, of_account=account, of_identity=identity, count=count)]


def every_key_of(reader: Reader, account: str, count: int) -> list[S3KeyInfo]:
    """Return all keys that give an account's rights: its own, those of its identities, and sessions."""
    return [_info(row) for row in reader.all(_EVERY_OF, of_account=account, count=count)]


def count_sessions(reader: Reader, parent_key: str) -> int:
    """Return how many sessions were made with a key, and with those."""
    row = reader.one(_SESSIONS, parent=parent_key)
    return int(row[0]) if row is not None else 0


def count_federated_sessions(reader: Reader, account: str, identity: str) -> int:
    """Return how many sessions an identity has that were made with no key, but with an id token."""
    row = reader.one(_FEDERATED_SESSIONS, of_account=account, of_identity=identity)
    return int(row[0]) if row is not None else 0


def drop_keys_of_identity(tx: Tx, account: str, identity: str) -> int:
    """Delete every key and session of an identity; return how many there were."""
    return tx.run(_DELETE_OF_IDENTITY, of_account=account, of_identity=identity)


def set_active(tx: Tx, access_key_id: str, account: str, identity: str, *, active: bool) -> bool:
    """Activate or deactivate a key; False if that identity has no such key."""
    return bool(tx.run(_SET_ACTIVE, id=access_key_id, of_account=account, of_identity=identity, new_active=active))


def _info(row: Row) -> S3KeyInfo:
    return S3KeyInfo(row[0], row[1], row[2], row[3], expires_at=row[4], active=bool(row[5]))


def plain_secrets(reader: Reader) -> list[tuple[str, str]]:
    """Return the ids and secrets of keys whose secrets are not sealed."""
    return [(row[0], row[1]) for row in reader.all(_PLAIN)]


def replace_secret(tx: Tx, access_key_id: str, secret: str) -> None:
    tx.run(_REPLACE_SECRET, id=access_key_id, new_secret=secret)


def sealed_secrets(reader: Reader) -> list[tuple[str, str]]:
    """Return the ids and stored secrets of all keys whose secrets are sealed."""
    return [(row[0], row[1]) for row in reader.all(_SEALED_SECRETS)]


def exchange_secret(tx: Tx, access_key_id: str, old: str, new: str) -> int:
    """Replace a stored secret unless it has changed; return the number of rows changed."""
    return tx.run(_EXCHANGE_SECRET, id=access_key_id, old_secret=old, new_secret=new)


def insert_key(
    tx: Tx, key: S3KeyInfo, session_hash: bytes | None, expires: float | None, holder: S3KeyHolder = OF_THE_ACCOUNT
) -> None:
    tx.run(
        _INSERT,
        access_key_id=key.access_key_id,
        secret=key.secret,
        account=key.account,
        created_at=key.created_at,
        name=key.name,
        session_hash=session_hash,
        expires=expires,
        expires_at=key.expires_at,
        active=key.active,
        identity=holder.identity,
        session_name=holder.session_name,
        session_policies=json.dumps(holder.session_policies) if holder.session_policies else "",
        parent_key=holder.parent_key,
    )


def drop_key(tx: Tx, access_key_id: str, account: str, identity: str | None = None) -> S3KeyRow | None:
    """Delete an account's key with every session that depends on it, and return it; None if it has no key of that id.

    With `identity`, it must be a lasting key of that identity, or of the account itself if that is empty.
    """
    found = find_key(tx, access_key_id)
    if found is None or found.account != account:
        return None
    if identity is not None and (found.identity != identity or found.parent_key):
        return None
    tx.run(_DELETE, id=access_key_id, of_account=account)
    tx.run(_DELETE_SESSIONS, parent=access_key_id)
    return found


def drop_ended(tx: Tx, now: float) -> None:
    tx.run(_DELETE_ENDED, now=now)
