"""Copies need the right to read their source, wherever it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.calls import DENIED, read, refused
from tests.s3.people import Allow, Deny, document, statement


def test_a_copy_reads_and_writes(owner: Any, eve: Any, bucket: str) -> None:
    """Both buckets are asked: the one that is read from and the one that is written to."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    source = {"Bucket": bucket, "Key": "k"}
    assert refused(eve.copy_object, Bucket=mine, Key="copy", CopySource=source) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")))
    eve.copy_object(Bucket=mine, Key="copy", CopySource=source)
    assert read(eve, mine, "copy") == b"content"
    assert refused(eve.copy_object, Bucket=bucket, Key="back", CopySource={"Bucket": mine, "Key": "copy"}) == DENIED


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_onto_itself_reads_too(owner: Any, eve: Any, bucket: str, old: bool) -> None:
    """Who may only write does not come by what is there by writing it anew under a key of their own."""
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = owner.put_object(Bucket=bucket, Key="k", Body=b"secret")["VersionId"]
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    source = {"Bucket": bucket, "Key": "k", **({"VersionId": version} if old else {})}
    own_key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"e" * 32}
    for key in ({}, own_key):
        call = {"Bucket": bucket, "Key": "k", "CopySource": source, "MetadataDirective": "REPLACE", **key}
        assert refused(eve.copy_object, **call) == DENIED
    upload = {"Bucket": bucket, "Key": "k", "PartNumber": 1}
    upload["UploadId"] = eve.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for part in ({}, {"CopySourceRange": "bytes=0-1"}):
        assert refused(eve.upload_part_copy, **upload, CopySource=source, **part) == DENIED
    assert read(owner, bucket) == b"secret"
    reads = statement(Allow, "eve", ["s3:PutObject", "s3:GetObjectVersion" if old else "s3:GetObject"], f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads))
    eve.upload_part_copy(**upload, CopySource=source)
    eve.copy_object(Bucket=bucket, Key="k", CopySource=source, **own_key)
    assert read(eve, bucket, **own_key) == b"secret"


def test_a_copied_part_needs_no_right_to_read_its_target(owner: Any, eve: Any, bucket: str) -> None:
    """Who may write here and read there may copy from there to here."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    eve.put_object(Bucket=mine, Key="source", Body=b"eve's")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = {"Bucket": bucket, "Key": "k"}
    upload["UploadId"] = eve.create_multipart_upload(**upload)["UploadId"]
    part = eve.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": mine, "Key": "source"})["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(owner, bucket) == b"eve's"


def test_a_copy_brings_no_tags_that_may_not_be_read(owner: Any, eve: Any, bucket: str) -> None:
    """Who is denied an object's tags does not read them off a copy; a copy that replaces them takes none."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    owner.put_object(Bucket=bucket, Key="k", Body=b"content", Tagging="secret=1")
    copy = {"Bucket": mine, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}
    reads = statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads))
    eve.copy_object(**copy)
    assert eve.get_object_tagging(Bucket=mine, Key="copy")["TagSet"] == [{"Key": "secret", "Value": "1"}]
    never = statement(Deny, "eve", "s3:GetObjectTagging", f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads, never))
    assert refused(eve.copy_object, **copy) == DENIED
    eve.copy_object(**copy, TaggingDirective="REPLACE", Tagging="own=2")
    assert eve.get_object_tagging(Bucket=mine, Key="copy")["TagSet"] == [{"Key": "own", "Value": "2"}]
    owner.put_object(Bucket=bucket, Key="k", Body=b"content")
    eve.copy_object(**copy)


def test_a_copied_part_reads_and_writes(owner: Any, eve: Any, bucket: str) -> None:
    """A part that is a copy asks the source's bucket for reading, the upload's for writing."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    upload = {"Bucket": mine, "Key": "m", "UploadId": eve.create_multipart_upload(Bucket=mine, Key="m")["UploadId"]}
    asked = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "k"}}
    assert refused(eve.upload_part_copy, **asked) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")))
    part = eve.upload_part_copy(**asked)["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(eve, mine, "m") == b"content"


def test_a_part_is_copied_to_where_one_may_only_write(owner: Any, eve: Any, bucket: str) -> None:
    """Looking at the upload is part of writing to it, also when the bytes come from elsewhere."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    eve.put_object(Bucket=mine, Key="source", Body=b"hers")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = {"Bucket": bucket, "Key": "m", "UploadId": eve.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]}
    part = eve.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": mine, "Key": "source"})["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(owner, bucket, "m") == b"hers"


def test_who_may_only_write_copies_nothing_onto_itself(owner: Any, eve: Any, bucket: str) -> None:
    """A copy reads its source, also when that is the key it writes: else its copy would be the writer's to read."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    assert refused(eve.get_object, Bucket=bucket, Key="k") == DENIED
    itself: dict[str, Any] = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "k"}}
    sealed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    assert refused(eve.copy_object, **itself, MetadataDirective="REPLACE") == DENIED
    assert refused(eve.copy_object, **itself, **sealed) == DENIED
    upload = eve.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    assert refused(eve.upload_part_copy, **itself, UploadId=upload, PartNumber=1) == DENIED
    itself["CopySource"]["VersionId"] = "null"
    assert refused(eve.upload_part_copy, **itself, UploadId=upload, PartNumber=1) == DENIED
    assert read(owner, bucket) == b"content"
