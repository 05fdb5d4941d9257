"""Every member that the service description gives an operation is obeyed, refused, or listed as without effect."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.doors.s3.protocol.checksums import ALGORITHMS
from client_proxy.doors.s3.protocol.description import Member, S3Operation, Type
from client_proxy.doors.s3.protocol.operations import operations
from tests.s3.objects.test_encrypted_uploads import key_texts
from tests.s3.protocol.test_compatibility import ROW, TABLE
from tests.s3.recorded_parameters import Record, record_parameters

_numbers = itertools.count(1)
WITHOUT_EFFECT = re.compile(r"^\| `([A-Za-z.]+)` \| ([A-Za-z0-9, ]+) \| [^|]+ \|$", re.MULTILINE)
EVERY = "every operation"
GIVEN = frozenset({"Bucket", "Key", "Body", "ContentLength"})
"""What a request is about, and how long: nothing works without."""
FUTURE = datetime(2033, 1, 1, tzinfo=UTC)
OWN_KEY = key_texts()
SOURCE_KEY = {f"CopySource{name}": value for name, value in OWN_KEY.items()}
ADMIN = 'id="admin"'
ARN = "arn:lockstep:{}:us-east-1::nowhere"
# Values that are more than "x" or the first of an enumeration.
SAMPLES: dict[str, Any] = {
    "ACL": "private",
    "BucketRegion": "us-east-1",
    "ChecksumAlgorithm": "CRC32",
    "ChecksumType": "FULL_OBJECT",
    "ContentMD5": b64encode(b"0" * 16).decode(),
    "CopySourceRange": "bytes=0-0",
    "EncodingType": "url",
    "Events": "s3:ObjectCreated:*",
    "ExpectedBucketOwner": "admin",
    "ExpectedSourceBucketOwner": "admin",
    "LambdaFunctionArn": ARN.format("lambda"),
    "LocationConstraint": "eu-west-1",
    "MetadataDirective": "REPLACE",
    "ObjectAttributes": "ObjectParts",
    "ObjectOwnership": "ObjectWriter",
    "QueueArn": ARN.format("sqs"),
    "Range": "bytes=0-0",
    "SSEKMSEncryptionContext": b64encode(b"{}").decode(),
    "StorageClass": "STANDARD_IA",
    "Tagging": "a=1",
    "TaggingDirective": "REPLACE",
    "TopicArn": ARN.format("sns"),
    "VersionId": "null",
    "WebsiteRedirectLocation": "/x",
}
# What a parameter needs beside it to be looked at.
REPLACED = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires", "Metadata")
COMPANIONS: dict[str, dict[str, Any]] = {
    **{name: {"MetadataDirective": "REPLACE"} for name in REPLACED},
    "Tagging": {"TaggingDirective": "REPLACE"},
    "BucketKeyEnabled": {"ServerSideEncryption": "aws:kms"},
    "ChecksumType": {"ChecksumAlgorithm": "CRC32"},
    "NotificationConfiguration": {"SkipDestinationValidation": True},
    "ObjectLockMode": {"ObjectLockRetainUntilDate": FUTURE},
    "ObjectLockRetainUntilDate": {"ObjectLockMode": "GOVERNANCE"},
    "SSECustomerKey": OWN_KEY,
    "SSECustomerKeyMD5": OWN_KEY,
    "CopySourceSSECustomerKey": SOURCE_KEY,
    "CopySourceSSECustomerKeyMD5": SOURCE_KEY,
    "SSEKMSEncryptionContext": {"ServerSideEncryption": "aws:kms"},
    "SSEKMSKeyId": {"ServerSideEncryption": "aws:kms"},
    "UploadIdMarker": {"KeyMarker": "k"},
    "VersionIdMarker": {"KeyMarker": "k"},
}

ACL_HEADERS = frozenset({"ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP"})
"""In place of a body."""
# Bodies that are accepted as they are; what is tried is added to them.
BODIES: dict[str, Any] = {
    "AccessControlPolicy": {
        "Owner": {"ID": "admin"},
        "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "admin"}, "Permission": "READ"}],
    },
    "BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "nowhere", "TargetPrefix": "x"}},
    "LegalHold": {"Status": "ON"},
    "LifecycleConfiguration": {
        "Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x"}, "Expiration": {"Days": 1}}]
    },
    "ObjectLockConfiguration": {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
    },
    "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": FUTURE},
}
ALONE = {f"LifecycleConfiguration.Rules.{name}.": name for name in ("Expiration", "Filter")}
"""Parts of a body that take one member only."""
GRANTEE = "AccessControlPolicy.Grants.Grantee"
# What replaces a part of them, so that a member of it is looked at.
INSTEAD: dict[str, Any] = {
    f"{GRANTEE}.EmailAddress": {"Type": "AmazonCustomerByEmail", "EmailAddress": "admin"},
    f"{GRANTEE}.URI": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
}


def implemented() -> list[str]:
    """The operations that are answered."""
    return sorted(name for name, word in ROW.findall(TABLE.read_text("utf-8")) if word != "no")


def without_effect(operation: str) -> set[str]:
    """The members that the documents list as ignored in an operation."""
    rows = WITHOUT_EFFECT.findall(TABLE.read_text("utf-8"))
    return {member for member, where in rows if where == EVERY or operation in where.split(", ")}


def paths_of(type_: Type, prefix: str, depth: int = 0) -> Iterator[str]:
    """The paths of all members below one; a structure inside itself is not followed."""
    if type_.kind == "list":
        assert type_.member is not None
        yield from paths_of(type_.member, prefix, depth)
    elif type_.kind == "structure" and depth < 6:
        for member in type_.members:
            yield f"{prefix}.{member.name}"
            yield from paths_of(member.type, f"{prefix}.{member.name}", depth + 1)


def sample(type_: Type, name: str, path: tuple[str, ...]) -> Any:
    """A value with everything that is required, and what is on `path`."""
    if type_.kind == "structure":
        return {
            member.name: sample(member.type, member.name, path[1:] if path[:1] == (member.name,) else ())
            for member in type_.members
            if member.required or path[:1] == (member.name,)
        }
    if type_.kind == "list":
        assert type_.member is not None
        return [sample(type_.member, name, path)]
    if name in SAMPLES:
        return SAMPLES[name]
    if name.startswith("Grant"):
        return ADMIN
    if name.startswith("Checksum") and (algorithm := ALGORITHMS.get(name.removeprefix("Checksum"))):
        return algorithm.of(b"x")
    scalars: dict[str, Any] = {"integer": 1, "boolean": True, "timestamp": FUTURE, "blob": b"x", "map": {"a": "1"}}
    return min(type_.values) if type_.values else scalars.get(type_.kind, "x")


def merged(body: Any, more: Any) -> Any:
    """`body` with `more` added, member by member; of a list the first item."""
    if isinstance(body, dict) and isinstance(more, dict):
        return {**body, **{name: merged(body.get(name), value) for name, value in more.items()}}
    if isinstance(body, list) and isinstance(more, list) and body and more:
        return [merged(body[0], more[0])]
    return more if body is None else body


def places_in(body: Any, prefix: str) -> Iterator[str]:
    """The paths of everything in a body."""
    for one in body if isinstance(body, list) else [body]:
        for name, value in one.items() if isinstance(one, dict) else ():
            yield f"{prefix}.{name}"
            yield from places_in(value, f"{prefix}.{name}")


def places_to(path: str) -> list[str]:
    """`path` and the structures on its way, apart from the body itself."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(2, len(parts) + 1)]


