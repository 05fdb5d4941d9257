"""Statements about S3 access keys, for `directory_server.people.access_keys`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.metadata.schema import account, s3_key
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.messages.s3 import S3KeyInfo


@dataclass(frozen=True)
class S3KeyRow:
    """A key with its secret. `expires` is directory time; `session_hash` is BLAKE3 of a temporary key's token."""

    account: str
    admin: bool
    read_only: bool
    disabled: bool
    secret: str
    name: str
    session_hash: bytes | None
    expires: float | None

    def __repr__(self) -> str:
        return f"S3KeyRow({self.account!r})"


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
    )
    .join(account, account.c.name == s3_key.c.account)
    .where(s3_key.c.access_key_id == bindparam("id"))
)
_OF = Statement(
    select(s3_key.c.access_key_id, s3_key.c.account, s3_key.c.created_at, s3_key.c.name, s3_key.c.expires_at)
    .where(s3_key.c.account == bindparam("of_account"))
    .order_by(s3_key.c.created_at, s3_key.c.access_key_id)
    .limit(bindparam("count"))
)
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
    return None if row is None else S3KeyRow(row[0], bool(row[1]), bool(row[2]), bool(row[3]), *row[4:])


def keys_of(reader: Reader, account: str, count: int) -> list[S3KeyInfo]:
    """Return an account's keys, the oldest first, without secrets."""
    rows = reader.all(_OF, of_account=account, count=count)
    return [S3KeyInfo(row[0], row[1], row[2], row[3], expires_at=row[4]) for row in rows]


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


def insert_key(tx: Tx, key: S3KeyInfo, session_hash: bytes | None, expires: float | None) -> None:
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
    )


def drop_key(tx: Tx, access_key_id: str, account: str) -> S3KeyRow | None:
    """Delete an account's key and return it; None if the account has no key of that id."""
    found = find_key(tx, access_key_id)
    if found is None or found.account != account:
        return None
    tx.run(_DELETE, id=access_key_id, of_account=account)
    return found


def drop_ended(tx: Tx, now: float) -> None:
    tx.run(_DELETE_ENDED, now=now)
