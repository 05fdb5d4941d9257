"""The tables of quotas."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text

from directory_server.metadata.schema_base import Name, table

# What an administrator allows an account, a bucket or a tenant. `scope` is "account", "bucket" or "tenant".
quota = table(
    "quota",
    Column("scope", Text, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("allowed", BigInteger, nullable=False),
)

# What an account or bucket has of a resource that is counted with every change: there is a row exactly where there is a
# quota. The engine counts (see engines/sqlite/usage.py). No part of redo records, and counted again after a restore.
usage = table(
    "usage",
    Column("scope", Text, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
)
