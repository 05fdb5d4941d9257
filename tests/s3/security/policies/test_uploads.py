"""Uploads in parts under a policy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.calls import DENIED, read, refused
from tests.s3.people import Allow, Deny, document, statement


def test_uploads_in_parts_follow_the_policy(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Creating, sending, completing are PutObject; aborting and listing have actions of their own. Who began an upload
    may abort it, too, unless that is denied."""
    assert refused(eve.create_multipart_upload, Bucket=bucket, Key="m") == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = eve.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = eve.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    assert refused(nobody.upload_part, Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x") == DENIED
    assert refused(eve.list_parts, Bucket=bucket, Key="m", UploadId=upload) == DENIED
    owners = owner.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    assert refused(eve.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=owners) == DENIED
    assert refused(nobody.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=owners) == DENIED
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    eve.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    assert read(owner, bucket, "m") == b"part"
    for denied in (False, True):
        put = statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")
        never = statement(Deny, "eve", "s3:AbortMultipartUpload", f"{bucket}/*")
        owner.put_bucket_policy(Bucket=bucket, Policy=document(put, *([never] if denied else [])))
        own = {"Bucket": bucket, "Key": "m"}
        own["UploadId"] = eve.create_multipart_upload(**own)["UploadId"]
        if denied:
            assert refused(eve.abort_multipart_upload, **own) == DENIED
        else:
            eve.abort_multipart_upload(**own)
            assert refused(eve.upload_part, **own, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("s3:x-amz-server-side-encryption", "aws:kms", {"ServerSideEncryption": "aws:kms"}),
        ("s3:x-amz-server-side-encryption", "AES256", {"ServerSideEncryption": "AES256"}),
        ("s3:x-amz-acl", "bucket-owner-full-control", {"ACL": "bucket-owner-full-control"}),
        ("s3:x-amz-storage-class", "STANDARD_IA", {"StorageClass": "STANDARD_IA"}),
        ("s3:RequestObjectTag/env", "test", {"Tagging": "env=test"}),
    ],
)
def test_parts_are_judged_by_what_their_upload_was_begun_with(
    owner: Any, eve: Any, bucket: str, key: str, value: str, said: dict[str, str]
) -> None:
    """The demand that everything be written so and so is one that clients' uploads in parts can meet, and must."""
    owner.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            statement(Allow, "eve", ["s3:PutObject", "s3:GetObject"], f"{bucket}/*"),
            statement(Deny, "*", "s3:PutObject", f"{bucket}/*", Condition={"StringNotEquals": {key: value}}),
        ),
    )
    assert refused(eve.create_multipart_upload, Bucket=bucket, Key="m") == DENIED
    upload = {"Bucket": bucket, "Key": "m"}
    upload["UploadId"] = eve.create_multipart_upload(**upload, **said)["UploadId"]
    first = eve.upload_part(**upload, PartNumber=1, Body=bytes(5 << 20))
    second = eve.upload_part_copy(**upload, PartNumber=2, CopySource=f"{bucket}/k")["CopyPartResult"]
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert read(owner, bucket, "m")[5 << 20 :] == b"content"
