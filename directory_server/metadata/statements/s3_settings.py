"""Statements about the S3 settings of buckets and versions, for `directory_server.features.s3_settings`."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, literal, select, update

from directory_server.metadata.schema_s3 import bucket_setting, version_setting
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.messages.s3 import DEAD_PROPERTIES, DESCRIPTION, TAGS
from lockstep_store.wire.messages.uploads import PARTS_SETTING

OBJECT_LOCK_WITHOUT_RULE = '{"ObjectLockEnabled":"Enabled"}'
"""The object lock setting of a bucket that was created with object lock, before it has a rule."""

_BUCKET = Statement(
    select(bucket_setting.c.value).where(
        bucket_setting.c.bucket == bindparam("of_bucket"), bucket_setting.c.name == bindparam("of_name")
    )
)
_BUCKET_INSERT = Statement(insert(bucket_setting).values({c.name: bindparam(c.name) for c in bucket_setting.c}))
_BUCKET_UPDATE = Statement(
    update(bucket_setting)
    .where(bucket_setting.c.bucket == bindparam("of_bucket"), bucket_setting.c.name == bindparam("of_name"))
    .values(value=bindparam("new_value"))
)
_BUCKET_DELETE = Statement(
    delete(bucket_setting).where(
        bucket_setting.c.bucket == bindparam("of_bucket"), bucket_setting.c.name == bindparam("of_name")
    )
)
_BUCKET_DELETE_ALL = Statement(delete(bucket_setting).where(bucket_setting.c.bucket == bindparam("of_bucket")))
_BUCKETS_WITH = Statement(
    select(bucket_setting.c.bucket)
    .where(bucket_setting.c.name == bindparam("of_name"))
    .order_by(bucket_setting.c.bucket)
)
_VERSION = Statement(
    select(version_setting.c.name, version_setting.c.value)
    .where(version_setting.c.version == bindparam("of_version"))
    .order_by(version_setting.c.name)
)
_VERSION_SHORT = Statement(
    select(version_setting.c.name, version_setting.c.value).where(
        version_setting.c.version == bindparam("of_version"), version_setting.c.name != literal(PARTS_SETTING)
    )
)
_VERSION_PARTS = Statement(
    select(version_setting.c.value).where(
        version_setting.c.version == bindparam("of_version"), version_setting.c.name == literal(PARTS_SETTING)
    )
)
_VERSION_FACTS = Statement(
    select(version_setting.c.name, version_setting.c.value).where(
        version_setting.c.version == bindparam("of_version"),
        version_setting.c.name.in_((literal(DESCRIPTION), literal(TAGS), literal(DEAD_PROPERTIES))),
    )
)
_VERSION_INSERT = Statement(insert(version_setting).values({c.name: bindparam(c.name) for c in version_setting.c}))
_VERSION_DELETE = Statement(
    delete(version_setting).where(
        version_setting.c.version == bindparam("of_version"), version_setting.c.name == bindparam("of_name")
    )
)
_VERSION_DELETE_ALL = Statement(delete(version_setting).where(version_setting.c.version == bindparam("of_version")))


def bucket_value(reader: Reader, bucket: str, name: str) -> str | None:
    row = reader.one(_BUCKET, of_bucket=bucket, of_name=name)
    return None if row is None else str(row[0])


def buckets_with(reader: Reader, name: str) -> list[str]:
    """Return the names of the buckets that have the setting, in order."""
    return [str(row[0]) for row in reader.all(_BUCKETS_WITH, of_name=name)]


def put_bucket_value(tx: Tx, bucket: str, name: str, value: str | None) -> None:
    """Store a setting; None removes it."""
    if value is None:
        tx.run(_BUCKET_DELETE, of_bucket=bucket, of_name=name)
    elif not tx.run(_BUCKET_UPDATE, of_bucket=bucket, of_name=name, new_value=value):
        tx.run(_BUCKET_INSERT, bucket=bucket, name=name, value=value)


def drop_bucket_values(tx: Tx, bucket: str) -> None:
    """Delete a bucket's settings with the bucket, so that a later bucket of its name has none."""
    tx.run(_BUCKET_DELETE_ALL, of_bucket=bucket)


def version_values(reader: Reader, version: str) -> dict[str, str]:
    return {row[0]: row[1] for row in reader.all(_VERSION, of_version=version)}


def short_version_values(reader: Reader, version: str) -> dict[str, str]:
    """Return a version's settings without the list of its upload's parts, which may have thousands of lines."""
    return {row[0]: row[1] for row in reader.all(_VERSION_SHORT, of_version=version)}


def parts_of_version(reader: Reader, version: str) -> dict[str, str]:
    """Return the setting that lists a completed upload's parts, which goes with its content; {} without one."""
    row = reader.one(_VERSION_PARTS, of_version=version)
    return {} if row is None else {PARTS_SETTING: row[0]}


def facts_of_version(reader: Reader, version: str) -> dict[str, str]:
    """Return what people say about a file, which goes with it: its description, tags and WebDAV properties."""
    return {row[0]: row[1] for row in reader.all(_VERSION_FACTS, of_version=version)}


def put_version_value(tx: Tx, version: str, name: str, value: str | None) -> None:
    """Store a setting; None removes it."""
    tx.run(_VERSION_DELETE, of_version=version, of_name=name)
    if value is not None:
        tx.run(_VERSION_INSERT, version=version, name=name, value=value)


def drop_version_values(tx: Tx, version: str) -> None:
    """Delete a removed version's settings."""
    tx.run(_VERSION_DELETE_ALL, of_version=version)
