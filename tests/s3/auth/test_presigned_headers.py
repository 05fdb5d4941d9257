"""Parameters of presigned addresses that stand for headers, as the JavaScript SDK's presigner makes them."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3.calls import Answer, code_in, read, refused
from tests.s3.people import client_of, document, statement
from tests.s3.rig import ENDPOINT, REGION, S3Rig

Presigned = Callable[..., Answer]


@pytest.fixture(scope="module")
def presigned(rig: S3Rig) -> Presigned:
    """Sends what a presigned address asks for: (method, path, parameters, headers, body)."""
    credentials = Credentials(*rig.key())

    def send(
        method: str,
        path: str,
        parameters: dict[str, str],
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        url = f"{ENDPOINT}{path}?{urlencode(parameters, quote_via=quote)}"
        request = AWSRequest(method=method, url=url, headers=headers or {})
        S3SigV4QueryAuth(credentials, "s3", REGION, 600).add_auth(request)
        sent = {**dict(request.headers.items()), "Content-Length": str(len(body))}
        status, answered, content = rig.ask(method, request.url, sent, body)
        return status, {name.lower(): value for name, value in answered}, content

    return send


def test_metadata_tags_and_storage_class_in_the_query_count(s3: Any, presigned: Presigned, bucket: str) -> None:
    """Names keep their underscores, and the case of `X-Amz-` does not matter."""
    parameters = {
        "x-amz-meta-city": "Bern",
        "x-amz-meta-two_words": "kept",
        "X-Amz-Tagging": "a=1&b=2",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-acl": "public-read",
    }
    assert presigned("PUT", f"/{bucket}/k", parameters, body=b"x")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"city": "Bern", "two_words": "kept"}
    assert head["StorageClass"] == "STANDARD_IA"
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    groups = [one["Grantee"].get("URI", "") for one in s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]]
    assert any(group.endswith("AllUsers") for group in groups)


def test_a_header_that_is_sent_wins(s3: Any, presigned: Presigned, bucket: str) -> None:
    """It is signed too."""
    sent = {"x-amz-meta-city": "Basel"}
    assert presigned("PUT", f"/{bucket}/k", {"x-amz-meta-city": "Bern"}, sent, b"x")[0] == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"city": "Basel"}


def test_object_locks_in_the_query_hold(s3: Any, presigned: Presigned, bucket: str) -> None:
    """Retention and legal hold are on the version."""
    name = f"{bucket}-locked"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    parameters = {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": until.isoformat().replace("+00:00", "Z"),
        "x-amz-object-lock-legal-hold": "ON",
    }
    md5 = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    assert presigned("PUT", f"/{name}/k", parameters, {"Content-MD5": md5}, b"x")[0] == 200
    head = s3.head_object(Bucket=name, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert head["ObjectLockLegalHoldStatus"] == "ON"


def test_the_expected_owner_in_the_query_is_checked(s3: Any, presigned: Presigned, bucket: str) -> None:
    """On reads and on writes."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    somebody = {"x-amz-expected-bucket-owner": "somebody"}
    assert presigned("GET", f"/{bucket}/k", somebody)[0] == 403
    assert presigned("PUT", f"/{bucket}/k", somebody, body=b"y")[0] == 403
    assert read(s3, bucket) == b"x"


def test_checksums_and_a_copys_source_in_the_query_are_ignored(s3: Any, presigned: Presigned, bucket: str) -> None:
    """SDKs sign the checksum of an empty body, before there is one."""
    s3.put_object(Bucket=bucket, Key="source", Body=b"source")
    parameters = {
        "x-amz-checksum-crc32": "AAAAAA==",
        "x-amz-sdk-checksum-algorithm": "CRC32",
        "x-amz-copy-source": f"{bucket}/source",
    }
    assert presigned("PUT", f"/{bucket}/k", parameters, body=b"content")[0] == 200
    assert read(s3, bucket) == b"content"


def test_policies_judge_such_parameters(rig: S3Rig, owner: Any, owned_bucket: str) -> None:
    """A policy that demands a list of access rights is met by one in the query, and only by the one that it names."""
    condition = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    allowed = statement("Allow", "paul", "s3:PutObject", f"{owned_bucket}/*", Condition=condition)
    paul = client_of(rig, "paul")
    owner.put_bucket_policy(Bucket=owned_bucket, Policy=document(allowed))
    keys = paul._request_signer._credentials
    for acl, expected in (("bucket-owner-full-control", 200), ("private", 403)):
        request = AWSRequest(method="PUT", url=f"{ENDPOINT}/{owned_bucket}/p?x-amz-acl={acl}")
        S3SigV4QueryAuth(Credentials(keys.access_key, keys.secret_key), "s3", REGION, 600).add_auth(request)
        assert rig.ask("PUT", request.url, {"Content-Length": "1"}, b"x")[0] == expected


@pytest.mark.parametrize(("name", "value"), [("x-amz-meta-a", "one\r\ntwo: 3"), ("x-amz-meta-a b", "x")])
def test_what_could_not_be_a_header_is_rejected(
    s3: Any, presigned: Presigned, bucket: str, name: str, value: str
) -> None:
    """A reply repeats metadata as headers, so a line end in it would make another header."""
    status, _, body = presigned("PUT", f"/{bucket}/k", {name: value}, body=b"x")
    assert (status, code_in(body)) == (400, "InvalidArgument")
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_metadata_beyond_ascii_is_returned_by_rfc_2047(s3: Any, presigned: Presigned, bucket: str) -> None:
    """As S3 returns it."""
    assert presigned("PUT", f"/{bucket}/k", {"x-amz-meta-city": "Zürich"}, body=b"x")[0] == 200
    encoded = f"=?UTF-8?B?{base64.b64encode('Zürich'.encode()).decode()}?="
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"city": encoded}
    assert s3.get_object(Bucket=bucket, Key="k")["Metadata"] == {"city": encoded}
