"""Words of policies: those that can never fit are refused when a policy is put, and every action of S3's is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client_proxy.doors.s3.auth.access import action_of
from client_proxy.doors.s3.protocol.operations import operations
from directory_server.access.own_keys import days_until
from directory_server.access.vocabulary import ACTIONS, is_key
from tests.fakes.clock import ManualClock
from tests.s3.calls import refused
from tests.s3.people import document, statement

MALFORMED = (400, "MalformedPolicy")
DENIED = (403, "AccessDenied")
# Operations that are not the owner's of a bucket to grant, and those of S3's that have no action of their own.
NOT_A_BUCKETS = {
    "CreateBucketMetadataConfiguration",
    "CreateSession",
    "DeleteBucketMetadataConfiguration",
    "GetBucketMetadataConfiguration",
    "ListBuckets",
    "SelectObjectContent",
}


def test_every_operation_is_an_action_that_policies_can_name() -> None:
    """What the door calls an operation is a word of the vocabulary."""
    known = ACTIONS["bucket"] | ACTIONS["object"]
    reports = {name for name in operations() if name.endswith(("Configuration", "Configurations")) and "Bucket" in name}
    plain = set(operations()) - NOT_A_BUCKETS - {n for n in reports if action_of(n, {}).lower() not in known}
    assert {name for name in plain if action_of(name, {}).lower() not in known} == set()
    assert {n for n in plain if action_of(n, {"VersionId": "1"}).lower() not in known} == set()
    assert not ACTIONS["bucket"] & ACTIONS["object"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"Action": "s3:NoSuchThing"},
        {"Action": ["s3:GetObject", "s3:ListObjects"]},
        {"Action": "s3:Gett*"},
        {"NotAction": "s3:NoSuchThing", "Action": None},
        {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::{}/*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::{}"},
        {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::{}/*"},
        {"Principal": {"AWS": "arn:aws:iam::nobody-here:user/nobody-here"}},
        {"Principal": {"AWS": ["eve", "arn:aws:iam::nobody-here:root"]}},
        {"Principal": {"CanonicalUser": "nobody-here"}},
        {"Condition": {"StringEquals": {"s3:colour": "red"}}},
        {"Condition": {"StringEquals": {"s3:ExistingObjectTag": "red"}}},
        {"Condition": {"StringEquals": {"s3:prefix/a": "red"}}},
    ],
)
def test_a_word_that_never_fits_is_refused(owner: Any, eve: Any, owned_bucket: str, wrong: dict[str, Any]) -> None:
    """Nothing of such a policy is kept."""
    said = {**statement("Allow", "*", "s3:GetObject", f"{owned_bucket}/*"), **wrong}
    said = {name: value for name, value in said.items() if value is not None}
    text = document(said).replace("{}", owned_bucket)
    assert refused(owner.put_bucket_policy, Bucket=owned_bucket, Policy=text) == MALFORMED
    assert refused(owner.get_bucket_policy, Bucket=owned_bucket) == (404, "NoSuchBucketPolicy")


@pytest.mark.parametrize(
    "right",
    [
        {"Action": "s3:*"},
        {"Action": "*", "Resource": "arn:aws:s3:::{}"},
        {"Action": ["s3:Get*", "s3:List*"], "Resource": ["arn:aws:s3:::{}", "arn:aws:s3:::{}/*"]},
        {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::{}*"},
        {"NotAction": "s3:DeleteBucket", "Action": None},
        {"Action": "s3:ListBucket", "NotResource": "arn:aws:s3:::{}/*", "Resource": None},
        {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "a", "s3:ExistingObjectTag/a": "b"}}},
        {"Condition": {"StringEquals": {"S3:X-Amz-Acl": "private"}}},
    ],
)
def test_words_that_fit_are_kept(owner: Any, owned_bucket: str, right: dict[str, Any]) -> None:
    """As the very text that was put."""
    said = {**statement("Allow", "*", "s3:GetObject", f"{owned_bucket}/*"), **right}
    said = {name: value for name, value in said.items() if value is not None}
    text = document(said).replace("{}", owned_bucket)
    owner.put_bucket_policy(Bucket=owned_bucket, Policy=text)
    assert owner.get_bucket_policy(Bucket=owned_bucket)["Policy"] == text


def test_keys_have_no_case() -> None:
    """And are of a service that is known."""
    assert is_key("S3:PREFIX")
    assert is_key("aws:SourceIp")
    assert not is_key("ec2:Region")
    assert not is_key("aws:")


# ---------------------------------------------------------------- what requests say to conditions


def test_a_copys_source_is_told_as_it_is_meant(owner: Any, eve: Any, owned_bucket: str) -> None:
    """Clients write it with a first slash and without, and escape what they like."""
    condition = {"StringLike": {"s3:x-amz-copy-source": f"{owned_bucket}/k*"}}
    owner.put_bucket_policy(
        Bucket=owned_bucket,
        Policy=document(
            statement("Allow", "eve", "s3:GetObject", f"{owned_bucket}/*"),
            statement("Allow", "eve", "s3:PutObject", f"{owned_bucket}/*", Condition=condition),
        ),
    )
    owner.put_object(Bucket=owned_bucket, Key="other", Body=b"x")
    for slash in ("", "/"):
        eve.copy_object(Bucket=owned_bucket, Key="copy", CopySource=f"{slash}{owned_bucket}/k")
        other = f"{slash}{owned_bucket}/other"
        assert refused(eve.copy_object, Bucket=owned_bucket, Key="copy", CopySource=other) == DENIED
    never = {"StringLike": {"s3:x-amz-copy-source": f"{owned_bucket}/my secrets/*"}}
    owner.put_bucket_policy(
        Bucket=owned_bucket,
        Policy=document(
            statement("Allow", "eve", ["s3:GetObject", "s3:PutObject"], f"{owned_bucket}/*"),
            statement("Deny", "eve", "s3:PutObject", f"{owned_bucket}/*", Condition=never),
        ),
    )
    owner.put_object(Bucket=owned_bucket, Key="my secrets/k", Body=b"x")

    def escape_more(request: Any, **_: Any) -> None:
        request.headers.replace_header("x-amz-copy-source", f"%2f{owned_bucket}/%6dy%20secrets%2Fk")

    secret = {"Bucket": owned_bucket, "Key": "copy", "CopySource": f"{owned_bucket}/my secrets/k"}
    assert refused(eve.copy_object, **secret) == DENIED
    eve.meta.events.register("before-sign.s3.CopyObject", escape_more)
    try:
        assert refused(eve.copy_object, **secret) == DENIED
    finally:
        eve.meta.events.unregister("before-sign.s3.CopyObject", escape_more)


def test_a_copys_tags_are_those_that_it_gets(owner: Any, eve: Any, owned_bucket: str) -> None:
    """Tags in a header that the copy does not take say nothing of it."""
    condition = {"StringEquals": {"s3:RequestObjectTag/env": "test"}}
    owner.put_bucket_policy(
        Bucket=owned_bucket,
        Policy=document(
            statement("Allow", "eve", "s3:GetObject", f"{owned_bucket}/*"),
            statement("Allow", "eve", "s3:PutObject", f"{owned_bucket}/*", Condition=condition),
        ),
    )
    copy = {"Bucket": owned_bucket, "Key": "copy", "CopySource": f"{owned_bucket}/k", "Tagging": "env=test"}
    assert refused(eve.copy_object, **copy) == DENIED
    assert refused(eve.copy_object, **copy, TaggingDirective="COPY") == DENIED
    eve.copy_object(**copy, TaggingDirective="REPLACE")


def test_a_write_says_no_list_that_is_denied(owner: Any, eve: Any, owned_bucket: str) -> None:
    """Who may not put an object's list may not let it come with the object either, by no way of writing."""
    owner.put_bucket_policy(
        Bucket=owned_bucket,
        Policy=document(
            statement("Allow", "eve", ["s3:GetObject", "s3:PutObject"], f"{owned_bucket}/*"),
            statement("Deny", "eve", "s3:PutObjectAcl", f"{owned_bucket}/*"),
        ),
    )
    new = {"Bucket": owned_bucket, "Key": "new"}
    for said in ({"ACL": "public-read"}, {"GrantRead": 'id="olga"'}):
        assert refused(eve.put_object, **new, **said) == DENIED
        assert refused(eve.copy_object, **new, CopySource=f"{owned_bucket}/k", **said) == DENIED
        assert refused(eve.create_multipart_upload, **new, **said) == DENIED
    eve.put_object(**new, ACL="private")
    eve.put_object(**new)


