"""Access logs: where a bucket's goes, and in whose name a proxy writes it.

A log is written for the owner while nobody is there who could prove to be them. So a proxy, which is known by its
certificate, begins such a write with `ACCESS_LOG_PREFIX` and the logged bucket's name in the place of a credential.
That is good for one thing: a new file below the prefix that the owner named, in a bucket that is the same owner's
still. Everything else (policies, locks) holds as for the owner's own writes.
"""

from __future__ import annotations

import json
from typing import Any

from directory_server.access.decisions import standing
from directory_server.files import buckets
from directory_server.files.bucket import Bucket
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.store import Reader
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadName, BadRequest, Forbidden, NotFound
from lockstep_store.wire.messages.files import BeginItem
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX, LOGGING, AccessLogReply, LogDates
from lockstep_store.wire.names import check_path

_BAD_TARGET = "InvalidTargetBucketForLogging"
_EXAMPLE = "2026-01-31-00-00-00-0123456789ABCDEF"
"""What follows the prefix in the names of log files."""
_REGION, _EXAMPLE_FOLDERS = "us-east-1", "2026/01/31/"
"""With the owner and the logged bucket: what stands between the two where logs are sorted into folders."""


def check_setting(reader: Reader, bucket: Bucket, person: Person, value: str, at: float) -> None:
    """BadRequest unless the log can go where the setting says: to a bucket of the same owner, by somebody who may
    write there themselves."""
    target, prefix, dates = _target(value)
    example = prefix + (f"{bucket.owner}/{_REGION}/{bucket.name}/{_EXAMPLE_FOLDERS}" if dates else "") + _EXAMPLE
    try:
        check_path(example)
    except BadName as error:
        raise BadRequest(f"this prefix would make bad names: {error}", s3_code="InvalidArgument") from error
    try:
        place = standing(reader, target, person, at)
    except (NotFound, Forbidden) as error:
        raise BadRequest(f"the target bucket {target!r} does not exist", s3_code=_BAD_TARGET) from error
    if place.bucket.owner != bucket.owner or not place.may("s3:PutObject", example, owners_only=True):
        raise BadRequest(
            f"the log of bucket {bucket.name!r} can only go to a bucket of {bucket.owner}, whom it belongs to",
            s3_code=_BAD_TARGET,
        )


def find(reader: Reader, name: str) -> AccessLogReply:
    """Where the log of a bucket goes. NotFound when there is no such bucket."""
    bucket = buckets.find(reader, name)
    value = s3_settings.bucket_value(reader, name, LOGGING)
    if value is None:
        return AccessLogReply(bucket.owner)
    return AccessLogReply(bucket.owner, *_target(value))


def writer(reader: Reader, item: BeginItem) -> Person | None:
    """In whose name a file of an access log is written; None for any other write. Forbidden for what the setting does
    not allow."""
    if not item.credential.startswith(ACCESS_LOG_PREFIX):
        return None
    source = item.credential.removeprefix(ACCESS_LOG_PREFIX)
    log = find(reader, source)
    is_new = item.preconditions.if_none_match == ["*"] and item.lock_number is None and item.upload is None
    if not (is_new and log.target == item.bucket and item.path.startswith(log.prefix) and not item.settings):
        raise Forbidden(f"this is no new file of the access log of bucket {source!r}", bucket=item.bucket)
    if buckets.find(reader, log.target).owner != log.owner:
        raise Forbidden(f"bucket {log.target!r} is not {log.owner}'s any more", bucket=log.target)
    return Person(log.owner, False, "access-log")


def _target(value: str) -> tuple[str, str, LogDates]:
    """The bucket, the prefix and the kind of folders in a setting."""
    said: dict[str, Any] = json.loads(value)["LoggingEnabled"]
    folders = (said.get("TargetObjectKeyFormat") or {}).get("PartitionedPrefix")
    dates: LogDates = "" if folders is None else folders.get("PartitionDateSource") or "DeliveryTime"
    return said["TargetBucket"], said.get("TargetPrefix") or "", dates
