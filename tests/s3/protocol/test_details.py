"""Small rules of the protocol that suites check one by one: missing lengths, odd headers, names of buckets."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

from client_proxy.doors.s3.protocol.checksums import ALGORITHMS
from tests.s3.calls import Ask, code_in, refused


def test_content_without_a_length_is_refused(s3: Any, ask: Ask, bucket: str) -> None:
    """411 for an object and for a part; a request that needs no body needs no length either."""
    assert code_in(ask("PUT", f"/{bucket}/k")[2]) == "MissingContentLength"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    status, _, body = ask("PUT", f"/{bucket}/k?partNumber=1&uploadId={upload}")
    assert (status, code_in(body)) == (411, "MissingContentLength")
    assert ask("PUT", f"/{bucket}")[0] == 200
    assert ask("PUT", f"/{bucket}/k", body=b"")[0] == 200


def test_an_empty_copy_source_is_no_put(s3: Any, ask: Ask, bucket: str) -> None:
    """It does not write an empty object."""
    status, _, body = ask("PUT", f"/{bucket}/k", {"x-amz-copy-source": ""}, b"")
    assert (status, code_in(body)) == (400, "InvalidArgument")
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404


@pytest.mark.parametrize("id", ["nope", "x" * 200, "é"])
def test_an_upload_that_never_was(s3: Any, bucket: str, id: str) -> None:
    """NoSuchUpload for whatever text, of each operation; but first of all the bucket must be there."""
    part = {"Parts": [{"PartNumber": 1, "ETag": '"0123456789abcdef0123456789abcdef"'}]}
    for where, expected in ((bucket, "NoSuchUpload"), ("no-such-bucket", "NoSuchBucket")):
        place = {"Bucket": where, "Key": "k", "UploadId": id}
        assert refused(s3.complete_multipart_upload, **place, MultipartUpload=part) == (404, expected)
        assert refused(s3.upload_part, **place, PartNumber=1, Body=b"x") == (404, expected)
        assert refused(s3.abort_multipart_upload, **place) == (404, expected)
        assert refused(s3.list_parts, **place) == (404, expected)


def test_ranges_that_cannot_be(s3: Any, ask: Ask, bucket: str) -> None:
    """The refusal says how long the object is; If-Range is judged."""
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    status, headers, body = ask("GET", f"/{bucket}/k", {"Range": "bytes=10-"})
    assert (status, code_in(body), headers["content-range"]) == (416, "InvalidRange", "bytes */10")
    assert b"<ActualObjectSize>10</ActualObjectSize>" in body
    assert ask("GET", f"/{bucket}/k", {"Range": "bytes=0-1", "If-Range": etag})[::2] == (206, b"01")
    assert ask("GET", f"/{bucket}/k", {"Range": "bytes=0-1", "If-Range": '"other"'})[::2] == (200, b"0123456789")


@pytest.mark.parametrize("tag", ['"unclosed', "", '"a" "b"', "plain"])
def test_a_tag_that_is_none_matches_nothing(ask: Ask, s3: Any, bucket: str, tag: str) -> None:
    """It is a condition that does not hold, not a malformed request."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert ask("GET", f"/{bucket}/k", {"If-Match": tag})[0] == 412
    assert ask("GET", f"/{bucket}/k", {"If-None-Match": tag})[0] == 200
    assert ask("DELETE", f"/{bucket}/k", {"If-Match": tag})[0] == 412
    assert ask("HEAD", f"/{bucket}/k")[0] == 200


