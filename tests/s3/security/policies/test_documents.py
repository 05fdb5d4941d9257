"""Policy documents: put, read back, refused and deleted, by their owner."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.s3.calls import DENIED, read, refused
from tests.s3.people import Allow, Deny, document, statement


def test_a_policy_is_put_told_and_deleted(owner: Any, eve: Any, bucket: str) -> None:
    """It comes back as the very text that was put."""
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    text = document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*"))
    assert owner.put_bucket_policy(Bucket=bucket, Policy=text)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert owner.delete_bucket_policy(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    owner.delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        '{"Version":"2000-01-01","Statement":[]}',
        document(statement("Maybe", "*", "s3:GetObject", "{}/*")),
        document(statement(Allow, "*", "ec2:Run", "{}/*")),
        document(statement(Allow, "*", "s3:GetObject", "elsewhere/*")),
        document(statement(Allow, "*", "s3:GetObject", "{}/*", Condition={"StringSounds": {"aws:Referer": "x"}})),
        document(statement(Allow, "*", "s3:GetObject", "{}/*", Sid="x" * 21_000)),
        document(statement(Allow, "\ud800", "s3:GetObject", "{}/*")),
        document(statement(Allow, "*", "s3:\ud800", "{}/*")),
    ],
)
def test_a_malformed_policy_is_refused(owner: Any, make_bucket: Callable[..., str], s3: Any, text: str) -> None:
    """Nothing of it is kept."""
    name = make_bucket()
    assert refused(s3.put_bucket_policy, Bucket=name, Policy=text.replace("{}/", f"{name}/")) == (
        400,
        "MalformedPolicy",
    )
    assert refused(s3.get_bucket_policy, Bucket=name) == (404, "NoSuchBucketPolicy")


def test_only_its_owner_touches_a_policy(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Neither others nor nobody read or change it, unless it says so."""
    text = document(statement(Allow, "*", "s3:GetObject", f"{bucket}/*"))
    for other in (eve, nobody):
        assert refused(other.put_bucket_policy, Bucket=bucket, Policy=text) == DENIED
        assert refused(other.get_bucket_policy, Bucket=bucket) == DENIED
        assert refused(other.delete_bucket_policy, Bucket=bucket) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetBucketPolicy", bucket)))
    assert eve.get_bucket_policy(Bucket=bucket)["Policy"]


def test_status_and_blocks(owner: Any, nobody: Any, eve: Any, bucket: str) -> None:
    """A public policy is told as such, can be forbidden, and can be cut back to the owner's own people."""
    public = document(statement(Allow, "*", "s3:GetObject", f"{bucket}/*"))
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    owner.put_bucket_policy(Bucket=bucket, Policy=public)
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    assert refused(owner.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    block = {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert owner.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    assert refused(owner.put_bucket_policy, Bucket=bucket, Policy=public) == DENIED
    for other in (nobody, eve):
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    assert read(owner, bucket) == b"content"
    narrow = document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*"))
    owner.put_bucket_policy(Bucket=bucket, Policy=narrow)
    assert read(eve, bucket) == b"content"
    owner.delete_public_access_block(Bucket=bucket)
    owner.put_bucket_policy(Bucket=bucket, Policy=public)
    assert read(nobody, bucket) == b"content"


def test_the_status_is_json_on_disk_and_back(owner: Any, eve: Any, bucket: str) -> None:
    """A policy survives as text with every character of it."""
    text = json.dumps(
        {"Id": "zoë", "Statement": statement(Deny, "eve", "s3:GetObject", f"{bucket}/é\u2028*")}, ensure_ascii=False
    )
    owner.put_bucket_policy(Bucket=bucket, Policy=text)
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
