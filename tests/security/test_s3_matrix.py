"""Every S3 operation for everybody: who is served, and who is refused.

The operations are those of the service description. One that no list names fails, so a new operation is classified
before it is served.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from tests.s3.people import document, statement
from tests.s3.protocol.test_every_member import BODIES, World, implemented, sample
from tests.s3.rig import S3Rig
from tests.security.identities import EVERYBODY, LIMITED, LIVE, MEMBERS, OWNERS, READERS, VOID, WRITERS, Identities

READ_ONLY = frozenset({"read-only"})
"""The account's policy allows it everything; its role leaves it what reads."""
CREDENTIAL_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "ExpiredToken"}
PROOFS = ("signature", "header")
"""A signature, or an API key or token in a header. (The key of a service account is for signatures only.)"""
ACCOUNTS = ("ListBuckets",)
BUCKET_MAKERS = ("CreateBucket",)
READING = ("GetObject", "HeadBucket", "HeadObject", "ListObjectVersions", "ListObjects", "ListObjectsV2")
WRITING = (
    *("AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "DeleteObject"),
    *("DeleteObjects", "PutObject", "RenameObject", "UploadPart", "UploadPartCopy"),
)
WRITERS_READING = ("ListMultipartUploads", "ListParts")
OWNERS_READING = (
    *("GetBucketAccelerateConfiguration", "GetBucketAcl", "GetBucketAnalyticsConfiguration", "GetBucketCors"),
    *("GetBucketEncryption", "GetBucketIntelligentTieringConfiguration", "GetBucketInventoryConfiguration"),
    *("GetBucketLifecycleConfiguration", "GetBucketLocation", "GetBucketLogging", "GetBucketMetricsConfiguration"),
    *("GetBucketNotificationConfiguration", "GetBucketOwnershipControls", "GetBucketPolicy", "GetBucketPolicyStatus"),
    *("GetBucketReplication", "GetBucketRequestPayment", "GetBucketTagging", "GetBucketVersioning"),
    *("GetBucketWebsite", "GetObjectAcl", "GetObjectAttributes", "GetObjectLegalHold", "GetObjectLockConfiguration"),
    *("GetObjectRetention", "GetObjectTagging", "GetPublicAccessBlock", "ListBucketAnalyticsConfigurations"),
    *("ListBucketIntelligentTieringConfigurations", "ListBucketInventoryConfigurations"),
    *("ListBucketMetricsConfigurations",),
)
OWNERS_WRITING = (
    *("DeleteBucket", "DeleteBucketAnalyticsConfiguration", "DeleteBucketCors", "DeleteBucketEncryption"),
    *("DeleteBucketIntelligentTieringConfiguration", "DeleteBucketInventoryConfiguration", "DeleteBucketLifecycle"),
    *("DeleteBucketMetricsConfiguration", "DeleteBucketOwnershipControls", "DeleteBucketPolicy"),
    *("DeleteBucketReplication", "DeleteBucketTagging", "DeleteBucketWebsite", "DeleteObjectTagging"),
    *("DeletePublicAccessBlock", "PutBucketAcl", "PutBucketCors", "PutBucketEncryption"),
    *("PutBucketLifecycleConfiguration", "PutBucketLogging", "PutBucketNotificationConfiguration"),
    *("PutBucketOwnershipControls", "PutBucketPolicy", "PutBucketRequestPayment", "PutBucketTagging"),
    *("PutBucketVersioning", "PutObjectAcl", "PutObjectLegalHold", "PutObjectLockConfiguration"),
    *("PutObjectRetention", "PutObjectTagging", "PutPublicAccessBlock"),
)
SERVED = {
    **dict.fromkeys(ACCOUNTS, LIVE),
    **dict.fromkeys(BUCKET_MAKERS, MEMBERS),
    **dict.fromkeys(READING, READERS | LIMITED),
    **dict.fromkeys(WRITING, WRITERS),
    **dict.fromkeys(WRITERS_READING, WRITERS | READ_ONLY),
    **dict.fromkeys(OWNERS_READING, OWNERS | READ_ONLY),
    **dict.fromkeys(OWNERS_WRITING, OWNERS),
}
SERVED_TO_NOBODY = (
    *("CreateBucketMetadataConfiguration", "CreateBucketMetadataTableConfiguration", "CreateSession"),
    *("DeleteBucketMetadataConfiguration", "DeleteBucketMetadataTableConfiguration", "DeleteObjectAnnotation"),
    *("GetBucketAbac", "GetBucketMetadataConfiguration", "GetBucketMetadataTableConfiguration"),
    *("GetObjectAnnotation", "GetObjectTorrent", "ListObjectAnnotations", "PutBucketAbac"),
    *("PutBucketAccelerateConfiguration", "PutBucketAnalyticsConfiguration"),
    *("PutBucketIntelligentTieringConfiguration", "PutBucketInventoryConfiguration"),
    *("PutBucketMetricsConfiguration", "PutBucketReplication", "PutBucketWebsite", "PutObjectAnnotation"),
    *("RestoreObject", "SelectObjectContent", "UpdateBucketMetadataAnnotationTableConfiguration"),
    *("UpdateBucketMetadataInventoryTableConfiguration", "UpdateBucketMetadataJournalTableConfiguration"),
    *("UpdateObjectEncryption",),
)
# What a request needs beside what the description requires, or instead.
REQUESTS: dict[str, dict[str, Any]] = {
    "CopyObject": {"Key": "copy"},
    "PutBucketAcl": {"ACL": "private"},
    "PutBucketCors": {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}},
    "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": BODIES["LifecycleConfiguration"]},
    "PutBucketLogging": {"BucketLoggingStatus": {}},
    "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "PutObjectAcl": {"ACL": "private"},
    "PutObjectLegalHold": {"LegalHold": BODIES["LegalHold"]},
    "PutObjectLockConfiguration": {"ObjectLockConfiguration": BODIES["ObjectLockConfiguration"]},
    "PutObjectRetention": {"Retention": BODIES["Retention"]},
    "UpdateObjectEncryption": {"ObjectEncryption": {"SSEKMS": {"KMSKeyArn": "arn:aws:kms:us-east-1:1:key/1"}}},
}
NOT_THERE = {"InvalidRequest", "NoSuchConfiguration"}
"""Answers to those who may, where the bucket has nothing of the kind. More are 404."""