def test_a_deletions_conditions_on_size_and_time_hold(s3: Any, bucket: str) -> None:
    """What is not as the caller expects stays, one by one and among many."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"1234")
    made = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    wrong: list[dict[str, Any]] = [{"IfMatchSize": 5}, {"IfMatchLastModifiedTime": made - timedelta(seconds=1)}]
    for condition in wrong:
        assert refused(s3.delete_object, Bucket=bucket, Key="k", **condition) == (412, "PreconditionFailed")
    several = [{"Key": "k", "Size": 5}, {"Key": "k", "LastModifiedTime": made - timedelta(seconds=1)}]
    lines = s3.delete_objects(Bucket=bucket, Delete={"Objects": several})["Errors"]
    assert [line["Code"] for line in lines] == ["PreconditionFailed", "PreconditionFailed"]
    right = {"IfMatchSize": 4, "IfMatchLastModifiedTime": made}
    assert s3.delete_object(Bucket=bucket, Key="k", **right)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(s3.delete_object, Bucket=bucket, Key="k", **right) == (404, "NoSuchKey")


def test_a_redirect_has_an_address(s3: Any, bucket: str) -> None:
    """A path or a web address; nothing else is kept."""
    for place in ("/there", "https://example.com/x"):
        s3.put_object(Bucket=bucket, Key="k", WebsiteRedirectLocation=place)
        assert s3.head_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == place
    wrong = {"Bucket": bucket, "Key": "k", "WebsiteRedirectLocation": "there"}
    assert refused(s3.put_object, **wrong) == (400, "InvalidRedirectLocation")


@pytest.mark.parametrize("name", ["a-.b", "a.-b", "a..b", "name--x-s3", "name.mrap"])
def test_names_that_no_new_bucket_has(ask: Ask, name: str) -> None:
    """Each part between dots is a host's label, and some endings are S3's own."""
    status, _, body = ask("PUT", f"/{name}", body=b"")
    assert (status, code_in(body)) == (400, "InvalidBucketName")


def test_a_bucket_is_made_wherever_it_is_wanted(s3: Any, ask: Ask, make_bucket: Callable[..., str]) -> None:
    """Every region's name is taken and said again, no name as well, and what is none is refused."""
    body = "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
    name = make_bucket()
    wanted = {"eu-central-1": "eu-central-1", "EU": "eu-west-1", "us-east-1": "us-east-1", "": "us-east-1"}
    for number, (location, region) in enumerate(wanted.items()):
        made = f"{name}-{number}"
        assert ask("PUT", f"/{made}", body=body.format(location).encode())[0] == 200
        said = location if location not in ("", "us-east-1") else None
        assert s3.get_bucket_location(Bucket=made)["LocationConstraint"] == said
        assert s3.head_bucket(Bucket=made)["BucketRegion"] == region
        assert made in [one["Name"] for one in s3.list_buckets(BucketRegion=region)["Buckets"]]
    status, _, answer = ask("PUT", f"/{name}-x", body=body.format("Nowhere!").encode())
    assert (status, code_in(answer)) == (400, "InvalidLocationConstraint")
    assert s3.list_buckets(BucketRegion="eu-west-3")["Buckets"] == []
    assert refused(s3.get_bucket_location, Bucket=f"{name}-x") == (404, "NoSuchBucket")


def test_an_announced_checksum_comes(s3: Any, ask: Ask, bucket: str) -> None:
    """Of the algorithm that was announced, and one that can be compared here; else nothing is written."""
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    assert s3.put_object(Bucket=bucket, Key="md5", Body=b"data", ChecksumMD5=md5)["ChecksumMD5"] == md5
    announced = {"x-amz-sdk-checksum-algorithm": "CRC32"}
    for headers, code in (
        (announced, "InvalidRequest"),
        (announced | {"x-amz-checksum-md5": md5}, "InvalidRequest"),
        ({"x-amz-checksum-md5": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-md4": md5}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-md5": md5}, "InvalidRequest"),
    ):
        status, _, body = ask("PUT", f"/{bucket}/k", headers, b"data")
        assert (status, code_in(body)) == (400, code)
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404


@pytest.mark.parametrize("name", ["crc32", "Crc32", "CRC32"])
def test_checksum_algorithms_are_named_in_any_case(s3: Any, ask: Ask, bucket: str, name: str) -> None:
    """On puts, in trailers' announcements, for uploads and for copies."""
    sent = {"x-amz-sdk-checksum-algorithm": name, "x-amz-checksum-crc32": ALGORITHMS["CRC32"].of(b"data")}
    assert ask("PUT", f"/{bucket}/k", sent, b"data")[0] == 200
    wanted = {"x-amz-checksum-algorithm": name}
    assert ask("POST", f"/{bucket}/k?uploads", wanted)[1]["x-amz-checksum-algorithm"] == "CRC32"
    assert ask("PUT", f"/{bucket}/copy", wanted | {"x-amz-copy-source": f"{bucket}/k"}, b"")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == sent["x-amz-checksum-crc32"]


def test_what_is_wrong_with_the_bucket_is_wrong_with_deleting_many(s3: Any, bucket: str) -> None:
    """The request is refused as a whole, not key by key."""
    wanted = {"Objects": [{"Key": "a"}, {"Key": "b"}]}
    assert refused(s3.delete_objects, Bucket="no-such-bucket", Delete=wanted) == (404, "NoSuchBucket")
    somebody = {"Bucket": bucket, "Delete": wanted, "ExpectedBucketOwner": "somebody"}
    assert refused(s3.delete_objects, **somebody) == (403, "AccessDenied")


