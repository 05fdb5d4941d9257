"""Denials, and conditions on requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client_proxy.core.requests import Write
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages.s3_access import S3Access
from tests.s3.calls import DENIED, read, refused
from tests.s3.people import Allow, Deny, document, statement, token_of
from tests.s3.rig import S3Rig


def test_a_deny_outweighs_everything(owner: Any, s3: Any, bucket: str) -> None:
    """Also the owner and administrators; but the owner always reaches the policy."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Deny, "*", "s3:*", bucket, f"{bucket}/*")))
    for client in (owner, s3):
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
        assert refused(client.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
        assert refused(client.list_objects_v2, Bucket=bucket) == DENIED
        assert refused(client.delete_bucket, Bucket=bucket) == DENIED
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"]
    owner.delete_bucket_policy(Bucket=bucket)
    assert read(owner, bucket) == b"content"


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"StringLike": {"aws:UserAgent": "*oto*"}}, True),
        ({"StringLike": {"aws:Referer": "http://example.com/*"}}, False),
        ({"StringEquals": {"aws:username": "eve"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/e*"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/Team": "red"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/Team": "blue"}}, False),
        ({"Null": {"s3:ExistingObjectTag/Other": "true"}}, True),
    ],
)
def test_conditions_on_reading(
    rig: S3Rig, eve: Any, make_bucket: Callable[..., str], s3: Any, condition: dict[str, Any], allowed: bool
) -> None:
    """Each key says of this very request what S3's says."""
    name = make_bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"content", Tagging="Team=red")
    s3.put_bucket_policy(
        Bucket=name, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{name}/*", Condition=condition))
    )
    if allowed:
        assert read(eve, name) == b"content"
    else:
        assert refused(eve.get_object, Bucket=name, Key="k") == DENIED


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, {"ACL": "public-read"}, {"ACL": "private"}),
        ({"StringEquals": {"s3:RequestObjectTag/a": "1"}}, {"Tagging": "a=1"}, {"Tagging": "a=2"}),
        ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}}, {"Tagging": "a=1"}, {"Tagging": "c="}),
        ({"StringEquals": {"s3:if-none-match": "*"}}, {"IfNoneMatch": "*"}, {}),
        ({"Null": {"s3:x-amz-grant-full-control": "false"}}, {"GrantFullControl": 'id="olga"'}, {}),
    ],
)
def test_conditions_on_writing(
    eve: Any, owner: Any, make_bucket: Callable[..., str], s3: Any, condition: Any, good: Any, bad: Any
) -> None:
    """Headers are judged as they were sent."""
    name = make_bucket()
    s3.put_bucket_policy(
        Bucket=name, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{name}/*", Condition=condition))
    )
    eve.put_object(Bucket=name, Key="good", Body=b"x", **good)
    assert refused(eve.put_object, Bucket=name, Key="bad", Body=b"x", **bad) == DENIED


def test_a_deny_put_between_begin_and_commit_holds(rig: S3Rig, owner: Any, eve: Any, bucket: str) -> None:
    """The decision is made in the transaction that makes the version, not when the bytes were announced."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))

    def body() -> Iterator[bytes]:
        yield b"x" * 50
        owner.delete_bucket_policy(Bucket=bucket)
        yield b"x" * 50

    access = S3Access(credential=token_of(rig, "eve"), action="s3:PutObject", bucket=bucket, path="late")
    with pytest.raises(Forbidden):
        rig.cluster.proxies["1"].files.write(Write(access.encode(), bucket, "late", size=100), body())
    assert refused(owner.head_object, Bucket=bucket, Key="late")[0] == 404
