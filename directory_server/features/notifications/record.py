"""The messages, in the structure of S3's event records, version 2.1.

Source: the S3 user guide, "Event message structure".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import msgspec

from directory_server.files.object_changes import ObjectChange
from directory_server.metadata.statements.buckets import Bucket
from lockstep_store.wire.messages.s3 import REGION, etag_of_content

SERVICE = "Amazon S3"
SEQUENCER_DIGITS = 16


def message(change: ObjectChange, bucket: Bucket, configuration_id: str) -> str:
    """Return an event's JSON text, without its sequencer."""
    cause = change.cause
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": iso_time(change.at),
        "eventName": change.event,
        "userIdentity": {"principalId": cause.account or "Anonymous"},
        "requestParameters": {"sourceIPAddress": cause.source_ip},
        "responseElements": {"x-amz-request-id": cause.request_id, "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": bucket.owner},
                "arn": f"arn:aws:s3:::{bucket.name}",
            },
            "object": _object(change, bucket),
        },
    }
    return msgspec.json.encode({"Records": [record]}).decode()


def _object(change: ObjectChange, bucket: Bucket) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": quote_plus(change.path, safe="/")}
    if change.digest is not None:
        metadata: dict[str, str] = msgspec.json.decode(change.metadata or "{}")
        entry["size"] = change.size
        entry["eTag"] = etag_of_content(metadata, change.digest)
    if not change.null_version:
        entry["versionId"] = change.version
    elif bucket.versioning != "off":
        entry["versionId"] = "null"
    return entry


def with_sequencer(body: str, change: int) -> bytes:
    """Return the message to send. Sequencers of later changes are greater, as text."""
    whole = msgspec.json.decode(body)
    for record in whole.get("Records", ()):
        record["s3"]["object"]["sequencer"] = f"{change:0{SEQUENCER_DIGITS}X}"
    return msgspec.json.encode(whole)


def trial_message(bucket: str, at: float, request_id: str = "") -> str:
    """Return the message that tests a target, sent when a bucket starts to use it or an administrator asks."""
    message = {
        "Service": SERVICE,
        "Event": "s3:TestEvent",
        "Time": iso_time(at),
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": "",
    }
    return msgspec.json.encode(message).decode()


def iso_time(at: float) -> str:
    """Return a time in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
