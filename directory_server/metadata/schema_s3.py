"""The tables that only S3 needs: settings, uploads, notifications and named keys."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, Text, UniqueConstraint

from directory_server.metadata.schema_base import Name, Sequence, numbered, table

# JSON by name: settings of a bucket (policy, cors, lifecycle, …) and of a version (tags, acl, retention, …).
bucket_setting = table(
    "bucket_setting",
    Column("bucket", Name, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

version_setting = table(
    "version_setting",
    Column("version", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# A multipart upload: the metadata and settings of its future version, and its parts, which count in `blob.refs`.
upload = table(
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

part = table(
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
target = table(
    "target",
    Column("name", Name, primary_key=True),
    Column("shown_url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
)

# Queued notifications, written in the change's own transaction and deleted on delivery. One change may queue several:
# `change` is the `id` of the first, and 0 in the first itself.
event = numbered(
    "event",
    Column("id", Sequence, primary_key=True),
    Column("target", Name, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("queued_time", Float, nullable=False),
    Column("body", Text, nullable=False),
    Index("event_target", "target", "id"),
)

# Named keys (SSE-KMS). Never deleted, because versions may need them.
kms_key = table(
    "kms_key",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("name", name="kms_key_name"),
)

kms_key_version = table(
    "kms_key_version",
    Column("key", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False, comment="the material, under the cluster's storage keys"),
    Column("created_at", Float, nullable=False),
)
