"""Encryption: what is said of it, and customers' keys, without which nobody reads a byte through any door."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from client_proxy.core.requests import Copy, Read, Stat
from client_proxy.doors.s3.objects.object_encryption import decrypted
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import customer_key
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.encrypted_content import EncryptedContent
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Damaged
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from tests.s3.calls import refused
from tests.s3.rig import S3Rig

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
CONTENT_KEY = ContentKey(KEY, "s3:sse-c")


def with_key(key: bytes = KEY) -> dict[str, Any]:
    """boto3's parameters for a customer's key."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def test_every_answer_says_that_it_is_encrypted(s3: Any, bucket: str) -> None:
    """AES256, whether it was asked for or not, as everything is sealed at rest."""
    for wish in ({}, {"ServerSideEncryption": "AES256"}):
        assert s3.put_object(Bucket=bucket, Key="k", Body=b"x", **wish)["ServerSideEncryption"] == "AES256"
        assert s3.get_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
        assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 70_000, 3_000_000])
def test_with_its_key_an_object_reads_as_it_was_written(s3: Any, bucket: str, size: int) -> None:
    """Content, size, checksum and key's MD5 come back; sizes in listings are those of the content."""
    data = os.urandom(size)
    md5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="SHA256", **with_key())
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **with_key())
    assert got["Body"].read() == data
    assert got["ETag"] == put["ETag"]
    assert got["ETag"].strip('"') != hashlib.md5(data).hexdigest()
    assert got["ChecksumSHA256"] == put["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    for answer in (put, got, s3.head_object(Bucket=bucket, Key="k", **with_key())):
        assert (answer["SSECustomerAlgorithm"], answer["SSECustomerKeyMD5"]) == ("AES256", md5)
        assert "ServerSideEncryption" not in answer
    assert got["ContentLength"] == size
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (1, 16), (15, 17), (16, 48), (65_537, 299_999), (299_999, 300_000)]
)
def test_ranges_are_decrypted_where_they_begin(s3: Any, bucket: str, start: int, stop: int) -> None:
    """Any range, at the edges of cipher blocks too."""
    data = os.urandom(300_000)
    s3.put_object(Bucket=bucket, Key="k", Body=data, **with_key())
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{stop - 1}", **with_key())
    assert got["Body"].read() == data[start:stop]
    assert got["ContentRange"] == f"bytes {start}-{stop - 1}/300000"


def test_without_the_right_key_nothing_is_read(s3: Any, bucket: str) -> None:
    """No key is 400, another one 403, for GET and HEAD alike; a key for what has none is 400."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **with_key())
    s3.put_object(Bucket=bucket, Key="plain", Body=b"open")
    assert refused(s3.get_object, Bucket=bucket, Key="k") == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 400
    assert refused(s3.get_object, Bucket=bucket, Key="k", **with_key(OTHER)) == (403, "AccessDenied")
    assert refused(s3.head_object, Bucket=bucket, Key="k", **with_key(OTHER))[0] == 403
    assert refused(s3.get_object, Bucket=bucket, Key="plain", **with_key()) == (400, "InvalidRequest")


def test_no_door_serves_the_encrypted_bytes_as_the_file(rig: S3Rig, s3: Any, bucket: str) -> None:
    """The core itself refuses and names the reason; neither cache, disks nor metadata have a byte of the content."""
    data = b"a secret that nobody else shall read" * 10
    s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="CRC32", **with_key())
    files, admin = rig.cluster.proxies["1"].files, rig.cluster.admin_key
    with pytest.raises(BadRequest, match="SSE-C"):
        files.open(Read(admin, bucket, "k"))
    answer = rig.ask("GET", f"https://127.0.0.1:5000/api/v1/files/{bucket}/k", {"X-Api-Key": admin})
    assert answer[0] == 400
    assert b"SSE-C" in answer[2]
    assert data not in answer[2]
    with files.open(Read(admin, bucket, "k", raw=True)) as opened:
        assert data[:16] not in b"".join(opened.blocks())
    facts = files.stat(Stat(admin, bucket, "k")).metadata
    assert not any("checksum" in name for name in facts)
    assert base64.b64encode(KEY).decode() not in "".join(facts.values())
    assert hashlib.md5(data).hexdigest() not in "".join(facts.values())


def test_a_copy_stays_under_its_key_whatever_metadata_it_gets(rig: S3Rig, s3: Any, bucket: str) -> None:
    """A copy made by another door with other metadata is still read with the key, and only with it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **with_key())
    files, admin = rig.cluster.proxies["1"].files, rig.cluster.admin_key
    files.copy(Copy(admin, bucket, "copy", source_bucket=bucket, source_path="k", metadata={"colour": "red"}))
    with pytest.raises(BadRequest, match="SSE-C"):
        files.open(Read(admin, bucket, "copy"))
    got = s3.get_object(Bucket=bucket, Key="copy", **with_key())
    assert (got["Body"].read(), got["Metadata"]) == (b"secret", {"colour": "red"})


