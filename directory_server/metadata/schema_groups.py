"""The tables of tenants, and of groups of accounts. (Groups of service accounts are in `schema_identities`.)"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Text

from directory_server.metadata.schema_base import Name, table

tenant = table(
    "tenant",
    Column("name", Name, primary_key=True),
    Column("description", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

# `tenant` is empty for the accounts that belong to none.
account_group = table(
    "account_group",
    Column("tenant", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("description", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

# The account comes first: a change ends the read leases that depend on that account. Its tenant is the group's.
account_group_member = table(
    "account_group_member",
    Column("account", Name, primary_key=True),
    Column("tenant", Name, primary_key=True),
    Column("group_name", Name, primary_key=True),
    Column("manager", Boolean, nullable=False),
    Index("account_group_member_group", "tenant", "group_name", "account"),
)
