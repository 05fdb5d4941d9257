"""Rate limits at the S3 door, with a real S3 client: a refusal is SlowDown; unlimited operations are not counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.rate_class import rate_class_of
from tests.fakes.rate_counts import LastingCounts, lasting_limits
from tests.s3.people import client_of
from tests.s3.post_forms import FORM_TYPE, form
from tests.s3.rig import ENDPOINT, S3Rig


def made(tmp_path: Path, *rules: str) -> tuple[S3Rig, LastingCounts]:
    limits, counts = lasting_limits(*rules)
    return S3Rig(tmp_path / "cluster", tmp_path.parent / "rate-limit-certs", file_servers=2, limits=limits), counts


def refusal(call: Any, **values: Any) -> ClientError:
    with pytest.raises(ClientError) as refused:
        call(**values)
    return refused.value


def test_a_refused_request_is_slow_down_as_s3_answers_it(tmp_path: Path) -> None:
    """503 SlowDown, on which every S3 client slows down by itself, with the time to wait and the draft's headers."""
    rig, _ = made(tmp_path, "write=2/minute/key")
    try:
        s3 = rig.client()
        s3.create_bucket(Bucket="limited")
        put = s3.put_object(Bucket="limited", Key="a", Body=b"1")
        s3.put_object(Bucket="limited", Key="a", Body=b"2")
        error = refusal(s3.put_object, Bucket="limited", Key="a", Body=b"3")
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        assert error.response["Error"]["Code"] == "SlowDown"
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert headers["retry-after"] == "7"
        assert headers["ratelimit"] == '"write-key-minute";r=0;t=7'
        assert put["ResponseMetadata"]["HTTPHeaders"]["ratelimit"] == '"write-key-minute";r=1;t=7'
        assert s3.get_object(Bucket="limited", Key="a")["Body"].read() == b"2"
        assert rig.client().put_object(Bucket="limited", Key="b", Body=b"another key of the same account")
    finally:
        rig.close()


def test_a_request_with_an_id_token_is_a_log_in(tmp_path: Path) -> None:
    """So it has the class that is limited by default, and counts with other log-ins of the address."""
    rig, _ = made(tmp_path, "login=3/minute/address")
    try:
        sts = rig.client(service="sts")
        call = {"RoleArn": "arn:aws:iam::a:role/r", "RoleSessionName": "s1", "WebIdentityToken": "a.b.c"}
        rig.cluster.log_in("ann")
        for _ in range(2):
            error = refusal(sts.assume_role_with_web_identity, **call)
            assert error.response["Error"]["Code"] == "InvalidIdentityToken"
        error = refusal(sts.assume_role_with_web_identity, **call)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        sts.get_caller_identity()
    finally:
        rig.close()


def test_accounts_and_buckets_have_their_own_counts(tmp_path: Path) -> None:
    """Two keys of one account share its count, two accounts in one bucket share the bucket's."""
    rig, counts = made(tmp_path, "write=3/minute/account", "write=4/minute/bucket")
    try:
        olga, again, eve = client_of(rig, "olga"), client_of(rig, "olga"), client_of(rig, "eve")
        olga.create_bucket(Bucket="shared")
        for client in (olga, again, again):
            client.put_object(Bucket="shared", Key="a", Body=b"1")
        assert refusal(olga.put_object, Bucket="shared", Key="a", Body=b"1").response["Error"]["Code"] == "SlowDown"
        assert refusal(eve.put_object, Bucket="shared", Key="a", Body=b"1").response["Error"]["Code"] == "AccessDenied"
        assert refusal(eve.put_object, Bucket="shared", Key="a", Body=b"1").response["Error"]["Code"] == "SlowDown"
        assert counts.taken["write=3/minute/account", "eve"] == 2
    finally:
        rig.close()


def test_an_api_key_has_a_count_of_its_own(tmp_path: Path) -> None:
    """It counts for its account, too, for forms and buckets in JSON as for other requests; a wrong one for nobody."""
    rig, counts = made(tmp_path, "write=3/minute/key", "write=4/minute/account", "admin=1/minute/key")
    try:
        log_in = rig.cluster.log_in("ann")
        made_key = rig.cluster.ask_with(log_in, "POST", "/auth/keys", b'{"name": "curl"}').json["key"]

        def send(method: str, path: str, body: bytes, key: str = made_key, content_type: str = "text/plain") -> int:
            headers = {"X-Api-Key": key, "Content-Type": content_type, "Content-Length": str(len(body))}
            return rig.ask(method, ENDPOINT + path, headers, body)[0]

        new = b'{"bucket_name": "anns"}'
        posted = ("POST", "/anns/", form([("file", b"1")]))
        assert [send("POST", "/", new, content_type="application/json") for _ in range(2)] == [200, 503]
        assert send(*posted, content_type=FORM_TYPE) == 204
        assert [send("PUT", "/anns/a", b"1") for _ in range(3)] == [200, 200, 503]
        assert [send("PUT", "/anns/a", b"1", "lsk_wrong") for _ in range(3)] == [403] * 3
        assert [name for (rule, name) in counts.taken if rule.endswith("account")] == ["ann"]
        assert all(made_key not in name for _, name in counts.taken)
    finally:
        rig.close()


def test_a_wrong_signature_takes_nothing_from_an_account(tmp_path: Path) -> None:
    """Who only knows a key's id cannot use up what its account may do."""
    rig, counts = made(tmp_path, "read=1/minute/account", "read=1/minute/key")
    try:
        access, _ = rig.key()
        thief = rig.client((access, "wrong" * 8))
        for _ in range(3):
            error = refusal(thief.get_object, Bucket="files", Key="a")
            assert error.response["Error"]["Code"] == "SignatureDoesNotMatch"
        assert not counts.taken
    finally:
        rig.close()


def test_the_default_limits_count_no_read_and_no_write(tmp_path: Path) -> None:
    """With the default, which limits log-ins, no request of the S3 door is ever counted."""
    rig, counts = made(tmp_path)
    try:
        s3 = client_of(rig, "ann")
        counts.taken.clear()
        s3.create_bucket(Bucket="free")
        s3.put_object(Bucket="free", Key="a", Body=b"1")
        s3.get_object(Bucket="free", Key="a")["Body"].read()
        s3.list_objects_v2(Bucket="free")
        assert rig.cluster.ask("GET", "/files/free/a").status == 200
        assert not counts.taken
    finally:
        rig.close()


def test_every_operation_has_its_class() -> None:
    """Content is read, written and listed; buckets and their settings are administration."""
    examples = {
        "GetObject": "read",
        "HeadBucket": "read",
        "GetBucketPolicy": "read",
        "ListObjectsV2": "list",
        "ListBuckets": "list",
        "ListParts": "list",
        "PutObject": "write",
        "UploadPart": "write",
        "CompleteMultipartUpload": "write",
        "DeleteObjects": "write",
        "CreateBucket": "admin",
        "PutBucketPolicy": "admin",
    }
    assert {name: rate_class_of(operations()[name]) for name in examples} == examples
