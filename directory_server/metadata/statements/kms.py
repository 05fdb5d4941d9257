"""Statements about named keys, for `directory_server.features.named_keys`."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, insert, select, update

from directory_server.metadata.schema_s3 import kms_key, kms_key_version
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx


class KeyVersionRow(NamedTuple):
    """A version of a key; `sealed` is its material, encrypted with the cluster's storage keys."""

    key: str
    number: int
    sealed: bytes
    created_at: float


class KeyRow(NamedTuple):
    """A key, without its versions."""

    id: str
    name: str
    enabled: bool
    created_at: float


_KEYS = Statement(
    select(kms_key.c.id, kms_key.c.name, kms_key.c.enabled, kms_key.c.created_at).order_by(kms_key.c.name)
)
_VERSIONS = Statement(
    select(
        kms_key_version.c.key, kms_key_version.c.number, kms_key_version.c.sealed, kms_key_version.c.created_at
    ).order_by(kms_key_version.c.key, kms_key_version.c.number)
)
_INSERT = Statement(insert(kms_key).values({column.name: bindparam(column.name) for column in kms_key.c}))
_INSERT_VERSION = Statement(
    insert(kms_key_version).values({column.name: bindparam(column.name) for column in kms_key_version.c})
)
_RESEAL_VERSION = Statement(
    update(kms_key_version)
    .where(
        kms_key_version.c.key == bindparam("of_key"),
        kms_key_version.c.number == bindparam("of_number"),
        kms_key_version.c.sealed == bindparam("old_sealed"),
    )
    .values(sealed=bindparam("new_sealed"))
)
_ENABLE = Statement(update(kms_key).where(kms_key.c.id == bindparam("of_id")).values(enabled=bindparam("is_enabled")))


def keys(reader: Reader) -> list[KeyRow]:
    """Return all keys, by name."""
    return [KeyRow(row[0], row[1], bool(row[2]), row[3]) for row in reader.all(_KEYS)]


def versions(reader: Reader) -> list[KeyVersionRow]:
    """Return all versions of all keys, by key and number."""
    return [KeyVersionRow(*row) for row in reader.all(_VERSIONS)]


def insert_key(tx: Tx, key: KeyRow) -> None:
    tx.run(_INSERT, id=key.id, name=key.name, enabled=key.enabled, created_at=key.created_at)


def insert_version(tx: Tx, version: KeyVersionRow) -> None:
    tx.run(
        _INSERT_VERSION,
        key=version.key,
        number=version.number,
        sealed=version.sealed,
        created_at=version.created_at,
    )


def reseal_version(tx: Tx, version: KeyVersionRow, sealed: bytes) -> int:
    """Store other sealed bytes of a version unless they have changed; return the number of rows changed."""
    return tx.run(
        _RESEAL_VERSION, of_key=version.key, of_number=version.number, old_sealed=version.sealed, new_sealed=sealed
    )


def enable(tx: Tx, id: str, enabled: bool) -> None:
    tx.run(_ENABLE, of_id=id, is_enabled=enabled)
