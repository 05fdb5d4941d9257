"""The directory's tables, for every engine. Migrations upgrade older databases to this schema.

Columns ending in `_at` are wall clock seconds, for display. `expires`, `until` and `…_time` are directory time, and
decide. Digests are 32 raw bytes. Paths compare by their UTF-8 bytes, so that listings have the same order on every
engine. JSON is stored as text, because statements reach the driver without type conversion.
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
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

# SQLite compares text by bytes by default; PostgreSQL needs this collation.
Name = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows only in a column declared INTEGER.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """Declare a table stored in primary key order, so that one probe finds a row."""
    return Table(name, metadata, *parts, sqlite_with_rowid=False)


def _numbered(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """Declare a table whose integer key only rises and is never reused, not even after its rows are deleted."""
    return Table(name, metadata, *parts, sqlite_autoincrement=True)


# ---------------------------------------------------------------- files

bucket = _table(
    "bucket",
    Column("name", Name, primary_key=True),
    Column("owner", Name, nullable=False),
    Column("versioning", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("since_cursor", BigInteger, nullable=False, server_default="0"),
)

# Deleted buckets. Journal rows between these cursors belong to them and stay visible only to people who could see them.
past_bucket = _table(
    "past_bucket",
    Column("name", Name, primary_key=True),
    Column("until_cursor", BigInteger, primary_key=True),
    Column("since_cursor", BigInteger, nullable=False),
    Column("owner", Name, nullable=False),
    Column("shared", Boolean, nullable=False),
)

# One row per path with a readable current version. A deleted path has none, so listings never visit deleted paths. The
# version's columns are repeated here, so that a lookup is one probe.
current = _table(
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
version = _table(
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
past_write = _table(
    "past_write",
    Column("write_id", Text, primary_key=True),
    Column("answer", Text, nullable=False),
    Column("done_time", Float, nullable=False),
    Index("past_write_done", "done_time"),
)

# Every commit, in order. `version` is empty if the version's id is the cursor itself.
journal = _numbered(
    "journal",
    Column("cursor", Sequence, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# `refs` counts the version and part rows that refer to the blob; at 0 it may be collected.
blob = _table(
    "blob",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("refs", BigInteger, nullable=False),
)
Index("blob_unreferenced", blob.c.digest, sqlite_where=text("refs = 0"), postgresql_where=text("refs = 0"))

# `rank` 0 is the master that took the bytes; later copies have higher ranks. A `damaged` copy failed its check. It does
# not count as a copy, but the row stays: the report may be wrong, and other chunks of that copy may be good.
holder = _table(
    "holder",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("rank", Integer, nullable=False, server_default="0"),
    Column("damaged", Boolean, nullable=False, server_default=false()),
    Index("holder_by_server", "server_id", "digest"),
)

# Copies that were dropped or found damaged, kept for a ticket's lifetime: a write that began before may count on their
# bytes, and its commit must not name that server as a holder.
dropped = _table(
    "dropped",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("dropped_time", Float, nullable=False),
    Index("dropped_when", "dropped_time"),
)

# After a restore: blobs on file servers that no version names, by file server.
unnamed = _table(
    "unnamed",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# ---------------------------------------------------------------- S3

# JSON by name: settings of a bucket (policy, cors, lifecycle, …) and of a version (tags, acl, retention, …).
bucket_setting = _table(
    "bucket_setting",
    Column("bucket", Name, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

version_setting = _table(
    "version_setting",
    Column("version", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# A multipart upload: the metadata and settings of its future version, and its parts, which count in `blob.refs`.
upload = _table(
    "upload",
    Column("id", Text, primary_key=True),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("account", Name, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("since_at", Float, nullable=False),
    Index("upload_path", "bucket", "path", "id"),
)

part = _table(
    "part",
    Column("upload", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    Column("write_id", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# Notification targets. `sealed` is the address with its secrets, encrypted with the storage keys; `shown_url` is the
# address without secrets.
target = _table(
    "target",
    Column("name", Name, primary_key=True),
    Column("shown_url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
)

# Queued notifications, written in the change's own transaction and deleted on delivery. One change may queue several:
# `change` is the `id` of the first, and 0 in the first itself.
event = _numbered(
    "event",
    Column("id", Sequence, primary_key=True),
    Column("target", Name, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("queued_time", Float, nullable=False),
    Column("body", Text, nullable=False),
    Index("event_target", "target", "id"),
)

# ---------------------------------------------------------------- file servers

file_server = _table(
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

# ---------------------------------------------------------------- locks

# `number` is the fencing token; several paths locked together are one lock with one number.
lock = _table(
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

lock_path = _table(
    "lock_path",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("lock_number", BigInteger, nullable=False),
)

# The queue: `seq` is the order of arrival.
waiter = _numbered(
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

waiter_path = _table(
    "waiter_path",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

# The highest lock number ever granted on a path. Kept after the lock ends, to reject late writes.
path_fence = _table(
    "path_fence",
    Column("bucket", Name, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# ---------------------------------------------------------------- people

account = _table(
    "account",
    Column("name", Name, primary_key=True),
    Column("admin", Boolean, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("password_hash", LargeBinary, nullable=False),
    Column("scrypt_log_n", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

session = _table(
    "session",
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("account", Name, nullable=False),
    Column("client", Text, nullable=False),
    Column("expires", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("session_expires", "expires"),
)

api_key = _table(
    "api_key",
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("id", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("id", name="api_key_id"),
    Index("api_key_account", "account"),
)

# The secret itself, not a hash: verifying an S3 signature needs it.
s3_key = _table(
    "s3_key",
    Column("access_key_id", Text, primary_key=True),
    Column("secret", Text, nullable=False),
    Column("account", Name, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("session_hash", LargeBinary(32), comment="of a temporary key's session token"),
    Column("expires", Float, comment="directory time, of a temporary key"),
    Column("expires_at", Float),
    Index("s3_key_account", "account"),
)

# Named keys (SSE-KMS). Never deleted, because versions may need them.
kms_key = _table(
    "kms_key",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("name", name="kms_key_name"),
)

kms_key_version = _table(
    "kms_key_version",
    Column("key", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False, comment="the material, under the cluster's storage keys"),
    Column("created_at", Float, nullable=False),
)

join_secret = _table(
    "join_secret",
    Column("secret_hash", LargeBinary(32), primary_key=True),
    Column("expires", Float, nullable=False),
)

# ---------------------------------------------------------------- the directory itself

# Numbers that only rise: "lock_number" is the last lock number granted.
counter = _table(
    "counter",
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Such as "directory_time" and "ticket_key" (hex).
setting = _table(
    "setting",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
