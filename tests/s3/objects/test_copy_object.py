"""Copies through boto3: what goes along, what is replaced, which source is meant, and every condition."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from client_proxy.core.requests import Stat
from client_proxy.doors.s3.objects.copy_object import CopyHandlers
from client_proxy.doors.s3.objects.copy_source import ObjectSource, read_source
from client_proxy.doors.s3.objects.put_object import MAX_PUT_BYTES
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.files import FileVersion
from tests.fakes.clock import ManualClock
from tests.s3.calls import refused
from tests.s3.people import client_of
from tests.s3.rig import S3Rig

SAID: dict[str, Any] = {
    "ContentType": "text/x",
    "CacheControl": "max-age=9",
    "ContentDisposition": "inline",
    "ContentLanguage": "de",
    "Metadata": {"color": "red"},
}
FAILED = (412, "PreconditionFailed")


def body(s3: Any, bucket: str, key: str, **options: Any) -> bytes:
    """An object's content."""
    content: bytes = s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()
    return content


@pytest.fixture
def source(s3: Any, bucket: str) -> dict[str, str]:
    """The object `from/a b` with everything said about it, as a copy's source."""
    s3.put_object(Bucket=bucket, Key="from/a b", Body=b"content", Tagging="t=1", StorageClass="STANDARD_IA", **SAID)
    return {"Bucket": bucket, "Key": "from/a b"}


# ---------------------------------------------------------------- what is copied


def test_a_copy_is_the_same_object_under_another_name(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Bytes, ETag, headers, metadata, checksums and tags go along; the storage class is the request's."""
    first = s3.head_object(**source, ChecksumMode="ENABLED")
    done = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    head = s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")
    assert body(s3, bucket, "to") == b"content"
    assert {name: head[name] for name in SAID} == SAID
    assert head["ETag"] == first["ETag"] == done["CopyObjectResult"]["ETag"]
    assert head["ChecksumCRC32"] == first["ChecksumCRC32"] == done["CopyObjectResult"]["ChecksumCRC32"]
    assert "StorageClass" not in head
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert "VersionId" not in done
    assert "CopySourceVersionId" not in done


def test_replaced_metadata_is_the_requests_alone(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Nothing that was said of the source stays, but what follows from the content does."""
    first = s3.head_object(**source, ChecksumMode="ENABLED")
    s3.copy_object(
        Bucket=bucket,
        Key="to",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"shape": "round"},
        ContentLanguage="fr",
        StorageClass="ONEZONE_IA",
        TaggingDirective="REPLACE",
        Tagging="u=2",
    )
    head = s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")
    assert head["Metadata"] == {"shape": "round"}
    assert (head["ContentType"], head["ContentLanguage"]) == ("binary/octet-stream", "fr")
    assert not {"CacheControl", "ContentDisposition"} & set(head)
    assert head["StorageClass"] == "ONEZONE_IA"
    assert (head["ETag"], head["ChecksumCRC32"]) == (first["ETag"], first["ChecksumCRC32"])
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "u", "Value": "2"}]


def test_a_copy_may_ask_for_another_checksum(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """It is computed from the content and takes the place of the source's."""
    done = s3.copy_object(Bucket=bucket, Key="to", CopySource=source, ChecksumAlgorithm="SHA256")
    expected = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert done["CopyObjectResult"]["ChecksumSHA256"] == expected
    head = s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == expected
    assert "ChecksumCRC32" not in head
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "to"}, ChecksumAlgorithm="CRC32")
    expected = base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()
    assert s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")["ChecksumCRC32"] == expected


def test_a_redirect_is_not_copied(s3: Any, bucket: str) -> None:
    """Each object has its own; a copy says it anew."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", WebsiteRedirectLocation="/there")
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="a", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, WebsiteRedirectLocation="/elsewhere")
    assert "WebsiteRedirectLocation" not in s3.head_object(Bucket=bucket, Key="a")
    assert s3.head_object(Bucket=bucket, Key="b")["WebsiteRedirectLocation"] == "/elsewhere"


def test_a_copy_onto_itself_must_change_something(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Metadata or the storage class; else it is refused and nothing happens."""
    arguments = {**source, "CopySource": source}
    assert refused(s3.copy_object, **arguments) == (400, "InvalidRequest")
    assert refused(s3.copy_object, **arguments, MetadataDirective="COPY", Metadata={"a": "b"}) == (
        400,
        "InvalidRequest",
    )
    s3.copy_object(**arguments, MetadataDirective="REPLACE", Metadata={"new": "yes"})
    assert s3.head_object(**source)["Metadata"] == {"new": "yes"}
    s3.copy_object(**arguments, StorageClass="REDUCED_REDUNDANCY")
    assert s3.head_object(**source)["StorageClass"] == "REDUCED_REDUNDANCY"
    assert body(s3, bucket, source["Key"]) == b"content"