def test_versions_and_delete_markers_are_in_one_order(s3: Any, ask: Ask, make_bucket: Callable[..., str]) -> None:
    """By key, newest first, as clients take them that read the answer from its beginning."""
    bucket = make_bucket(versioning=True)
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        s3.delete_object(Bucket=bucket, Key=key)
    _, _, body = ask("GET", f"/{bucket}?versions")
    found = re.findall(rb"<(Version|DeleteMarker)>.*?<Key>(.)</Key>", body)
    assert found == [(b"DeleteMarker", b"a"), (b"Version", b"a"), (b"DeleteMarker", b"b"), (b"Version", b"b")]


@pytest.mark.parametrize("days", [2**31 - 1, 2_912_500, 36_500])
def test_a_lifecycle_may_be_longer_than_calendars_are(s3: Any, bucket: str, days: int) -> None:
    """Reads and writes tell when an object goes, unless that is a day that cannot be written."""
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": days}}
    rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    told = [s3.put_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")]
    assert ["Expiration" in answer for answer in told] == [days == 36_500] * 2
    assert ("AbortDate" in s3.create_multipart_upload(Bucket=bucket, Key="k")) == (days == 36_500)


def test_what_is_asked_of_a_delete_marker(s3: Any, make_bucket: Callable[..., str]) -> None:
    """405 with the time at which it was made, on reads and on writes of its settings."""
    bucket = make_bucket(versioning=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    (listed,) = s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]
    place = {"Bucket": bucket, "Key": "k", "VersionId": marker}
    for call, options in (
        (s3.get_object, {}),
        (s3.head_object, {}),
        (s3.get_object_acl, {}),
        (s3.put_object_acl, {"ACL": "private"}),
        (s3.get_object_tagging, {}),
        (s3.delete_object_tagging, {}),
        (s3.get_object_attributes, {"ObjectAttributes": ["ETag"]}),
    ):
        with pytest.raises(ClientError) as refusal:
            call(**place, **options)
        answer = refusal.value.response["ResponseMetadata"]
        headers = answer["HTTPHeaders"]
        assert (answer["HTTPStatusCode"], headers["x-amz-delete-marker"], headers["allow"]) == (405, "true", "DELETE")
        assert parsedate_to_datetime(headers["last-modified"]) == listed["LastModified"].replace(microsecond=0)
    assert refused(s3.get_object_acl, Bucket=bucket, Key="k")[0] == 404


def test_making_ones_own_bucket_again_resets_its_acl(s3: Any, ask: Ask, bucket: str) -> None:
    """With another region's constraint it is refused, and with disabled ACLs nothing changes."""
    own = [{"ID": s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"], "Type": "CanonicalUser"}]

    def grantees() -> list[dict[str, str]]:
        return [{k: v for k, v in one["Grantee"].items() if k != "DisplayName"} for one in grants()]

    def grants() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = s3.get_bucket_acl(Bucket=bucket)["Grants"]
        return found

    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert len(grants()) == 2
    elsewhere = {"LocationConstraint": "eu-west-1"}
    again = {"Bucket": bucket, "CreateBucketConfiguration": elsewhere}
    assert refused(s3.create_bucket, **again) == (409, "BucketAlreadyOwnedByYou")
    assert len(grants()) == 2
    s3.create_bucket(Bucket=bucket)
    assert grantees() == own
    s3.create_bucket(Bucket=bucket, ACL="public-read")
    assert len(grants()) == 2
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert ask("PUT", f"/{bucket}", {}, b"")[0] == 200


@pytest.mark.parametrize("character", ["%EF%BF%BE", "%EF%BF%BF"])
def test_no_key_has_what_xml_cannot_express(ask: Ask, bucket: str, character: str) -> None:
    """Listings of it would be no XML."""
    status, _, body = ask("PUT", f"/{bucket}/a{character}b", {}, b"x")
    assert (status, code_in(body)) == (400, "InvalidURI")
    assert ask("GET", f"/{bucket}?list-type=2")[2].count(b"<Key>") == 0


@pytest.mark.parametrize(
    "arguments",
    ["prefix=%01", "delimiter=%0B", "marker=%EF%BF%BF", "list-type=2&start-after=%01", "versions&key-marker=%01"],
)
def test_listings_are_xml_whatever_they_repeat(ask: Ask, bucket: str, arguments: str) -> None:
    """Such an argument is refused, unless its repetition is escaped."""
    status, _, body = ask("GET", f"/{bucket}?{arguments}")
    assert (status, code_in(body)) == (400, "InvalidArgument")
    status, _, body = ask("GET", f"/{bucket}?{arguments}&encoding-type=url")
    assert status == 200
    ElementTree.fromstring(body)


def test_a_list_of_buckets_is_xml(ask: Ask) -> None:
    """It has no encoding-type."""
    status, _, body = ask("GET", "/?prefix=%01")
    assert (status, code_in(body)) == (400, "InvalidArgument")


def test_a_failed_condition_is_named(s3: Any, bucket: str) -> None:
    """s3fs tells by it whether an exclusive create met a file, or failed."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    source = {"CopySource": {"Bucket": bucket, "Key": "source"}}
    etag = s3.put_object(Bucket=bucket, Key="source", Body=b"y")["ETag"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    whole = {"UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
    for call, options, name in (
        (s3.put_object, {"IfNoneMatch": "*"}, "If-None-Match"),
        (s3.put_object, {"IfMatch": '"other"'}, "If-Match"),
        (s3.complete_multipart_upload, whole | {"IfNoneMatch": "*"}, "If-None-Match"),
        (s3.copy_object, source | {"IfNoneMatch": "*"}, "If-None-Match"),
        (s3.copy_object, source | {"CopySourceIfMatch": '"other"'}, "x-amz-copy-source-If-Match"),
        (s3.copy_object, source | {"CopySourceIfNoneMatch": etag}, "x-amz-copy-source-If-None-Match"),
    ):
        with pytest.raises(ClientError) as refusal:
            call(Bucket=bucket, Key="k", **options)
        assert refusal.value.response["Error"]["Condition"] == name


def test_a_content_encoding_is_kept_as_it_was_put(s3: Any, bucket: str) -> None:
    """With its spaces."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentEncoding="gzip,  br")
    assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip,  br"


def test_log_delivery_write_is_a_canned_acl(ask: Ask, s3: Any, bucket: str) -> None:
    """The service description lacks it."""
    assert ask("PUT", f"/{bucket}?acl", {"x-amz-acl": "log-delivery-write"}, b"")[0] == 200
    groups = [one["Grantee"].get("URI", "") for one in s3.get_bucket_acl(Bucket=bucket)["Grants"]]
    assert sum(group.endswith("LogDelivery") for group in groups) == 2


def test_an_unknown_encryption_has_a_code_of_its_own(ask: Ask, bucket: str) -> None:
    """One that is known and not supported has another."""
    for name, refusal in (
        ("rot13", (400, "InvalidEncryptionAlgorithmError")),
        ("aws:kms:dsse", (501, "NotImplemented")),
    ):
        status, _, body = ask("PUT", f"/{bucket}/k", {"x-amz-server-side-encryption": name}, b"x")
        assert (status, code_in(body)) == refusal


def test_a_buckets_tags_may_come_with_it(s3: Any, bucket: str) -> None:
    """They are on the new bucket at once; invalid ones make none."""
    made, tags = f"{bucket}-tagged", [{"Key": "team", "Value": "red"}]
    s3.create_bucket(Bucket=made, CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket=made)["TagSet"] == tags
    wrong = {"Tags": [{"Key": "aws:team", "Value": "red"}]}
    assert refused(s3.create_bucket, Bucket=f"{made}-2", CreateBucketConfiguration=wrong) == (400, "InvalidTag")
    assert refused(s3.head_bucket, Bucket=f"{made}-2")[0] == 404


def test_a_repeated_deletion_names_the_version_again(s3: Any, make_bucket: Callable[..., str]) -> None:
    """As the first one did."""
    bucket = make_bucket(versioning=True)
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k", VersionId=version)["VersionId"] == version


def test_an_empty_list_of_tags_removes_them(s3: Any, bucket: str) -> None:
    """From objects and from buckets."""
    tags = {"TagSet": [{"Key": "a", "Value": "1"}]}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags)
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")


def test_aws_chunked_is_a_content_encoding_where_the_body_is_not_framed(ask: Ask, s3: Any, bucket: str) -> None:
    """The name alone frames nothing."""
    assert ask("PUT", f"/{bucket}/k", {"Content-Encoding": "aws-chunked, gzip"}, b"plain")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentEncoding"], head["ContentLength"]) == ("aws-chunked, gzip", 5)
