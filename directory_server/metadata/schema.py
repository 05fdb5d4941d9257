"""The directory's tables, for every engine. Migrations bring an older database to this shape.

Times: a column ending in `_at` is wall clock seconds for people to read; one called `expires`, `until` or `…_time` is
directory time, which decides. Digests are 32 raw bytes. Paths compare by their UTF-8 bytes, so that listing order is
the same on every engine. JSON stands in text columns, because hot statements go to the driver and pass types by.
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

# SQLite compares text as bytes unless told otherwise; PostgreSQL must be told.
Name = Text().with_variant(Text(collation="C"), "postgresql")
# Only a column declared INTEGER numbers itself in SQLite.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """A table stored in the order of its primary key: one probe finds the row itself."""
    return Table(name, metadata, *parts, sqlite_with_rowid=False)


def _numbered(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """A table whose integer key rises and is never given twice, not even after its rows are gone."""
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

# Buckets that were: what the journal says between those cursors was theirs, and stays visible only to their people.
past_bucket = _table(
    "past_bucket",
    Column("name", Name, primary_key=True),
    Column("until_cursor", BigInteger, primary_key=True),
    Column("since_cursor", BigInteger, nullable=False),
    Column("owner", Name, nullable=False),
    Column("shared", Boolean, nullable=False),
)

# One row for each path that has a readable current version: a deleted path has none, so a listing never walks over
# the dead. The version's columns are repeated here, so that a lookup is one probe.
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
# Who may read a content that a writer only names is looked up here.
Index("version_digest", version.c.digest, version.c.bucket)
Index(
    "version_null",
    version.c.bucket,
    version.c.path,
    unique=True,
    sqlite_where=text("null_version = 1"),
    postgresql_where=text("null_version"),
)

# Answers of writes whose version row is gone: a repeated call must hear the same answer, never write twice.
past_write = _table(
    "past_write",
    Column("write_id", Text, primary_key=True),
    Column("answer", Text, nullable=False),
    Column("done_time", Float, nullable=False),
    Index("past_write_done", "done_time"),
)

# Everything that was ever committed, in order. `version` is empty where the cursor itself names the version made.
journal = _numbered(
    "journal",
    Column("cursor", Sequence, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# `refs` counts the version and part rows that name the blob; at 0 the collector may drop it.
blob = _table(
    "blob",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("refs", BigInteger, nullable=False),
)
Index("blob_unreferenced", blob.c.digest, sqlite_where=text("refs = 0"), postgresql_where=text("refs = 0"))

# `rank` 0 is the master that took the bytes; later copies rank behind. A `damaged` copy failed its check: it counts
# for nothing, but the row stays, because the report may have been wrong and other parts of that copy may be good.
holder = _table(
    "holder",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("rank", Integer, nullable=False, server_default="0"),
    Column("damaged", Boolean, nullable=False, server_default=false()),
    Index("holder_by_server", "server_id", "digest"),
)

# Copies that servers were told to drop, or that were found damaged, kept for as long as a ticket lives: a write that
# was begun before may count on bytes that are gone, and its commit must not call that server a holder.
dropped = _table(
    "dropped",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("dropped_time", Float, nullable=False),
    Index("dropped_when", "dropped_time"),
)

# After a restore: blobs that file servers hold and that nobody knows a name of, by who holds them.
unnamed = _table(
    "unnamed",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# ---------------------------------------------------------------- what S3 lets people say

# JSON by name: of a bucket (policy, cors, lifecycle, …), and of one version (tags, acl, retention, …).
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

# A multipart upload under way: what its version shall say, and its parts, each a blob that `blob.refs` counts.
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

# Where notifications go, as an administrator named it. `sealed` is its address and secrets under the storage keys;
# `shown_url` is the address without them.
target = _table(
    "target",
    Column("name", Name, primary_key=True),
    Column("shown_url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
)

# Messages about changes, written with the change itself, until their target has them. One change may make several:
# `change` is the `id` of the first, and 0 in that one.
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

# The highest lock number ever granted on a path. Kept after the lock is gone: it is what refuses late writes.
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

# The secret itself, not a hash of it: checking an S3 signature needs it.
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

# Keys that contents are under (SSE-KMS). What versions may need is never dropped.
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

# Numbers that only rise: "lock_number" is the last fencing token granted.
counter = _table(
    "counter",
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Among them: "directory_time", "ticket_key" (hex).
setting = _table(
    "setting",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
