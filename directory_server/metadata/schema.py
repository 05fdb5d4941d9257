"""The directory's tables: files, file servers, people and the directory itself.

`schema_base` has the conventions, and its siblings (`schema_folders`, `schema_locks`, …) the other tables. Migrations
upgrade older databases to this schema.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from directory_server.metadata import (  # noqa: F401 - they declare tables in `metadata`
    schema_folders,
    schema_groups,
    schema_identities,
    schema_identity_providers,
    schema_locks,
    schema_quotas,
    schema_s3,
    schema_search,
    schema_second_factor,
    schema_shares,
    schema_totals,
)
from directory_server.metadata.schema_base import Name, Sequence, metadata, numbered, table

__all__ = ["metadata"]

# ---------------------------------------------------------------- files

bucket = table(
    "bucket",
    Column("name", Name, primary_key=True),
    Column("owner", Name, nullable=False),
    Column("versioning", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("since_cursor", BigInteger, nullable=False, server_default="0"),
)

# Deleted buckets. Journal rows between these cursors belong to them and stay visible only to people who could see them.
past_bucket = table(
    "past_bucket",
    Column("name", Name, primary_key=True),
    Column("until_cursor", BigInteger, primary_key=True),
    Column("since_cursor", BigInteger, nullable=False),
    Column("owner", Name, nullable=False),
    Column("shared", Boolean, nullable=False),
)

# One row per path with a readable current version. A deleted path has none, so listings never visit deleted paths. The
# version's columns are repeated here, so that a lookup is one probe.
current = table(
    "current",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("version", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("author", Name, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("lock_number", BigInteger, nullable=False),
    Column("null_version", Boolean, nullable=False),
    Column("cursor", BigInteger, nullable=False),
)

# `id` is the zero-padded journal cursor of its commit, so ids sort by age.
version = table(
    "version",
    Column("id", Text, primary_key=True),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("digest", LargeBinary(32), comment="NULL for a delete marker"),
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("author", Name, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("lock_number", BigInteger, nullable=False),
    Column("delete_marker", Boolean, nullable=False),
    Column("null_version", Boolean, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("write_id", Text, nullable=False),
    UniqueConstraint("write_id", name="version_write_id"),
)
Index("version_newest_first", version.c.bucket, version.c.path, version.c.id.desc())
# Finds deleted files, the last deleted first.
Index(
    "version_marker",
    version.c.bucket,
    version.c.id,
    sqlite_where=text("delete_marker = 1"),
    postgresql_where=text("delete_marker"),
)
# Finds a version that a writer may read, when the writer sends only the digest.
Index("version_digest", version.c.digest, version.c.bucket)
Index(
    "version_null",
    version.c.bucket,
    version.c.path,
    unique=True,
    sqlite_where=text("null_version = 1"),
    postgresql_where=text("null_version"),
)

# Results of writes whose version row is gone: a repeated call must get the same result and not write twice.
past_write = table(
    "past_write",
    Column("write_id", Text, primary_key=True),
    Column("answer", Text, nullable=False),
    Column("done_time", Float, nullable=False),
    Index("past_write_done", "done_time"),
)

# Every commit, in order. `version` is empty if the version's id is the cursor itself.
journal = numbered(
    "journal",
    Column("cursor", Sequence, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# `refs` counts the version and part rows that refer to the blob; at 0 it may be collected.
blob = table(
    "blob",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("refs", BigInteger, nullable=False),
)
Index("blob_unreferenced", blob.c.digest, sqlite_where=text("refs = 0"), postgresql_where=text("refs = 0"))

# `rank` 0 is the master that took the bytes; later copies have higher ranks. A `damaged` copy failed its check. It does
# not count as a copy, but the row stays: the report may be wrong, and other chunks of that copy may be good.
holder = table(
    "holder",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("rank", Integer, nullable=False, server_default="0"),
    Column("damaged", Boolean, nullable=False, server_default=false()),
    Index("holder_by_server", "server_id", "digest"),
)

# Copies that were dropped or found damaged, kept for a ticket's lifetime: a write that began before may count on their
# bytes, and its commit must not name that server as a holder.
dropped = table(
    "dropped",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("dropped_time", Float, nullable=False),
    Index("dropped_when", "dropped_time"),
)

# After a restore: blobs on file servers that no version names, by file server.
unnamed = table(
    "unnamed",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# ---------------------------------------------------------------- file servers

file_server = table(
    "file_server",
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("zone", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("version", Text, nullable=False, server_default=""),
    Column("capacity_bytes", BigInteger, nullable=False, server_default="0"),
    Column("free_bytes", BigInteger, nullable=False, server_default="0"),
    Column("blobs", BigInteger, nullable=False, server_default="0"),
    Column("stored_bytes", BigInteger, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
    Column("registered_at", Float, nullable=False),
)

# ---------------------------------------------------------------- people

# An account of a tenant has the tenant's name in its own: `acme\\ann`. Only the others can be `admin`; those of tenants
# can be `tenant_admin`.
account = table(
    "account",
    Column("name", Name, primary_key=True),
    Column("admin", Boolean, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("password_hash", LargeBinary, nullable=False),
    Column("scrypt_log_n", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("read_only", Boolean, nullable=False, server_default=false()),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("must_change", Boolean, nullable=False, server_default=false(), comment="a one-time password"),
    Column("scrypt_p", Integer, nullable=False, server_default="1"),
    Column("second_factor_required", Boolean, nullable=False, server_default=false()),
    Column("tenant_admin", Boolean, nullable=False, server_default=false()),
)

session = table(
    "session",
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("account", Name, nullable=False),
    Column("client", Text, nullable=False),
    Column("expires", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("created_at", Float, nullable=False, server_default="0"),
    Index("session_expires", "expires"),
    Index("session_account", "account"),
)

api_key = table(
    "api_key",
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("id", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("id", name="api_key_id"),
    Index("api_key_account", "account"),
)

# Security events, the newest 100,000: who tried what, with which result.
audit = numbered(
    "audit",
    Column("id", Sequence, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("subject", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

# The secret itself, not a hash: verifying an S3 signature needs it. `identity` ("user/NAME" or "role/NAME") limits the
# key to that identity's policies. A session's key ends with its `parent_key`, the one that made it; all of
# `session_policies`, a JSON list, must allow what it does.
s3_key = table(
    "s3_key",
    Column("access_key_id", Text, primary_key=True),
    Column("secret", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("session_hash", LargeBinary(32), comment="of a temporary key's session token"),
    Column("expires", Float, comment="directory time, of a temporary key"),
    Column("expires_at", Float),
    Column("identity", Text, nullable=False, server_default=""),
    Column("session_name", Text, nullable=False, server_default=""),
    Column("session_policies", Text, nullable=False, server_default=""),
    Column("parent_key", Text, nullable=False, server_default=""),
    Column("active", Boolean, nullable=False, server_default=true()),
    Index("s3_key_account", "account"),
    Index("s3_key_parent", "parent_key"),
)

join_secret = table(
    "join_secret",
    Column("secret_hash", LargeBinary(32), primary_key=True),
    Column("expires", Float, nullable=False),
    Column("role", Text, nullable=False, server_default="file_server"),
    Column("program", Text, nullable=False, server_default="", comment="its id; empty: any file server"),
    Column("hosts", Text, nullable=False, server_default="[]", comment="JSON list of names"),
)

# ---------------------------------------------------------------- the directory itself

# Numbers that only rise: "lock_number" is the last lock number granted.
counter = table(
    "counter",
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Such as "directory_time" and "ticket_key" (hex).
setting = table(
    "setting",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The row changes of each of the latest transactions, written by the engine in the transaction itself. The newest row
# is never removed. `end_offset` counts the bytes of all bodies up to this one. `chain` is a hash over all records
# before: two copies of the metadata that have one sequence and one chain have one past. An empty table begins a chain.
redo_record = Table(
    "redo_record",
    metadata,
    Column("sequence", Sequence, primary_key=True),
    Column("end_offset", BigInteger, nullable=False),
    Column("chain", LargeBinary(16), nullable=False),
    Column("body", Text, nullable=False, comment="a JSON array a line; see redo_lines.py"),
)
