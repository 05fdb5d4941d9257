"""Listings of uploads name who will own the object beside who began it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.people import document, statement

FULL_CONTROL = {"ACL": "bucket-owner-full-control"}


@pytest.mark.parametrize(
    ("ownership", "more", "expected"),
    [
        ("BucketOwnerEnforced", {}, "olga"),
        ("BucketOwnerEnforced", FULL_CONTROL, "olga"),
        ("BucketOwnerPreferred", FULL_CONTROL, "olga"),
        ("BucketOwnerPreferred", {}, "eve"),
        ("ObjectWriter", FULL_CONTROL, "eve"),
    ],
)
def test_the_owner_of_an_upload_is_the_objects(
    owner: Any, eve: Any, owned_bucket: str, ownership: str, more: dict[str, str], expected: str
) -> None:
    """By the bucket's ownership controls and the list that the upload was begun with; the object has the same."""
    controls = {"Rules": [{"ObjectOwnership": ownership}]}
    owner.put_bucket_ownership_controls(Bucket=owned_bucket, OwnershipControls=controls)
    writing = statement("Allow", "eve", ["s3:PutObject", "s3:PutObjectAcl"], f"{owned_bucket}/*")
    owner.put_bucket_policy(Bucket=owned_bucket, Policy=document(writing))
    place = {"Bucket": owned_bucket, "Key": "eves"}
    place["UploadId"] = eve.create_multipart_upload(**place, **more)["UploadId"]
    part = eve.upload_part(**place, PartNumber=1, Body=b"x")
    listed = owner.list_multipart_uploads(Bucket=owned_bucket)["Uploads"][0]
    for shown in (owner.list_parts(**place), listed):
        assert (shown["Owner"]["ID"], shown["Initiator"]["ID"]) == (expected, "eve")
    done = {name: part[name] for name in ("ETag", "ChecksumCRC32") if name in part}
    eve.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"PartNumber": 1, **done}]})
    lines = owner.list_objects_v2(Bucket=owned_bucket, FetchOwner=True)["Contents"]
    assert {line["Key"]: line["Owner"]["ID"] for line in lines}["eves"] == expected