@pytest.fixture(scope="module")
def everybody(rig: S3Rig) -> Identities:
    return Identities(rig)


def request_for(everybody: Identities, operation: S3Operation) -> dict[str, Any]:
    """The parameters of a request about a new bucket of the owner's, which the owner would be served."""
    request = World(everybody.all["owner"].s3).base(operation)
    bucket = request.get("Bucket", "")
    if bucket and operation.name != "CreateBucket":
        everybody.let_in(bucket)
    for member in operation.input:
        if member.required and member.name not in request:
            request[member.name] = sample(member.type, member.name, ())
    if operation.name == "PutBucketPolicy":
        request["Policy"] = document(statement("Allow", "reader", "s3:GetObject", f"{bucket}/*"))
    return request | REQUESTS.get(operation.name, {})


def answered(
    everybody: Identities, who: str, operation: S3Operation, request: dict[str, Any], proof: str = "signature"
) -> tuple[int, str]:
    """The answer's status, and the code of a refusal."""
    identity = everybody.all[who]
    client = identity.s3 if proof == "signature" else identity.s3_by_header
    try:
        answer = client._make_api_call(operation.name, request)
    except ClientError as error:
        said = error.response
        return said["ResponseMetadata"]["HTTPStatusCode"], said["Error"]["Code"]
    if answer.get("Errors"):
        return 403, answer["Errors"][0]["Code"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], ""


def test_every_operation_is_classified() -> None:
    """Each is in one list, and those that are served to nobody are those without a handler."""
    assert {*SERVED, *SERVED_TO_NOBODY} == set(operations())
    assert sorted(SERVED) == implemented()


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("name", SERVED)
def test_only_those_of_the_lists_are_served(
    everybody: Identities, monkeypatch: pytest.MonkeyPatch, name: str, proof: str
) -> None:
    """Each request of those who are served gets a bucket of its own, because it may change it."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 1)
    operation = operations()[name]
    request = request_for(everybody, operation)
    served = SERVED[name] if proof == "signature" else SERVED[name] - LIMITED
    for who in sorted(EVERYBODY - served):
        status, code = answered(everybody, who, operation, request, proof)
        wanted = CREDENTIAL_REFUSED if who in VOID | (LIMITED if proof == "header" else set()) else {"AccessDenied"}
        refusal = 400 if who == "expired" and proof == "header" else 403
        assert (status, code in wanted or operation.method == "HEAD") == (refusal, True), (who, status, code)
    for number, who in enumerate(sorted(served)):
        if number and operation.method not in ("GET", "HEAD"):
            request = request_for(everybody, operation)
        status, code = answered(everybody, who, operation, request, proof)
        assert status in (200, 204, 404) or code in NOT_THERE, (who, status, code)
        assert status != 404 or code.startswith(("NoSuch", "OwnershipControls", "ReplicationConf")), (who, code)
        assert code not in ("NoSuchBucket", "NoSuchKey"), who


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("name", sorted(set(SERVED).difference(ACCOUNTS, BUCKET_MAKERS)))
def test_another_tenants_bucket_is_no_bucket(everybody: Identities, name: str, proof: str) -> None:
    """An administrator of another tenant gets the answer for a bucket that does not exist."""
    operation = operations()[name]
    request = request_for(everybody, operation)
    status, code = answered(everybody, "outsider", operation, request, proof)
    elsewhere = request | {"Bucket": "no-such-bucket"}
    assert (status, code) == answered(everybody, "outsider", operation, elsewhere, proof)
    assert code == "NoSuchBucket" or (operation.method == "HEAD" and status == 404)


def test_what_is_not_implemented_is_refused_to_everybody(everybody: Identities) -> None:
    """With the same words, whoever asks."""
    for name in SERVED_TO_NOBODY:
        operation = operations()[name]
        request = request_for(everybody, operation)
        for who in ("anonymous", "stranger", "owner", "administrator"):
            assert answered(everybody, who, operation, request) == (501, "NotImplemented"), (who, name)
