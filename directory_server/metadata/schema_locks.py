"""The tables of locks, the queue and fences."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Text, UniqueConstraint

from directory_server.metadata.schema_base import Name, Sequence, numbered, table

# `number` is the fencing token; several paths locked together are one lock with one number.
lock = table(
    "lock",
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("request_id", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("client", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("paths", Text, nullable=False, comment="JSON list of LockPath"),
    Column("lease_seconds", Float, nullable=False),
    Column("since_at", Float, nullable=False),
    Column("until", Float, nullable=False, comment="directory time"),
    UniqueConstraint("account", "request_id", name="lock_request"),
    Index("lock_until", "until"),
)

lock_path = table(
    "lock_path",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("lock_number", BigInteger, nullable=False),
)

# The queue: `seq` is the order of arrival.
waiter = numbered(
    "waiter",
    Column("seq", Sequence, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("client", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("paths", Text, nullable=False, comment="JSON list of LockPath"),
    Column("lease_seconds", Float, nullable=False),
    Column("since_at", Float, nullable=False),
    Column("keep_until", Float, nullable=False, comment="directory time"),
    UniqueConstraint("account", "request_id", name="waiter_request"),
    Index("waiter_keep_until", "keep_until"),
    Index("waiter_party", "account", "client", "session"),
)

waiter_path = table(
    "waiter_path",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

# The highest lock number ever granted on a path. Kept after the lock ends, to reject late writes.
path_fence = table(
    "path_fence",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
