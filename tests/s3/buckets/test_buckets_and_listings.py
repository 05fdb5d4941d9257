"""Buckets, and listings in pages of every size, through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.s3.calls import refused
from tests.s3.people import token_of
from tests.s3.rig import DOMAIN, S3Rig


def test_a_bucket_is_made_shown_and_deleted(s3: Any, make_bucket: Callable[..., str]) -> None:
    """Making one's own again is no error; one that is not empty stays."""
    name = make_bucket()
    s3.create_bucket(Bucket=name)
    assert name in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    assert refused(s3.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    assert refused(s3.head_bucket, Bucket=name)[0] == 404
    assert refused(s3.delete_bucket, Bucket=name) == (404, "NoSuchBucket")


@pytest.mark.parametrize("name", ["ab", "Upper", "under_score", "192.168.1.1", "api", "a..b", "-abc"])
def test_a_bad_bucket_name_is_refused(rig: S3Rig, name: str) -> None:
    """S3's rules and the proxy's own addresses."""
    request = AWSRequest(method="PUT", url=f"https://127.0.0.1:5000/{name}", data=b"")
    S3SigV4Auth(Credentials(*rig.key()), "s3", "us-east-1").add_auth(request)
    status, _, body = rig.ask("PUT", request.url, dict(request.headers.items()))
    if name == "api":  # the API's own address, where S3 is never asked
        assert status == 404
    else:
        assert (status, b"<Code>InvalidBucketName</Code>" in body) == (400, True)


def test_somebody_elses_bucket(rig: S3Rig, bucket: str) -> None:
    """A name that is taken is said to be taken; what is in it is not shown."""
    token = token_of(rig, "eve")
    eve = rig.client(rig.key(token))
    assert refused(eve.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
    assert refused(eve.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert refused(eve.get_object, Bucket=bucket, Key="k") == (403, "AccessDenied")
    assert bucket not in [one["Name"] for one in eve.list_buckets()["Buckets"]]


def test_versioning_is_switched(s3: Any, bucket: str) -> None:
    """Off, on, suspended; null versions have their id."""
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"0")
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"1"


def test_a_bucket_can_be_the_hosts_name(rig: S3Rig, bucket: str) -> None:
    """Virtual-host addresses reach the same objects, also under the proxy's own names."""
    client = rig.client(endpoint=f"https://{DOMAIN}:5000", s3={"addressing_style": "virtual"})
    client.put_object(Bucket=bucket, Key="api/v1/x", Body=b"virtual")
    assert rig.client().get_object(Bucket=bucket, Key="api/v1/x")["Body"].read() == b"virtual"


KEYS = st.lists(
    st.text("ab/-é\U0001f600", min_size=1, max_size=5).filter(lambda k: k[0] != "/"), unique=True, max_size=14
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(KEYS, st.sampled_from(["", "a", "a/", "é"]), st.sampled_from(["", "/"]), st.integers(1, 5), st.booleans())
def test_pages_together_are_the_whole_listing(
    s3: Any, make_bucket: Callable[..., str], keys: list[str], prefix: str, delimiter: str, size: int, first: bool
) -> None:
    """Whatever the page size, keys and common prefixes come once, in the order of their bytes, in both operations."""
    bucket = make_bucket()
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    matching = sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
    folders = {_folder(key, prefix, delimiter) for key in matching} - {None}
    expected = [key for key in matching if _folder(key, prefix, delimiter) is None]
    operation = "list_objects" if first else "list_objects_v2"
    found, prefixes = [], []
    for page in s3.get_paginator(operation).paginate(
        Bucket=bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    ):
        entries = page.get("Contents", [])
        assert len(entries) + len(page.get("CommonPrefixes", [])) <= size
        found += [one["Key"] for one in entries]
        prefixes += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
    assert found == expected
    assert prefixes == sorted(folders, key=lambda folder: str(folder).encode())


def _folder(key: str, prefix: str, delimiter: str) -> str | None:
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if end < 0 else key[: end + 1]


def test_the_odd_arguments_of_listings(s3: Any, bucket: str) -> None:
    """No keys asked for, a start behind a key, an owner wanted, a token that is none."""
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, StartAfter="a")["Contents"]] == ["b", "c"]
    assert [one["Key"] for one in s3.list_objects(Bucket=bucket, Marker="b")["Contents"]] == ["c"]
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == "admin"
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken="?") == (400, "InvalidArgument")
    assert refused(s3.list_objects_v2, Bucket=bucket, MaxKeys=-1) == (400, "InvalidArgument")


def test_versions_are_listed_in_pages(s3: Any, make_bucket: Callable[..., str]) -> None:
    """Newest first for each key, folders once, over pages of every size."""
    bucket = make_bucket(versioning=True)
    for key in ("a", "a", "b/1", "b/2", "c", "c", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="a")
    for size in (1, 2, 3, 100):
        versions: list[tuple[str, bool]] = []
        markers, folders = [], []
        for page in s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}
        ):
            versions += [(v["Key"], v["IsLatest"]) for v in page.get("Versions", [])]
            markers += [(v["Key"], v["IsLatest"]) for v in page.get("DeleteMarkers", [])]
            folders += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        assert versions == [("a", False), ("a", False), ("c", True), ("c", False), ("c", False)]
        assert markers == [("a", True)]
        assert folders == ["b/"]
