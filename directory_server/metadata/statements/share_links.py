"""Statements about share links, for `directory_server.people.share_links` and the feature of that name."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from directory_server.metadata.schema import account, bucket
from directory_server.metadata.schema_s3 import bucket_setting
from directory_server.metadata.schema_shares import share_link
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.messages.shares import SHARE_RULE


class ShareRow(NamedTuple):
    """A link as it is stored."""

    id: str
    token_hash: bytes
    account: str
    bucket: str
    path: str
    mode: str
    note: str
    created_at: float
    expires: float | None
    expires_at: float | None
    salt: bytes | None
    password_hash: bytes | None
    scrypt_log_n: int | None
    scrypt_p: int | None
    max_uses: int | None
    uses: int
    max_bytes: int | None
    last_used_at: float | None

    @property
    def used_up(self) -> bool:
        """Whether it has been used as often as it may be."""
        return self.max_uses is not None and self.uses >= self.max_uses


class HeldShare(NamedTuple):
    """A link with what decides whether it is good: its maker, its bucket's owner, and the bucket's rule as stored."""

    row: ShareRow
    admin: bool
    read_only: bool
    disabled: bool
    owner: str
    rule: str | None


_COLUMNS = tuple(share_link.c[name] for name in ShareRow._fields)
_HELD = (
    select(
        *_COLUMNS,
        or_(account.c.admin, account.c.tenant_admin),
        account.c.read_only,
        account.c.disabled,
        bucket.c.owner,
        bucket_setting.c.value,
    )
    .join(account, account.c.name == share_link.c.account)
    .join(bucket, bucket.c.name == share_link.c.bucket)
    .outerjoin(
        bucket_setting, and_(bucket_setting.c.bucket == share_link.c.bucket, bucket_setting.c.name == SHARE_RULE)
    )
)
_BY_TOKEN = Statement(_HELD.where(share_link.c.token_hash == bindparam("hash")))
_BY_ID = Statement(_HELD.where(share_link.c.id == bindparam("of_id")))
_AFTER = share_link.c.id > bindparam("after")
_OF_ACCOUNT = Statement(
    select(*_COLUMNS)
    .where(share_link.c.account == bindparam("of_account"), _AFTER)
    .order_by(share_link.c.id)
    .limit(bindparam("count"))
)
_OF_BUCKET = Statement(
    select(*_COLUMNS)
    .where(share_link.c.bucket == bindparam("of_bucket"), _AFTER)
    .order_by(share_link.c.id)
    .limit(bindparam("count"))
)
_OF_BOTH = Statement(
    select(*_COLUMNS)
    .where(share_link.c.account == bindparam("of_account"), share_link.c.bucket == bindparam("of_bucket"), _AFTER)
    .order_by(share_link.c.id)
    .limit(bindparam("count"))
)
_INSERT = Statement(insert(share_link).values({name: bindparam(name) for name in ShareRow._fields}))
_USE = Statement(
    update(share_link)
    .where(
        share_link.c.id == bindparam("of_id"),
        or_(share_link.c.max_uses.is_(None), share_link.c.uses < share_link.c.max_uses),
    )
    .values(uses=share_link.c.uses + 1, last_used_at=bindparam("used_at"))
)
_UNDO = Statement(
    update(share_link)
    .where(share_link.c.id == bindparam("of_id"), share_link.c.uses > 0)
    .values(uses=share_link.c.uses - 1)
)
_DELETE = Statement(delete(share_link).where(share_link.c.id == bindparam("of_id")))
DELETE_LINKS_OF = Statement(delete(share_link).where(share_link.c.account == bindparam("of_account")))
"""Deletes the links that an account made."""
_DELETE_OF_BUCKET = Statement(delete(share_link).where(share_link.c.bucket == bindparam("of_bucket")))
_DELETE_ENDED = Statement(delete(share_link).where(share_link.c.expires < bindparam("before")))


def by_token(reader: Reader, token_hash: bytes) -> HeldShare | None:
    """Return the link of a token; None if there is none, or if its maker or bucket is gone."""
    return _held(reader.one(_BY_TOKEN, hash=token_hash))


def by_id(reader: Reader, id: str) -> HeldShare | None:
    """Return a link by its id."""
    return _held(reader.one(_BY_ID, of_id=id))


def listed(reader: Reader, account: str | None, bucket: str, after: str, count: int) -> list[ShareRow]:
    """Return links by id: of an account, of a bucket, or those of the account in the bucket. At least one is given."""
    if account is None:
        rows = reader.all(_OF_BUCKET, of_bucket=bucket, after=after, count=count)
    elif bucket:
        rows = reader.all(_OF_BOTH, of_account=account, of_bucket=bucket, after=after, count=count)
    else:
        rows = reader.all(_OF_ACCOUNT, of_account=account, after=after, count=count)
    return [ShareRow(*row) for row in rows]


def insert_link(tx: Tx, row: ShareRow) -> None:
    tx.run(_INSERT, **row._asdict())


def use(tx: Tx, id: str, at: float) -> bool:
    """Count a use. Returns False if there is no such link, or none of its uses is left."""
    return tx.run(_USE, of_id=id, used_at=at) > 0


def undo_use(tx: Tx, id: str) -> None:
    tx.run(_UNDO, of_id=id)


def delete_link(tx: Tx, id: str) -> bool:
    """Delete a link; returns whether there was one."""
    return tx.run(_DELETE, of_id=id) > 0


def drop_of_bucket(tx: Tx, bucket: str) -> None:
    """Delete the links into a bucket: one of the same name may be somebody else's."""
    tx.run(_DELETE_OF_BUCKET, of_bucket=bucket)


def drop_ended(tx: Tx, before: float) -> None:
    """Delete links that ended before a moment in directory time."""
    tx.run(_DELETE_ENDED, before=before)


def _held(row: Row | None) -> HeldShare | None:
    if row is None:
        return None
    count = len(ShareRow._fields)
    found = ShareRow(*row[:count])
    admin, read_only, disabled, owner, rule = row[count:]
    return HeldShare(found, bool(admin), bool(read_only), bool(disabled), owner, rule)
