"""Policies of upload forms: what is not allowed, not proven or not a policy saves nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from client_proxy.doors.s3.objects.post_policy import read_policy
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from tests.s3.people import token_of
from tests.s3.post_forms import ANY_KEY, FILE, Post, Signer, form
from tests.s3.rig import S3Rig


@pytest.mark.parametrize(
    ("conditions", "fields", "code", "status"),
    [
        ([ANY_KEY], {"acl": "private"}, "Extra input fields: acl", 403),
        ([["eq", "$key", "other"]], {}, "Policy Condition failed", 403),
        ([["starts-with", "$key", "folder/"]], {}, "Policy Condition failed", 403),
        ([ANY_KEY, {"acl": "private"}], {"acl": "public-read"}, "Policy Condition failed", 403),
        ([ANY_KEY, {"acl": "private"}], {}, "Policy Condition failed", 403),
        ([ANY_KEY, {"bucket": "another"}], {}, "Policy Condition failed", 403),
        ([ANY_KEY, ["content-length-range", 1, 5]], {}, "<Code>EntityTooLarge</Code>", 400),
        ([ANY_KEY, ["content-length-range", 50, 99]], {}, "<Code>EntityTooSmall</Code>", 400),
        ([ANY_KEY, ["content-length-range", -1, 5]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["content-length-range", 5]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["like", "$key", "x"]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["starts-with", "$x-amz-meta-a", ""]], {"x-amz-meta-a": "1\r\nX: 2"}, "control characters", 400),
        ([ANY_KEY, ["eq", "$x-amz-meta-s3:sse-c", "x"]], {"x-amz-meta-s3:sse-c": "x"}, "is not a header name", 400),
        ([ANY_KEY, ["starts-with", "$tagging", ""]], {"tagging": "<Tag"}, "<Code>MalformedXML</Code>", 400),
    ],
)
def test_a_form_that_its_policy_does_not_allow_saves_nothing(
    s3: Any,
    bucket: str,
    post: Post,
    signer: Signer,
    conditions: list[Any],
    fields: dict[str, str],
    code: str,
    status: int,
) -> None:
    """Every condition is kept, every field must be covered, and the file has the size that was allowed."""
    answered = post(form([("key", "k"), *fields.items(), *signer.fields(conditions), ("file", FILE)]))
    assert answered[0] == status, answered
    assert code.encode() in answered[2]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch", 403),
        ({"x_amz_signature": "\u00e9"}, "SignatureDoesNotMatch", 403),
        ({"x_amz_signature": ""}, "InvalidArgument", 400),
        ({"policy": ""}, "InvalidArgument", 400),
        ({"policy": "e30="}, "InvalidPolicyDocument", 400),
        ({"policy": "not base64"}, "InvalidPolicyDocument", 400),
        ({"x_amz_algorithm": "AWS4-X"}, "InvalidArgument", 400),
        ({"x_amz_credential": "nobody/20260101/eu/s3/aws4_request"}, "InvalidArgument", 400),
        ({"x_amz_credential": "x"}, "InvalidArgument", 400),
        ({"x_amz_date": "yesterday"}, "InvalidArgument", 400),
        ({"x_amz_security_token": "made up"}, "InvalidToken", 400),
        ({"AWSAccessKeyId": "x"}, "InvalidRequest", 400),
        ({"bucket": "elsewhere"}, "InvalidArgument", 400),
    ],
)
def test_a_form_that_proves_nothing_saves_nothing(
    s3: Any, bucket: str, post: Post, signer: Signer, changes: dict[str, str], code: str, status: int
) -> None:
    """A changed, missing or foreign part of the proof is refused by name."""
    answered = post(form([("key", "k"), *signer.fields([ANY_KEY], **changes), ("file", FILE)]))
    assert (answered[0], f"<Code>{code}</Code>".encode() in answered[2]) == (status, True), answered
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_policies_end_and_other_keys_sign_nothing(rig: S3Rig, post: Post, signer: Signer, bucket: str) -> None:
    """An expired policy, an unknown key, a wrong secret and somebody without rights are refused with 403."""
    token = token_of(rig, "eve")
    cases = [
        (signer.fields([ANY_KEY], expires_in=-1), b"Policy expired"),
        (Signer(("nobody", "secret"), bucket).fields([ANY_KEY]), b"InvalidAccessKeyId"),
        (Signer((signer.access, "guessed"), bucket).fields([ANY_KEY]), b"SignatureDoesNotMatch"),
        (Signer(rig.key(token), bucket).fields([ANY_KEY]), b"AccessDenied"),
        ([], b"AccessDenied"),
    ]
    for fields, code in cases:
        status, _, body = post(form([("key", "k"), *fields, ("file", FILE)]))
        assert (status, code in body) == (403, True), body


def test_a_policy_is_good_for_the_buckets_that_it_names(
    rig: S3Rig, post: Post, key: tuple[str, str], s3: Any, bucket: str
) -> None:
    """One that names none is good for none of its signer's."""
    named = Signer(key, bucket).fields([ANY_KEY])
    assert post(form([("key", "k"), *named, ("file", FILE)]))[0] == 204
    unnamed = Signer(key, "").fields([ANY_KEY])
    status, _, body = post(form([("key", "l"), *unnamed, ("file", FILE)]))
    assert (status, b"Extra input fields: bucket" in body) == (403, True), body
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_everybody_may_send_a_form_where_everybody_may_write(post: Post, s3: Any, bucket: str) -> None:
    """Without a policy a form is nobody's: refused, until the bucket's ACL lets everybody write."""
    body = form([("key", "anyone"), ("Content-Type", "text/plain"), ("file", FILE)])
    assert post(body)[0] == 403
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    status, _, answered = post(body)
    assert status == 204, answered
    assert s3.get_object(Bucket=bucket, Key="anyone")["Body"].read() == FILE


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {},
        {"expiration": "2030-01-01T00:00:00Z"},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": []},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [[]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [{}]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [{"key": 1}]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["eq", "key", "k"]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", 2, 1]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", "a", {}]]},
        {"expiration": "soon", "conditions": [["eq", "$key", "k"]]},
        {"expiration": 5, "conditions": [["eq", "$key", "k"]]},
    ],
)
def test_what_is_no_policy_is_refused(policy: Any) -> None:
    """Whatever JSON comes, the refusal is InvalidPolicyDocument and never a failure of the program."""
    with pytest.raises(S3Error) as refused:
        read_policy(base64.b64encode(json.dumps(policy).encode()).decode())
    assert refused.value.code == "InvalidPolicyDocument"


def test_a_deep_policy_is_refused() -> None:
    """Nesting without end is no policy."""
    with pytest.raises(S3Error):
        read_policy(base64.b64encode(b"[" * 100_000).decode())
