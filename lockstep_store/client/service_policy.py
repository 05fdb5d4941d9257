"""Policies of service accounts, made from a few plain limits: buckets, prefixes, what is allowed, and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

Allowed = Literal["read", "write", "all"]
_OBJECTS: dict[Allowed, list[str]] = {
    "read": ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"],
    "write": ["s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
    "all": ["s3:*"],
}
_LISTS: dict[Allowed, list[str]] = {
    "read": ["s3:ListBucket", "s3:ListBucketVersions"],
    "write": ["s3:ListBucketMultipartUploads"],
    "all": ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"],
}


def policy_of(
    places: Sequence[tuple[str, str]], allowed: Sequence[Allowed], addresses: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a policy document for `places`, pairs of a bucket and a prefix.

    `read` includes listing, and `all` everything about keys below the prefix; with an empty prefix, also everything
    about the bucket. With `addresses`, networks such as 10.0.0.0/8, requests must come from one of them.
    """
    statements: list[dict[str, Any]] = []
    for bucket, prefix in places:
        below = f"arn:aws:s3:::{bucket}/{_literal(prefix)}*"
        statements.append(_allow(_actions(_OBJECTS, allowed), below))
        lists = _actions(_LISTS, allowed)
        if prefix:
            only_below = {"StringLike": {"s3:prefix": f"{_literal(prefix)}*"}}
            statements.append(_allow(lists, f"arn:aws:s3:::{bucket}") | {"Condition": only_below})
        else:
            about = ["s3:*"] if "all" in allowed else [*lists, "s3:GetBucketLocation"]
            statements.append(_allow(about, f"arn:aws:s3:::{bucket}"))
    if addresses:
        for one in statements:
            one["Condition"] = one.get("Condition", {}) | {"IpAddress": {"aws:SourceIp": list(addresses)}}
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _actions(table: dict[Allowed, list[str]], allowed: Sequence[Allowed]) -> list[str]:
    return list(dict.fromkeys(action for one in allowed for action in table[one]))


def _literal(prefix: str) -> str:
    """A prefix in a pattern: its own stars and question marks stand for themselves."""
    return "".join(f"${{{letter}}}" if letter in "*?$" else letter for letter in prefix)
