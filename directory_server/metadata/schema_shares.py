"""The table of share links."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, Text

from directory_server.metadata.schema_base import Name, table

# A link that people without an account may use. The token is known to those who have the link; `token_hash` is its
# BLAKE3. Without `password_hash` there is no password. `expires` is directory time; a link ends when either that or the
# date in `expires_at` has come.
share_link = table(
    "share_link",
    Column("id", Text, primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False),
    Column("account", Name, nullable=False),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("mode", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires", Float),
    Column("expires_at", Float),
    Column("salt", LargeBinary),
    Column("password_hash", LargeBinary),
    Column("scrypt_log_n", Integer),
    Column("scrypt_p", Integer),
    Column("max_uses", BigInteger),
    Column("uses", BigInteger, nullable=False),
    Column("max_bytes", BigInteger),
    Column("last_used_at", Float),
    Index("share_link_token", "token_hash", unique=True),
    Index("share_link_account", "account", "id"),
    Index("share_link_bucket", "bucket", "id"),
)
