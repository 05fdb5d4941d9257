"""Tags through boto3: kept, told, copied and refused as S3 does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.calls import refused
from tests.s3.people import client_of
from tests.s3.rig import S3Rig


def tag_set(count: int, key_length: int = 3, value_length: int = 3) -> list[dict[str, str]]:
    """`count` tags with keys and values of those lengths."""
    return [{"Key": f"{n:0{key_length}d}", "Value": "v" * value_length} for n in range(count)]


def tags_of(s3: Any, bucket: str, **options: Any) -> dict[str, str]:
    """An object's tags by key."""
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key="k", **options)["TagSet"]}


def test_an_objects_tags_come_back_until_they_are_deleted(s3: Any, bucket: str) -> None:
    """They are told in full, counted on GET and HEAD, replaced as a whole, and change no version."""
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert tags_of(s3, bucket) == {}
    assert "TagCount" not in s3.head_object(Bucket=bucket, Key="k")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tag_set(10, 128, 256)})
    assert len(tags_of(s3, bucket)) == 10
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "größe", "Value": "a b/c+d@e=f"}]})
    assert tags_of(s3, bucket) == {"größe": "a b/c+d@e=f"}
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert answer["TagCount"] == 1
        assert answer["ETag"] == put["ETag"]
    done = s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(s3, bucket) == {}


def test_tags_can_come_with_the_object(s3: Any, bucket: str) -> None:
    """x-amz-tagging is read like a query string; writing again without it leaves no tags."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="color=deep%20blue&b+c=&empty")
    assert tags_of(s3, bucket) == {"color": "deep blue", "b c": "", "empty": ""}
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", Tagging="a=1&a=2") == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", Tagging="a=%FF") == (400, "InvalidArgument")
    eleven = "&".join(f"k{n}=v" for n in range(11))
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", Tagging=eleven) == (400, "InvalidTag")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_object(Bucket=bucket, Key="k", Body=b"z")
    assert tags_of(s3, bucket) == {}


@pytest.mark.parametrize(
    "tags",
    [
        tag_set(11),
        tag_set(1, key_length=129),
        tag_set(1, value_length=257),
        [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        [{"Key": "aws:a", "Value": "1"}],
        [{"Key": "a", "Value": "<;>"}],
    ],
    ids=["eleven", "long key", "long value", "twice", "reserved", "signs"],
)
def test_tags_that_cannot_be_are_refused(s3: Any, bucket: str, tags: list[dict[str, str]]) -> None:
    """InvalidTag, and the tags are as they were."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": tags}) == (400, "InvalidTag")
    assert tags_of(s3, bucket) == {"a": "1"}


def test_each_version_has_its_own_tags(s3: Any, make_bucket: Any) -> None:
    """By id, and without one the current version's; a deleted key and a delete marker have none."""
    bucket = make_bucket(versioning=True)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="n=1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2", Tagging="n=2")["VersionId"]
    done = s3.put_object_tagging(
        Bucket=bucket, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "n", "Value": "one"}]}
    )
    assert done["VersionId"] == first
    assert tags_of(s3, bucket, VersionId=first) == {"n": "one"}
    assert tags_of(s3, bucket) == tags_of(s3, bucket, VersionId=second) == {"n": "2"}
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert refused(s3.get_object_tagging, Bucket=bucket, Key="k") == (404, "NoSuchKey")
    for ask in (s3.get_object_tagging, s3.delete_object_tagging):
        assert refused(ask, Bucket=bucket, Key="k", VersionId=marker) == (405, "MethodNotAllowed")
        assert refused(ask, Bucket=bucket, Key="k", VersionId="0099999999999999") == (404, "NoSuchVersion")
    assert refused(s3.get_object_tagging, Bucket="no-such-bucket", Key="k") == (404, "NoSuchBucket")


def test_a_buckets_tags(s3: Any, rig: S3Rig, bucket: str) -> None:
    """Up to 50, its owner's to change; NoSuchTagSet where there are none."""
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
    put = s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_set(50)})
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tag_set(50)
    assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": tag_set(51)}) == (400, "InvalidTag")
    eve = client_of(rig, "eve")
    assert refused(eve.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": []}) == (403, "AccessDenied")
    s3.delete_bucket_tagging(Bucket=bucket)
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