def test_directives_are_one_of_two_words(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Any other word is no argument."""
    for name in ("MetadataDirective", "TaggingDirective"):
        arguments = {"Bucket": bucket, "Key": "to", "CopySource": source, name: "KEEP"}
        assert refused(s3.copy_object, **arguments) == (400, "InvalidArgument")


# ---------------------------------------------------------------- which source


@pytest.mark.parametrize("key", ["a b", "a+b", "a?b", "a%20b", "a?versionId=1", "ü/日本", "a&b=c", "x//y"])
def test_a_source_may_have_any_name(s3: Any, bucket: str, key: str) -> None:
    """As the SDK writes it."""
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": key})
    assert body(s3, bucket, "to") == key.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b/k", ObjectSource("b", "k")),
        ("/b/k", ObjectSource("b", "k")),
        ("b%2Fk%2Fl", ObjectSource("b", "k/l")),
        ("b/a%20b+c", ObjectSource("b", "a b+c")),
        ("b/k?versionId=0000000000000007", ObjectSource("b", "k", "0000000000000007")),
        ("/b/k%3FversionId=7", ObjectSource("b", "k?versionId=7")),
        ("b/%C3%BC", ObjectSource("b", "ü")),
        ("b/\u00c3\u00bc", ObjectSource("b", "ü")),
        ("b//k", ObjectSource("b", "/k")),
        ("b/../k", ObjectSource("b", "../k")),
        ("b/a%0Ab", "InvalidURI"),
        ("b", "InvalidArgument"),
        ("/b/", "InvalidArgument"),
        ("", "InvalidArgument"),
        ("b/%FF", "InvalidArgument"),
        ("b/k?versionId=", "InvalidArgument"),
        ("arn:aws:s3:us-east-1:123456789012:accesspoint/name/object/k", "NotImplemented"),
    ],
)
def test_a_source_is_written_in_many_ways(text: str, expected: ObjectSource | str) -> None:
    """With or without the slash before it, percent-encoded in part or whole, or as the bytes themselves."""
    if isinstance(expected, ObjectSource):
        assert read_source(text) == expected
        return
    try:
        code = f"no refusal: {read_source(text)}"
    except (S3Error, BadName) as error:
        code = as_s3_error(error).code if isinstance(error, BadName) else error.code
    assert code == expected


def test_versions_and_buckets_are_crossed(s3: Any, make_bucket: Any) -> None:
    """The version named is the one copied; both ids are told; an old one onto its own key restores it."""
    here, there = make_bucket(versioning=True), make_bucket()
    old = s3.put_object(Bucket=here, Key="k", Body=b"old")["VersionId"]
    new = s3.put_object(Bucket=here, Key="k", Body=b"new")["VersionId"]
    done = s3.copy_object(Bucket=there, Key="k", CopySource={"Bucket": here, "Key": "k", "VersionId": old})
    assert (body(s3, there, "k"), done["CopySourceVersionId"]) == (b"old", old)
    done = s3.copy_object(Bucket=there, Key="k", CopySource={"Bucket": here, "Key": "k"})
    assert (body(s3, there, "k"), done["CopySourceVersionId"]) == (b"new", new)
    done = s3.copy_object(Bucket=here, Key="k", CopySource={"Bucket": here, "Key": "k", "VersionId": old})
    assert (body(s3, here, "k"), body(s3, here, "k", VersionId=done["VersionId"])) == (b"old", b"old")


def test_sources_that_are_not_there_are_refused(s3: Any, rig: S3Rig, make_bucket: Any) -> None:
    """Bucket, key and version each by their own code; a delete marker named by its id is no source."""
    here, there = make_bucket(versioning=True), make_bucket()
    s3.put_object(Bucket=here, Key="k", Body=b"x")

    def copying(client: Any = s3, **source: str) -> tuple[int, str]:
        return refused(client.copy_object, Bucket=there, Key="k", CopySource={"Bucket": here, "Key": "k", **source})

    assert copying(Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert copying(Key="missing") == (404, "NoSuchKey")
    assert copying(VersionId="0000000000000001") == (404, "NoSuchVersion")
    marker = s3.delete_object(Bucket=here, Key="k")["VersionId"]
    assert copying() == (404, "NoSuchKey")
    assert copying(VersionId=marker) == (400, "InvalidRequest")
    target = {"Bucket": "no-such-bucket", "Key": "k"}
    s3.put_object(Bucket=here, Key="k", Body=b"x")
    assert refused(s3.copy_object, **target, CopySource={"Bucket": here, "Key": "k"}) == (404, "NoSuchBucket")
    eve = client_of(rig, "eve")
    eve.create_bucket(Bucket="eves")
    assert refused(eve.copy_object, Bucket="eves", Key="k", CopySource={"Bucket": here, "Key": "k"}) == (
        403,
        "AccessDenied",
    )


# ---------------------------------------------------------------- conditions


def test_a_sources_conditions(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Each alone and combined: an ETag that fits outweighs a date that does not, one that is excluded never copies."""
    etag = s3.head_object(**source)["ETag"]
    now = datetime.fromtimestamp(ManualClock().wall(), UTC)
    before, after = now - timedelta(days=1), now + timedelta(days=1)
    target = {"Bucket": bucket, "Key": "to", "CopySource": source}
    good: list[dict[str, Any]] = [
        {"CopySourceIfMatch": etag},
        {"CopySourceIfMatch": "*"},
        {"CopySourceIfNoneMatch": '"other"'},
        {"CopySourceIfModifiedSince": before},
        {"CopySourceIfUnmodifiedSince": after},
        {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": before},
    ]
    bad: list[dict[str, Any]] = [
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": before},
        {"CopySourceIfModifiedSince": after},
        {"CopySourceIfUnmodifiedSince": before},
    ]
    for conditions in bad:
        assert refused(s3.copy_object, **target, **conditions) == FAILED
    assert refused(s3.head_object, Bucket=bucket, Key="to")[0] == 404
    for conditions in good:
        s3.copy_object(**target, **conditions)


def test_a_targets_conditions(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Judged inside the commit as for any write."""
    target = {"Bucket": bucket, "Key": "to", "CopySource": source}
    etag = s3.copy_object(**target, IfNoneMatch="*")["CopyObjectResult"]["ETag"]
    assert refused(s3.copy_object, **target, IfNoneMatch="*") == FAILED
    assert refused(s3.copy_object, **target, IfMatch='"other"') == FAILED
    s3.copy_object(**target, IfMatch=etag)


def test_a_source_that_changes_meanwhile_is_looked_up_again(rig: S3Rig, bucket: str, source: dict[str, str]) -> None:
    """The conditions and the bytes are of one version: what is copied was current after the call began."""
    files = Overwritten(rig, source)
    handlers = CopyHandlers(files).handlers()
    key = rig.key()
    client = rig.client(key)
    kept = rig.s3.handlers["CopyObject"]
    rig.s3.handlers["CopyObject"] = handlers["CopyObject"]
    try:
        client.copy_object(Bucket=bucket, Key="to", CopySource=source)
    finally:
        rig.s3.handlers["CopyObject"] = kept
    assert files.times == 2
    assert body(client, bucket, "to") == b"newer"


class Overwritten:
    """A file store whose source is overwritten right after it was first looked up."""

    def __init__(self, rig: S3Rig, source: dict[str, str]) -> None:
        self._files: Any = rig.cluster.proxies["1"].files
        self._client = rig.client()
        self._source = source
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def stat(self, request: Stat) -> FileVersion:
        found = self._files.stat(request)
        self.times += 1
        if self.times == 1:
            self._client.put_object(**self._source, Body=b"newer")
        return found


# ---------------------------------------------------------------- locks and renames


def test_a_copy_can_be_held_from_the_start(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """The lock headers are the request's; a source's own hold does not go along."""
    s3.create_bucket(Bucket=f"{bucket}-locking", ObjectLockEnabledForBucket=True)
    target = {"Bucket": f"{bucket}-locking", "Key": "to", "CopySource": source}
    held = s3.copy_object(**target, ObjectLockLegalHoldStatus="ON")["VersionId"]
    arguments = {"Bucket": f"{bucket}-locking", "Key": "to", "VersionId": held}
    assert refused(s3.delete_object, **arguments) == (403, "AccessDenied")
    copied = {"Bucket": f"{bucket}-locking", "Key": "to"}
    s3.copy_object(Bucket=f"{bucket}-locking", Key="again", CopySource=copied)
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=f"{bucket}-locking", Key="again")
    assert refused(s3.copy_object, Bucket=bucket, Key="to", CopySource=source, ObjectLockLegalHoldStatus="ON") == (
        400,
        "InvalidRequest",
    )


def test_an_object_is_renamed_in_one_step(s3: Any, bucket: str, source: dict[str, str]) -> None:
    """Everything goes along, the first name is gone; conditions on both sides are kept."""
    head = s3.head_object(**source)
    name = f"{bucket}/{quote(source['Key'])}"
    s3.put_object(Bucket=bucket, Key="taken", Body=b"other")
    for conditions in ({"DestinationIfNoneMatch": "*"}, {"DestinationIfMatch": '"other"'}, {"SourceIfMatch": '"x"'}):
        assert refused(s3.rename_object, Bucket=bucket, Key="taken", RenameSource=name, **conditions) == FAILED
    s3.rename_object(Bucket=bucket, Key="taken", RenameSource=name, SourceIfMatch=head["ETag"])
    moved = s3.head_object(Bucket=bucket, Key="taken")
    assert (moved["ETag"], moved["Metadata"], moved["TagCount"]) == (head["ETag"], head["Metadata"], 1)
    assert refused(s3.head_object, **source)[0] == 404
    assert refused(s3.rename_object, Bucket=bucket, Key="x", RenameSource=name) == (404, "NoSuchKey")


def test_a_large_source_is_refused() -> None:
    """One copy takes as much as one PUT."""
    version = FileVersion("b", "k", "1", Digest(bytes(32)), MAX_PUT_BYTES + 1, "ann", 0.0)
    files: Any = SimpleNamespace(stat=lambda *_, **__: version)
    nobody, request = SimpleNamespace(anonymous=True), SimpleNamespace(headers={})
    call: Any = SimpleNamespace(
        credential="", bucket="b", key="to", values={"CopySource": "b/k"}, principal=nobody, request=request
    )
    call.get = call.values.get
    with pytest.raises(S3Error) as refusal:
        CopyHandlers(files).copy(call)
    assert refusal.value.code == "InvalidRequest"


# ---------------------------------------------------------------- customers' keys


def under(key: int, prefix: str = "") -> dict[str, Any]:
    """boto3's parameters for one of some customers' keys."""
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": bytes([key]) * 32}


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_a_copy_goes_from_one_key_to_another(s3: Any, bucket: str, seed: int, size: int) -> None:
    """Into a key, between keys, out of one: everything said goes along, and only the last key reads it."""
    data = random.Random(seed).randbytes(size)
    s3.put_object(Bucket=bucket, Key="a", Body=data, Tagging="t=1", ChecksumAlgorithm="SHA256", **SAID)
    first = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    into = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", **under(1))
    assert into["SSECustomerAlgorithm"] == "AES256"
    across = {**under(1, "CopySource"), **under(2)}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/b", **across)
    assert refused(s3.get_object, Bucket=bucket, Key="b", **under(1)) == (403, "AccessDenied")
    got = s3.get_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED", **under(2))
    assert (got["Body"].read(), got["TagCount"]) == (data, 1)
    done = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b", **under(2, "CopySource"))
    last = s3.get_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert last["Body"].read() == data
    assert done["CopyObjectResult"]["ETag"] == last["ETag"] == first["ETag"]
    for answer in (got, last):
        assert {name: answer[name] for name in SAID} == SAID
        assert answer["ChecksumSHA256"] == first["ChecksumSHA256"]
    s3.copy_object(Bucket=bucket, Key="d", CopySource=f"{bucket}/a", MetadataDirective="REPLACE", **under(1))
    assert s3.head_object(Bucket=bucket, Key="d", **under(1))["Metadata"] == {}


def test_keys_that_do_not_fit_a_copy_are_refused(s3: Any, bucket: str) -> None:
    """None, the wrong one, and one for a source that has none; a condition on the target still holds."""
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"x", **under(1))
    target = {"Bucket": bucket, "Key": "to"}
    sealed = {**target, "CopySource": f"{bucket}/sealed"}
    assert refused(s3.copy_object, **sealed) == (400, "InvalidRequest")
    assert refused(s3.copy_object, **sealed, **under(1)) == (400, "InvalidRequest")
    assert refused(s3.copy_object, **sealed, **under(2, "CopySource")) == (403, "AccessDenied")
    plain = {**target, "CopySource": f"{bucket}/plain"}
    assert refused(s3.copy_object, **plain, **under(1, "CopySource")) == (400, "InvalidRequest")
    assert refused(s3.head_object, **target)[0] == 404
    s3.copy_object(**plain, **under(1), IfNoneMatch="*")
    assert refused(s3.copy_object, **plain, **under(1), IfNoneMatch="*") == FAILED
