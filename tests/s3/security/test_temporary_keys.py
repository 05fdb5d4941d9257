"""Temporary keys: good with their session token only, and for their time."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from lockstep_store.wire.messages.s3 import CREATE_S3_KEY, CreateS3KeyRequest, S3KeyInfo
from tests.s3.calls import read, refused
from tests.s3.rig import S3Rig


@pytest.fixture
def temporary(rig: S3Rig) -> S3KeyInfo:
    """A key of the administrator that is good for an hour."""
    request = CreateS3KeyRequest(rig.cluster.admin_key, "for an hour", valid_seconds=3600)
    made: S3KeyInfo = rig.directory.call(CREATE_S3_KEY, request)
    return made


def test_a_temporary_key_needs_its_token(rig: S3Rig, s3: Any, bucket: str, temporary: S3KeyInfo) -> None:
    """No token makes the key unknown; another one, or one beside a lasting key, is no token of it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    key, get = (temporary.access_key_id, temporary.secret), {"Bucket": bucket, "Key": "k"}
    assert read(rig.client((*key, temporary.session_token)), bucket) == b"content"
    assert refused(rig.client(key).get_object, **get) == (403, "InvalidAccessKeyId")
    assert refused(rig.client((*key, "another")).get_object, **get) == (400, "InvalidToken")
    assert refused(rig.client((*rig.key(), temporary.session_token)).get_object, **get) == (400, "InvalidToken")


def test_a_presigned_address_carries_the_token(rig: S3Rig, s3: Any, bucket: str, temporary: S3KeyInfo) -> None:
    """And is good for nothing when somebody changes it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    client = rig.client((temporary.access_key_id, temporary.secret, temporary.session_token), signature_version="s3v4")
    address = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert rig.ask("GET", address, {})[0] == 200
    parts = urlsplit(address)
    changed = {**dict(parse_qsl(parts.query)), "X-Amz-Security-Token": "another"}
    status, _, body = rig.ask("GET", parts._replace(query=urlencode(changed)).geturl(), {})
    assert (status, b"<Code>InvalidToken</Code>" in body) == (400, True)


def test_a_temporary_key_ends(rig: S3Rig, bucket: str, temporary: S3KeyInfo) -> None:
    """In directory time, whatever a proxy still remembers of it."""
    client = rig.client((temporary.access_key_id, temporary.secret, temporary.session_token))
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    rig.cluster.pass_time(3601)
    assert refused(client.get_object, Bucket=bucket, Key="k") == (400, "ExpiredToken")