@pytest.mark.parametrize("text", ["inf", "-1e999", "nan", "soon"])
def test_days_that_are_no_number_are_none(text: str) -> None:
    """Any request may bring the header, and only a write's is read before the policy is asked."""
    assert days_until([text], 1e9) is None
    assert days_until([str(1e9 + 86_401)], 1e9) == ["2"]


def test_conditions_on_a_lock_see_the_requests_body(owner: Any, eve: Any) -> None:
    """What PutObjectRetention and PutObjectLegalHold say in XML is what a write says in headers."""
    bucket = "words-of-locks"
    owner.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    owner.put_object(Bucket=bucket, Key="k", Body=b"x")

    def allow(action: str, **condition: Any) -> None:
        said = statement("Allow", "eve", ["s3:PutObject", action], f"{bucket}/*", Condition=condition)
        owner.put_bucket_policy(Bucket=bucket, Policy=document(said))

    def retain(mode: str, days: float) -> Any:
        until = datetime.fromtimestamp(ManualClock().wall(), UTC) + timedelta(days=days)
        return {"Bucket": bucket, "Key": "k", "Retention": {"Mode": mode, "RetainUntilDate": until}}

    def put(mode: str, days: float) -> Any:
        until = retain(mode, days)["Retention"]["RetainUntilDate"]
        return {"Bucket": bucket, "Key": "n", "ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}

    allow("s3:PutObjectRetention", StringEquals={"s3:object-lock-mode": "GOVERNANCE"})
    assert refused(eve.put_object_retention, **retain("COMPLIANCE", 1)) == DENIED
    eve.put_object_retention(**retain("GOVERNANCE", 1))
    allow("s3:PutObjectRetention", NumericLessThanEquals={"s3:object-lock-remaining-retention-days": "5"})
    for action, asked in ((eve.put_object_retention, retain), (eve.put_object, put)):
        assert refused(action, **asked("GOVERNANCE", 5.5)) == DENIED
        action(**asked("GOVERNANCE", 4.5))
    assert refused(eve.put_object, Bucket=bucket, Key="n", Body=b"x") == DENIED  # it asks for no days at all
    allow("s3:PutObjectRetention", DateLessThan={"s3:object-lock-retain-until-date": "2100-01-01T00:00:00Z"})
    assert refused(eve.put_object_retention, **retain("GOVERNANCE", 365 * 200)) == DENIED
    eve.put_object_retention(**retain("GOVERNANCE", 6))
    allow("s3:PutObjectLegalHold", StringEquals={"s3:object-lock-legal-hold": "ON"})
    assert refused(eve.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "OFF"}) == DENIED
    eve.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
