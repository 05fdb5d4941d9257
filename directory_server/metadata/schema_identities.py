"""The tables of identities below accounts: users, roles and groups, with their policies."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Text, UniqueConstraint

from directory_server.metadata.schema_base import Name, table

# `kind` is "user", "role" or "group". `folded` is the name in small letters: names that differ only in case are one.
identity = table(
    "identity",
    Column("account", Name, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("folded", Name, primary_key=True),
    Column("name", Name, nullable=False),
    Column("id", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("description", Text, nullable=False),
    Column("trust", Text, nullable=False, comment="a role's trust policy"),
    Column("max_session_seconds", Float, nullable=False, comment="of a role"),
    UniqueConstraint("id", name="identity_id"),
)

identity_policy = table(
    "identity_policy",
    Column("account", Name, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("identity", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("document", Text, nullable=False),
)

group_member = table(
    "group_member",
    Column("account", Name, primary_key=True),
    Column("group_name", Name, primary_key=True),
    Column("user_name", Name, primary_key=True),
    Index("group_member_user", "account", "user_name"),
)