def test_operations_without_the_key_are_refused(s3: Any, bucket: str) -> None:
    """Copies, copies into parts and attributes need the key."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **with_key())
    source = {"Bucket": bucket, "Key": "k"}
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=source) == (400, "InvalidRequest")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    part = {"Bucket": bucket, "Key": "c", "UploadId": upload, "PartNumber": 1, "CopySource": source}
    assert refused(s3.upload_part_copy, **part) == (400, "InvalidRequest")
    asked = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ETag", "Checksum"]}
    assert refused(s3.get_object_attributes, **asked) == (400, "InvalidRequest")


def test_what_would_not_be_carried_out_is_refused(s3: Any, bucket: str) -> None:
    """What there is not, and two kinds at once."""

    def put(**more: Any) -> tuple[int, str]:
        return refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **more)

    assert put(ServerSideEncryption="aws:kms:dsse") == (501, "NotImplemented")
    assert put(ServerSideEncryption="aws:kms", **with_key()) == (400, "InvalidArgument")
    assert put(ServerSideEncryption="AES256", SSEKMSKeyId="mine") == (400, "InvalidArgument")
    assert put(ServerSideEncryption="aws:foo") == (400, "InvalidEncryptionAlgorithmError")
    assert put(SSEKMSKeyId="mine") == (400, "InvalidArgument")
    assert put(ServerSideEncryption="AES256", **with_key()) == (400, "InvalidArgument")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SSECustomerAlgorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
        ({"SSECustomerAlgorithm": None}, "InvalidArgument"),
        ({"SSECustomerKey": None}, "InvalidArgument"),
        ({"SSECustomerKey": "not base64"}, "InvalidArgument"),
        ({"SSECustomerKey": base64.b64encode(KEY[:16]).decode()}, "InvalidArgument"),
        ({"SSECustomerKey": base64.b64encode(OTHER).decode()}, "InvalidArgument"),
        ({"SSECustomerKeyMD5": None}, "InvalidArgument"),
        ({"SSECustomerKeyMD5": "x"}, "InvalidArgument"),
    ],
)
def test_a_key_must_be_whole(change: dict[str, Any], code: str) -> None:
    """Algorithm, key and MD5 all come, and fit each other."""
    good = {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(KEY).decode(),
        "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
    }
    assert customer_key(good) is not None
    with pytest.raises(S3Error) as error:
        customer_key({name: value for name, value in (good | change).items() if value is not None})
    assert error.value.code == code
    assert repr(customer_key(good)) == "CustomerKey(…)"


class _Opened:
    """A file in memory, as the file store would open it."""

    def __init__(self, version: FileVersion, data: bytes) -> None:
        self.version, self.data = version, data

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        yield self.data[start:stop]


def encrypted(data: bytes) -> tuple[FileVersion, bytes]:
    """A version under KEY and its stored bytes."""
    content = EncryptedContent(CONTENT_KEY)
    stored = b"".join(content.blocks([data[:10], data[10:]]))
    trailing = content.trailing_metadata({"s3:etag": "0" * 32, "s3:checksum-crc32": "AAAAAA=="})
    digest = Manifest((chunk.digest, chunk.length) for chunk in chunk_blocks([stored])).digest
    version = FileVersion("b", "k", "1", digest, len(data), "ada", 0.0, metadata=content.metadata | trailing)
    return version, stored


def test_equal_content_is_never_stored_as_equal_bytes() -> None:
    """Each version has a salt of its own, so that nobody can tell that two are equal."""
    first, second = encrypted(b"the same content"), encrypted(b"the same content")
    assert first[1] != second[1]
    assert not set(first[0].metadata.values()) & set(second[0].metadata.values())


def test_content_that_was_replaced_behind_the_key_is_noticed() -> None:
    """Bytes that were exchanged fail authentication, even when the directory names them."""
    version, stored = encrypted(b"some content")
    opened = decrypted(_Opened(version, stored), CONTENT_KEY, list)  # type: ignore[arg-type]
    assert b"".join(opened.blocks()) == b"some content"
    changed = msgspec.structs.replace(version, digest=Digest(bytes(32)))
    with pytest.raises(Damaged, match="failed authentication"):
        decrypted(_Opened(changed, stored), CONTENT_KEY, list)  # type: ignore[arg-type]
