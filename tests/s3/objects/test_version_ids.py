"""Versions by their ids: the null version's, ids that nobody has, and markers that listings continue from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.s3.calls import refused

UNKNOWN = "0099999999999999"


def _headers(error: pytest.ExceptionInfo[ClientError]) -> dict[str, str]:
    headers: dict[str, str] = error.value.response["ResponseMetadata"]["HTTPHeaders"]
    return headers


def test_a_suspended_buckets_delete_marker_is_the_null_version(s3: Any, make_bucket: Callable[..., str]) -> None:
    """The answer of the deletion, the refusals of reads and the listing all call it null, and so can the caller."""
    bucket = make_bucket(versioning=True)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"2")
    assert "VersionId" not in s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    s3.delete_object(Bucket=bucket, Key="copy", VersionId="null")
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["VersionId"], gone["DeleteMarker"]) == ("null", True)
    with pytest.raises(ClientError) as plain:
        s3.get_object(Bucket=bucket, Key="k")
    assert _headers(plain)["x-amz-version-id"] == "null"
    with pytest.raises(ClientError) as exact:
        s3.get_object(Bucket=bucket, Key="k", VersionId="null")
    assert exact.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    assert _headers(exact)["x-amz-version-id"] == "null"
    (marker,) = s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]
    assert (marker["VersionId"], marker["IsLatest"]) == ("null", True)
    removed = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": "null"}]})["Deleted"]
    assert removed == [{"Key": "k", "VersionId": "null", "DeleteMarker": True, "DeleteMarkerVersionId": "null"}]
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == first


@pytest.mark.parametrize("id", ["", "nonsense", "1", "not a version at all", "é" * 20])
def test_what_can_be_no_version_id_is_an_invalid_argument(s3: Any, bucket: str, id: str) -> None:
    """Also where a version is deleted, where an unknown one is no error."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for ask in (s3.get_object, s3.delete_object, s3.get_object_tagging):
        assert refused(ask, Bucket=bucket, Key="k", VersionId=id) == (400, "InvalidArgument")
    assert refused(s3.head_object, Bucket=bucket, Key="k", VersionId=id)[0] == 400
    source = {"Bucket": bucket, "Key": "k", "VersionId": id}
    if id:
        assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=source) == (400, "InvalidArgument")
        several = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": id}]})
        assert [line["Code"] for line in several["Errors"]] == ["InvalidArgument"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


@pytest.mark.parametrize("id", [UNKNOWN, "null", "3HL4kqtJvjVBH40Nrjfkd", "3fa85f64-5717-4562-b3fc-2c963f66afa6"])
def test_an_unknown_version_is_not_there(s3: Any, make_bucket: Callable[..., str], id: str) -> None:
    """404 where it is read; deleting it is done already."""
    bucket = make_bucket(versioning=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId=id) == (404, "NoSuchVersion")
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=id)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_listing_continues_from_the_null_version(s3: Any, make_bucket: Callable[..., str]) -> None:
    """Each version comes once and only the newest is the latest, in pages of any size; the marker is what was shown."""
    bucket = make_bucket()
    s3.put_object(Bucket=bucket, Key="a", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    newest = [s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"] for key in ("a", "b")]
    expected = [("a", newest[0], True), ("a", "null", False), ("b", newest[1], True)]
    for size in (1, 2, 3):
        found, markers = [], {}
        while True:
            page = s3.list_object_versions(Bucket=bucket, MaxKeys=size, **markers)
            found += [(v["Key"], v["VersionId"], v["IsLatest"]) for v in page["Versions"]]
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
            assert tuple(markers.values()) == found[-1][:2]
        assert found == expected


def test_a_page_behind_a_null_version_that_is_gone_forgets_nothing(s3: Any, make_bucket: Callable[..., str]) -> None:
    """Whoever deletes what a page showed finds all older versions behind it."""
    bucket = make_bucket(versioning=True)
    older = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    page = s3.list_object_versions(Bucket=bucket, KeyMarker="a", VersionIdMarker="null")
    assert [(v["VersionId"], v["IsLatest"]) for v in page["Versions"]] == [(older, True)]


def test_no_versions_asked_for(s3: Any, make_bucket: Callable[..., str]) -> None:
    """An empty page, and no further ones; a marker that can be no version is refused."""
    bucket = make_bucket(versioning=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=0)
    assert (page.get("Versions"), page["IsTruncated"], page["MaxKeys"]) == (None, False, 0)
    markers = {"KeyMarker": "k", "VersionIdMarker": "nonsense"}
    assert refused(s3.list_object_versions, Bucket=bucket, **markers) == (400, "InvalidArgument")
