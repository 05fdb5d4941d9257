"""The tables of OpenID Connect providers, and of the accounts that log in with them."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, LargeBinary, Text, UniqueConstraint

from directory_server.metadata.schema_base import Name, table

# `sealed` has the settings, with the client secret; see identity_providers/provider.py.
identity_provider = table(
    "identity_provider",
    Column("name", Name, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("issuer", name="identity_provider_issuer"),
)

# Whose account it is: a person is the provider's subject, whatever name the provider gives it today.
linked_identity = table(
    "linked_identity",
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("account", Name, nullable=False),
    Column("linked_at", Float, nullable=False),
    Index("linked_identity_account", "account"),
)
