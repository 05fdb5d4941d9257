"""A new bucket obeys nothing that was set on an earlier one of its name, also right after it was made."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep_store.wire.messages.buckets import CREATE_BUCKET, DELETE_BUCKET, BucketRequest, CreateBucketRequest
from tests.s3.rig import ENDPOINT, S3Rig
from tests.s3.security.kms_calls import api, put_default

RULES = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://app.example"]}]


def make_again(s3: Any, bucket: str, *keys: str) -> None:
    """Delete the bucket with those files, and make another one of its name."""
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)


def log_in(s3: Any, target: str) -> str:
    """All lines of the log files in a bucket."""
    found = s3.list_objects_v2(Bucket=target, Prefix="log/")["Contents"]
    return b"".join(s3.get_object(Bucket=target, Key=one["Key"])["Body"].read() for one in found).decode()


def test_default_encryption_ends_with_its_bucket(rig: S3Rig, s3: Any, bucket: str) -> None:
    """The next file of that name is under the cluster's storage keys alone."""
    rig.cluster.directory.named_keys.create(f"key-of-{bucket}")
    put_default(s3, bucket, f"key-of-{bucket}")
    assert "SSEKMSKeyId" in s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    make_again(s3, bucket, "k")
    assert "SSEKMSKeyId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_default_encryption_ends_when_the_api_deletes_the_bucket(rig: S3Rig, s3: Any, bucket: str) -> None:
    """The door through which the bucket goes and comes makes no difference."""
    rig.cluster.directory.named_keys.create(f"key-of-{bucket}")
    put_default(s3, bucket, f"key-of-{bucket}")
    assert "SSEKMSKeyId" in s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")
    assert api(rig, "DELETE", f"buckets/{bucket}")[0] == 204
    assert api(rig, "POST", "buckets", b'{"name":"%s"}' % bucket.encode())[0] == 201
    assert "SSEKMSKeyId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_cors_rules_end_with_their_bucket(rig: S3Rig, s3: Any, bucket: str) -> None:
    """A page that the earlier bucket let in cannot read the new one."""

    def allowed() -> str | None:
        _, headers, _ = rig.ask("GET", f"{ENDPOINT}/{bucket}/k", {"Origin": "https://app.example"})
        return dict((name.lower(), value) for name, value in headers).get("access-control-allow-origin")

    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert allowed() == "https://app.example"
    make_again(s3, bucket)
    assert allowed() is None


def test_access_logs_end_with_their_bucket(rig: S3Rig, s3: Any, bucket: str) -> None:
    """What was asked of the earlier bucket does not appear in the log of the new one, which has all of its own."""
    target = f"{bucket}-log"
    s3.create_bucket(Bucket=target)
    enabled = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "log/"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=enabled)
    s3.list_objects_v2(Bucket=bucket, Prefix="of-the-first")
    make_again(s3, bucket)
    rig.cluster.pass_time(1.0)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=enabled)
    s3.list_objects_v2(Bucket=bucket, Prefix="of-the-second")
    rig.access_log.flush(60.0)
    text = log_in(s3, target)
    assert "of-the-second" in text
    assert "of-the-first" not in text


@pytest.mark.parametrize("seen", [True, False], ids=["the log saw the first", "the log saw the second only"])
def test_access_logs_end_with_a_bucket_that_another_proxy_deleted(rig: S3Rig, s3: Any, bucket: str, seen: bool) -> None:
    """Lines that wait for their delivery here are not delivered to the owner of the new bucket."""
    target, key = f"{bucket}-log", rig.cluster.admin_key
    rig.cluster.pass_time(1.0)
    s3.create_bucket(Bucket=target)
    enabled = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "log/"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=enabled)
    s3.list_objects_v2(Bucket=bucket, Prefix="of-the-first")
    if seen:
        rig.access_log.step()
    other = rig.cluster.start_proxy("2").directory
    rig.cluster.pass_time(1.0)
    other.call(DELETE_BUCKET, BucketRequest(key, bucket))
    other.call(CREATE_BUCKET, CreateBucketRequest(key, bucket))
    rig.cluster.pass_time(1.0)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=enabled)
    if seen:
        rig.access_log.flush(60.0)
    s3.list_objects_v2(Bucket=bucket, Prefix="of-the-second")
    rig.access_log.flush(60.0)
    text = log_in(s3, target)
    assert "of-the-second" in text
    assert "of-the-first" not in text
    rig.cluster.stop_proxy("2")


def test_a_bucket_without_a_log_does_not_silence_the_next(rig: S3Rig, s3: Any, bucket: str) -> None:
    """That the earlier bucket had no access log is forgotten with it."""
    s3.list_objects_v2(Bucket=bucket)
    rig.access_log.flush(60.0)
    assert not rig.access_log.wants(bucket)
    make_again(s3, bucket)
    assert rig.access_log.wants(bucket)
