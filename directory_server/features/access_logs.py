"""Access logs: where a bucket's log goes, and for whom a proxy writes it.

A proxy writes a log for the bucket's owner, whose credential it does not have. It is known by its certificate, so it
begins such a write with `ACCESS_LOG_PREFIX` and the logged bucket's name in place of a credential. That permits one
thing: a new file below the prefix that the owner chose, in a bucket that still belongs to the same owner. Policies and
locks apply as to the owner's own writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from directory_server.access.decisions import standing
from directory_server.files.hooks import Feature
from directory_server.metadata.statements import buckets, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadName, BadRequest, Forbidden, NotFound
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX, LOGGING, AccessLogReply, AccessLogRequest, LogDates
from lockstep_store.wire.messages.writes import BeginItem
from lockstep_store.wire.names import check_path

_BAD_TARGET = "InvalidTargetBucketForLogging"
_EXAMPLE = "2026-01-31-00-00-00-0123456789ABCDEF"
"""A log file's name after the prefix."""
_REGION, _EXAMPLE_FOLDERS = "us-east-1", "2026/01/31/"
"""With the owner and the logged bucket: the folders of a partitioned log, between prefix and name."""


def check_setting(reader: Reader, bucket: Bucket, person: Person, value: str | None, at: float) -> None:
    """Raise BadRequest unless the target is a bucket of the same owner, and `person` may write there."""
    if value is None:
        return
    target, prefix, dates = _target(value)
    example = prefix + (f"{bucket.owner}/{_REGION}/{bucket.name}/{_EXAMPLE_FOLDERS}" if dates else "") + _EXAMPLE
    try:
        check_path(example)
    except BadName as error:
        raise BadRequest(f"log files cannot have this prefix: {error}", s3_code="InvalidArgument") from error
    try:
        place = standing(reader, target, person, at)
    except (NotFound, Forbidden) as error:
        raise BadRequest(f"the target bucket {target!r} does not exist", s3_code=_BAD_TARGET) from error
    if place.bucket.owner != bucket.owner or not place.may("s3:PutObject", example, owners_only=True):
        raise BadRequest(
            f"the log of bucket {bucket.name!r} can only go to a bucket of its owner, {bucket.owner}",
            s3_code=_BAD_TARGET,
        )


class AccessLogs:
    """The call about access logs. Thread-safe."""

    def __init__(self, store: MetadataStore, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall

    def of_bucket(self, request: AccessLogRequest) -> AccessLogReply:
        """Return where a bucket's log goes. NotFound when there is no such bucket."""
        with self._store.read() as reader:
            found = find(reader, request.bucket)
        found.age_seconds = max(0.0, self._wall() - found.created_at)
        return found


def find(reader: Reader, name: str) -> AccessLogReply:
    """Return where a bucket's log goes. NotFound when there is no such bucket."""
    bucket = buckets.require(reader, name)
    value = s3_settings.bucket_value(reader, name, LOGGING)
    if value is None:
        return AccessLogReply(bucket.owner, created_at=bucket.created_at)
    return AccessLogReply(bucket.owner, *_target(value), created_at=bucket.created_at)


def writer(reader: Reader, item: BeginItem) -> Person:
    """Return the owner for whom a log file is written. Forbidden for a write that the setting does not permit."""
    source = item.credential.removeprefix(ACCESS_LOG_PREFIX)
    log = find(reader, source)
    is_new = item.preconditions.if_none_match == ["*"] and item.lock_number is None and item.upload is None
    if not (is_new and log.target == item.bucket and item.path.startswith(log.prefix) and not item.settings):
        raise Forbidden(
            f"this credential only allows new files of the access log of bucket {source!r}", bucket=item.bucket
        )
    if buckets.require(reader, log.target).owner != log.owner:
        raise Forbidden(f"bucket {log.target!r} no longer belongs to {log.owner}", bucket=log.target)
    return Person(log.owner, False, "access-log")


def _target(value: str) -> tuple[str, str, LogDates]:
    """Return the bucket, the prefix and the kind of folders in a setting."""
    wanted: dict[str, Any] = json.loads(value)["LoggingEnabled"]
    folders = (wanted.get("TargetObjectKeyFormat") or {}).get("PartitionedPrefix")
    dates: LogDates = "" if folders is None else folders.get("PartitionDateSource") or "DeliveryTime"
    return wanted["TargetBucket"], wanted.get("TargetPrefix") or "", dates


FEATURE = Feature(
    setting=LOGGING, credential_prefix=ACCESS_LOG_PREFIX, writer=writer, check_bucket_setting=check_setting
)
