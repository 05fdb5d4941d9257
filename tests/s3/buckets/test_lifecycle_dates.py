"""Lifecycles through boto3: every answer about an object or an upload says when it goes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tests.s3.buckets.test_lifecycle import DAY, TAG, days_pass, history, keys, live, name, rig
from tests.s3.calls import refused
from tests.s3.rig import S3Rig

__all__ = ["name", "rig"]


def told(answer: dict[str, Any]) -> tuple[float, str] | None:
    """The date and the rule of `x-amz-expiration`."""
    if "Expiration" not in answer:
        return None
    found = re.fullmatch(r'expiry-date="([^"]+)", rule-id="([^"]*)"', answer["Expiration"])
    assert found, answer["Expiration"]
    return parsedate_to_datetime(found[1]).timestamp(), found[2]


def test_every_answer_about_an_object_tells_when_it_goes(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Writing, reading, copying and completing tell the very moment at which the job lets go, and by which rule."""
    live(s3, bucket, {"ID": "soon / now", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 3}})
    put = told(s3.put_object(Bucket=bucket, Key="a/k", Body=b"x"))
    again = told(s3.put_object(Bucket=bucket, Key="a/again", Body=b"x"))  # content that is known already
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/m")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a/m", UploadId=upload, PartNumber=1, Body=b"x" * 100)
    whole = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    completion = {"Bucket": bucket, "Key": "a/m", "UploadId": upload, "MultipartUpload": whole}
    completed = told(s3.complete_multipart_upload(**completion))
    copied = told(s3.copy_object(Bucket=bucket, Key="a/c", CopySource=f"{bucket}/a/k"))
    head = s3.head_object(Bucket=bucket, Key="a/k")
    assert put == again == completed == copied == told(head) == told(s3.get_object(Bucket=bucket, Key="a/k"))
    assert put == (int(head["LastModified"].timestamp() + 3 * DAY), "soon%20%2F%20now")
    assert told(s3.put_object(Bucket=bucket, Key="b/k", Body=b"x")) is None
    days_pass(rig, 2.9)
    assert keys(s3, bucket) == ["a/again", "a/c", "a/k", "a/m", "b/k"]
    days_pass(rig, 0.2)
    assert keys(s3, bucket) == ["b/k"]


def test_a_repeated_completion_tells_it_too(s3: Any, bucket: str) -> None:
    """Whoever lost the first answer hears the same."""
    live(s3, bucket, {"ID": "r", "Expiration": {"Days": 3}})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x" * 100)
    whole = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    completion = {"Bucket": bucket, "Key": "m", "UploadId": upload, "MultipartUpload": whole}
    first, second = s3.complete_multipart_upload(**completion), s3.complete_multipart_upload(**completion)
    assert told(first) == told(second) is not None


def test_the_rule_that_is_told_is_the_first_that_fits(s3: Any, name: str) -> None:
    """Of several rules the earliest is told; conditions, disabled rules and old versions are seen as the job does."""
    live(
        s3,
        name,
        {"ID": "late", "Expiration": {"Days": 900}},
        {"ID": "off", "Status": "Disabled", "Expiration": {"Days": 1}},
        {"ID": "old", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
        {"ID": "tagged", "Filter": {"Tag": TAG}, "Expiration": {"Days": 2}},
        {"ID": "large", "Filter": {"ObjectSizeGreaterThan": 5}, "Expiration": {"Days": 3}},
        {"ID": "dated", "Filter": {"Prefix": "d/"}, "Expiration": {"Date": datetime(2020, 1, 1, tzinfo=UTC)}},
    )

    def rule_of(key: str, body: bytes = b"x", tags: str = "") -> str | None:
        found = told(s3.put_object(Bucket=name, Key=key, Body=body, Tagging=tags))
        assert found == told(s3.head_object(Bucket=name, Key=key))
        return found[1] if found else None

    assert rule_of("k") == "late"
    assert rule_of("k", b"x" * 10) == "large"
    assert rule_of("k", b"x" * 10, "k=v") == "tagged"
    assert rule_of("k", tags="k=w") == "late"
    assert rule_of("d/k") == "dated"
    assert told(s3.head_object(Bucket=name, Key="d/k"))[0] == datetime(2020, 1, 1, tzinfo=UTC).timestamp()  # type: ignore[index]
    s3.put_object_tagging(Bucket=name, Key="k", Tagging={"TagSet": [TAG]})
    assert told(s3.get_object(Bucket=name, Key="k"))[1] == "tagged"  # type: ignore[index]
    newest, *older = history(s3, name)[0][1:]
    assert told(s3.head_object(Bucket=name, Key="k", VersionId=newest)) is not None
    for version in older:
        assert told(s3.head_object(Bucket=name, Key="k", VersionId=version)) is None
    s3.delete_bucket_lifecycle(Bucket=name)
    assert told(s3.head_object(Bucket=name, Key="k")) is None


def test_an_upload_tells_when_it_is_aborted(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Beginning an upload and listing its parts tell when the job aborts it, and by which rule."""
    live(
        s3,
        bucket,
        {"ID": "later", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 5}},
        {"ID": "first", "Filter": {"Prefix": "a/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
        {"ID": "objects", "Expiration": {"Days": 1}},
    )
    begun = s3.create_multipart_upload(Bucket=bucket, Key="a/k")
    other = s3.create_multipart_upload(Bucket=bucket, Key="k")
    upload = {"Bucket": bucket, "Key": "a/k", "UploadId": begun["UploadId"]}
    listed = s3.list_parts(**upload)
    since = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"].timestamp()
    assert (begun["AbortDate"].timestamp(), begun["AbortRuleId"]) == (int(since + 2 * DAY), "first")
    assert (listed["AbortDate"], listed["AbortRuleId"]) == (begun["AbortDate"], "first")
    assert other["AbortRuleId"] == "later"
    days_pass(rig, 1.9)
    assert s3.list_parts(**upload)["AbortDate"] == begun["AbortDate"]
    days_pass(rig, 0.2)
    assert refused(s3.list_parts, **upload) == (404, "NoSuchUpload")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert "AbortDate" not in s3.create_multipart_upload(Bucket=bucket, Key="a/k")
