"""Statements about OpenID Connect providers and the accounts that log in with them."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.metadata.schema_identity_providers import identity_provider, linked_identity
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx


class ProviderRow(NamedTuple):
    name: str
    issuer: str
    sealed: bytes
    created_at: float


class LinkRow(NamedTuple):
    issuer: str
    subject: str
    account: str
    linked_at: float


_PROVIDERS = Statement(select(*identity_provider.c).order_by(identity_provider.c.name))
_INSERT = Statement(
    insert(identity_provider).values({column.name: bindparam(column.name) for column in identity_provider.c})
)
_CHANGE = Statement(
    update(identity_provider)
    .where(identity_provider.c.name == bindparam("of_name"))
    .values(issuer=bindparam("new_issuer"), sealed=bindparam("new_sealed"))
)
_RESEAL = Statement(
    update(identity_provider)
    .where(identity_provider.c.name == bindparam("of_name"), identity_provider.c.sealed == bindparam("old_sealed"))
    .values(sealed=bindparam("new_sealed"))
)
_DELETE = Statement(delete(identity_provider).where(identity_provider.c.name == bindparam("name")))
_OWNER = Statement(
    select(linked_identity.c.account).where(
        linked_identity.c.issuer == bindparam("issuer"), linked_identity.c.subject == bindparam("subject")
    )
)
_LINKS = Statement(
    select(*linked_identity.c)
    .order_by(linked_identity.c.account, linked_identity.c.issuer, linked_identity.c.subject)
    .limit(bindparam("count"))
)
_LINKS_OF = Statement(
    select(*linked_identity.c)
    .where(linked_identity.c.account == bindparam("of_account"))
    .order_by(linked_identity.c.issuer, linked_identity.c.subject)
)
_LINK = Statement(insert(linked_identity).values({column.name: bindparam(column.name) for column in linked_identity.c}))
_UNLINK = Statement(
    delete(linked_identity).where(
        linked_identity.c.issuer == bindparam("of_issuer"), linked_identity.c.subject == bindparam("of_subject")
    )
)
DELETE_LINKS_OF = Statement(delete(linked_identity).where(linked_identity.c.account == bindparam("of_account")))


def providers(reader: Reader) -> list[ProviderRow]:
    """Return all providers, by name."""
    return [ProviderRow(*row) for row in reader.all(_PROVIDERS)]


def put_provider(tx: Tx, made: ProviderRow) -> None:
    """Insert a provider, or replace its settings."""
    if not tx.run(_CHANGE, of_name=made.name, new_issuer=made.issuer, new_sealed=made.sealed):
        tx.run(_INSERT, **made._asdict())


def reseal_provider(tx: Tx, row: ProviderRow, sealed: bytes) -> int:
    """Store other sealed bytes of a provider unless they have changed; return the number of rows changed."""
    return tx.run(_RESEAL, of_name=row.name, old_sealed=row.sealed, new_sealed=sealed)


def drop_provider(tx: Tx, name: str) -> int:
    """Delete a provider; return the number of rows deleted. Links stay."""
    return tx.run(_DELETE, name=name)


def account_of(reader: Reader, issuer: str, subject: str) -> str | None:
    """Return the account that a subject logs in to."""
    row = reader.one(_OWNER, issuer=issuer, subject=subject)
    return None if row is None else str(row[0])


def links(reader: Reader, count: int) -> list[LinkRow]:
    """Return links, by account."""
    return [LinkRow(*row) for row in reader.all(_LINKS, count=count)]


def links_of(reader: Reader, account: str) -> list[LinkRow]:
    """Return the identities that log in to an account."""
    return [LinkRow(*row) for row in reader.all(_LINKS_OF, of_account=account)]


def link(tx: Tx, row: LinkRow) -> None:
    """Let a subject log in to an account. The caller has checked that it has none."""
    tx.run(_LINK, **row._asdict())


def unlink(tx: Tx, issuer: str, subject: str) -> int:
    """Delete a link; return the number of rows deleted."""
    return tx.run(_UNLINK, of_issuer=issuer, of_subject=subject)