def body_with(member: Member, path: str) -> Any:
    """A body with what is on `path`."""
    parts = path.split(".")[1:]
    for prefix, alone in ALONE.items():
        if path.startswith(prefix):
            rule = {name: value for name, value in BODIES[member.name]["Rules"][0].items() if name != alone}
            return merged({"Rules": [rule]}, sample(member.type, member.name, tuple(parts)))
    if path in INSTEAD:
        more: Any = INSTEAD[path]
        for part in reversed(parts[:-1]):
            more = {part: [more] if part == "Grants" else more}
        return merged({**BODIES[member.name], "Grants": [{"Permission": "READ"}]}, more)
    return merged(BODIES.get(member.name), sample(member.type, member.name, tuple(parts)))


class World:
    """A bucket with what operations are about; made again for each request of those that end it."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def base(self, operation: S3Operation) -> dict[str, Any]:
        """The required parameters of a request that could succeed."""
        bucket = f"members-{next(_numbers)}"
        if operation.level == "service":
            return {}
        if operation.name == "CreateBucket":
            return {"Bucket": bucket}
        self._s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket="Lock" in operation.name)
        place: dict[str, Any] = {"Bucket": bucket}
        if operation.level == "key":
            self._s3.put_object(Bucket=bucket, Key="k", Body=b"x")
            place["Key"] = "k"
        named = {member.name for member in operation.input if member.required}
        if "UploadId" in named:
            place["UploadId"] = self._s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
            part = self._s3.upload_part(**place, PartNumber=1, Body=b"x")
            if operation.name == "CompleteMultipartUpload":
                place["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        if "CopySource" in named:
            place["CopySource"] = f"{bucket}/k"
        if "RenameSource" in named:
            place |= {"RenameSource": "k", "Key": "renamed"}
        return place


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 1)
    return record_parameters(monkeypatch)


@pytest.mark.parametrize("name", implemented())
def test_every_member_is_obeyed_refused_or_listed(s3: Any, recorded: Record, name: str) -> None:
    """Each is sent once, in a request that has nothing else but what it needs."""
    operation, world = operations()[name], World(s3)
    ignored = set()
    for member in operation.input:
        if member.name in GIVEN:
            continue
        for path in (member.name, *paths_of(member.type, member.name)):
            if not is_looked_at(s3, recorded, world, operation, member, path):
                ignored.add(path)
    there = {member.name for member in operation.input}
    assert sorted(ignored) == sorted(one for one in without_effect(name) if one.partition(".")[0] in there)


def is_looked_at(s3: Any, recorded: Record, world: World, operation: S3Operation, member: Member, path: str) -> bool:
    request = world.base(operation)
    for needed in operation.input:
        if needed.required and needed.name not in request:
            request[needed.name] = sample(needed.type, needed.name, ())
    members = {one.name for one in operation.input}
    for name, value in COMPANIONS.get(member.name, {}).items():
        if name in members:
            request.setdefault(name, value)
    if operation.payload is not None and operation.payload.name in BODIES and member.name not in ACL_HEADERS:
        request[operation.payload.name] = BODIES[operation.payload.name]
    if "." in path or member.name not in request:
        request[member.name] = body_with(member, path)
    recorded.members.clear()
    recorded.headers.clear()
    status = 200
    try:
        s3._make_api_call(operation.name, request)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if "." in path and status >= 400 and path not in recorded.members:  # who refuses a structure need not look into it
        before = set(places_in(BODIES.get(member.name), member.name))
        return any(one in recorded.members and one not in before for one in places_to(path))
    header = member.wire_name.lower() if member.place == "header" and path == member.name else ""
    return path in recorded.members or header in recorded.headers
