"""Keys that are no paths: everything is done with them through S3, and nothing through the other doors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lockstep_store.client.local_storage import LocalStorage, NameRefused
from tests.s3.calls import read
from tests.s3.rig import ENDPOINT, S3Rig

KEYS = ["/", "//", "/absolute", "..", ".", "../up", "a/../b", "a/./b", "a/..", "/../../etc/passwd"]


@pytest.mark.parametrize("key", KEYS)
def test_every_operation_takes_it_for_a_name(s3: Any, bucket: str, key: str) -> None:
    """Written, read, tagged, copied both ways, put together from parts, and deleted; its neighbours are not touched."""
    around = ["a", "b", "up", "absolute", "etc/passwd"]
    for name in around:
        s3.put_object(Bucket=bucket, Key=name, Body=b"around")
    s3.put_object(Bucket=bucket, Key=key, Body=b"odd", Tagging="t=1")
    assert read(s3, bucket, key) == b"odd"
    assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    s3.copy_object(Bucket=bucket, Key=f"{key}.copy", CopySource={"Bucket": bucket, "Key": key})
    assert read(s3, bucket, "copy") == read(s3, bucket, f"{key}.copy") == b"odd"
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [key]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"parts")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)
    assert read(s3, bucket, key) == b"parts"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]] == [key, f"{key}.copy"]
    s3.delete_object(Bucket=bucket, Key=key)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"{key}.copy"}, {"Key": "copy"}]})
    assert "Errors" not in gone
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(around)


@pytest.mark.parametrize("key", KEYS)
def test_the_other_doors_leave_it_alone(rig: S3Rig, s3: Any, bucket: str, tmp_path: Path, key: str) -> None:
    """The REST API lists it and refuses the rest; no folder of anybody's takes it."""
    s3.put_object(Bucket=bucket, Key=key, Body=b"odd")
    headers = {"Authorization": f"Bearer {rig.cluster.admin_key}"}
    status, _, body = rig.ask("GET", f"{ENDPOINT}/api/v1/files/{bucket}", headers)
    assert (status, [file["path"] for file in json.loads(body)["files"]]) == (200, [key])
    for method in ("GET", "DELETE"):
        status, _, body = rig.ask(method, f"{ENDPOINT}/api/v1/files/{bucket}/{quote(key)}", headers)
        assert (status, json.loads(body)["code"]) == (400, "bad_name")
    with pytest.raises(NameRefused):
        LocalStorage(tmp_path / "mine").for_writing(key)
    assert not list(tmp_path.iterdir())
    assert read(s3, bucket, key) == b"odd"
