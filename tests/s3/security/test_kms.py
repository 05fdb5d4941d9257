"""SSE-KMS: contents under named keys, at the S3 door and at every other."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import pytest

from client_proxy.core.requests import Read, Stat
from client_proxy.doors.s3.multipart import chosen_parts
from directory_server.features.named_keys import NamedKeys
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import BadRequest, Damaged
from lockstep_store.wire.manifest import Manifest
from tests.s3.calls import read, refused
from tests.s3.rig import S3Rig
from tests.s3.security.kms_calls import DISABLED, KMS, NOT_FOUND, api, put_default, stored
from tests.s3.security.test_encryption import with_key


@pytest.mark.parametrize("size", [0, 1, 17, 300_000, 3_000_000])
def test_an_object_under_a_named_key_reads_as_written(rig: S3Rig, s3: Any, bucket: str, key: str, size: int) -> None:
    """Content, ranges and checksums come back with the key's ARN; what is stored is other bytes, the ETag no MD5."""
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="SHA256", SSEKMSKeyId=key, **KMS)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == data
    assert got["ETag"] == put["ETag"] != f'"{hashlib.md5(data).hexdigest()}"'
    assert got["ChecksumSHA256"] == put["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    id = next(one.id for one in rig.cluster.directory.named_keys.all().keys if one.name == key)
    for answer in (put, got, s3.head_object(Bucket=bucket, Key="k")):
        assert answer["ServerSideEncryption"] == "aws:kms"
        assert answer["SSEKMSKeyId"] == f"arn:aws:kms:us-east-1:000000000000:key/{id}"
        assert "BucketKeyEnabled" not in answer
    if size > 100:
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes=15-{size - 17}")
        assert part["Body"].read() == data[15 : size - 16]
    if size > 16:  # of a single byte, one in 256 is enciphered to itself
        assert stored(rig, bucket) != data
    metadata = rig.cluster.proxies["1"].files.stat(Stat(rig.cluster.admin_key, bucket, "k")).metadata
    assert not any("checksum" in name for name in metadata)
    told = "".join(metadata.values())
    assert not any(one in told for one in (hashlib.md5(data).hexdigest(), got["ChecksumSHA256"]))


def test_a_key_goes_by_many_names(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """Name, alias, id and ARNs of any region and account name the same key; without one it is the cluster's own."""
    id = next(one.id for one in rig.cluster.directory.named_keys.all().keys if one.name == key)
    names = [key, f"alias/{key}", id, f"arn:aws:kms:eu-west-1:123:key/{id}", f"arn:aws:kms:x:1:alias/{key}"]
    for name in names:
        put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSEKMSKeyId=name, **KMS)
        assert put["SSEKMSKeyId"].endswith(f":key/{id}")
    default = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **KMS)["SSEKMSKeyId"]
    named = s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSEKMSKeyId="alias/aws/s3", **KMS)["SSEKMSKeyId"]
    assert default == named != put["SSEKMSKeyId"]
    wrong = {"Bucket": bucket, "Key": "other", "Body": b"x", **KMS}
    for name in ("no-such-key", "alias/no-such-key", f"arn:aws:kms:us-east-1:1:key/{key}x"):
        assert refused(s3.put_object, SSEKMSKeyId=name, **wrong) == NOT_FOUND
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", SSEKMSKeyId="none", **KMS) == NOT_FOUND
    assert refused(s3.head_object, Bucket=bucket, Key="other")[0] == 404


def test_a_disabled_key_neither_reads_nor_writes(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """400 KMS.DisabledException by S3, a clear refusal by every other door, until it is enabled; what is deleted or
    replaced needs no key."""
    keys, files, admin = rig.cluster.directory.named_keys, rig.cluster.proxies["1"].files, rig.cluster.admin_key
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", SSEKMSKeyId=key, **KMS)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", SSEKMSKeyId=key, **KMS)["UploadId"]
    named = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=b"part", **named)
    keys.enable(key, enabled=False)
    assert refused(s3.get_object, Bucket=bucket, Key="k") == DISABLED
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 400
    assert refused(s3.put_object, Bucket=bucket, Key="n", Body=b"x", SSEKMSKeyId=key, **KMS) == DISABLED
    assert refused(s3.copy_object, Bucket=bucket, Key="n", CopySource=f"{bucket}/k") == DISABLED
    assert refused(s3.upload_part, PartNumber=2, Body=b"x", **named) == DISABLED
    assert [line["PartNumber"] for line in s3.list_parts(**named)["Parts"]] == [1]
    with pytest.raises(BadRequest, match="disabled"):
        files.open(Read(admin, bucket, "k"))
    status, _, content = api(rig, "GET", f"files/{bucket}/k")
    assert (status, b"disabled" in content, b"secret" in content) == (400, True, False)
    keys.enable(key, enabled=True)
    assert read(s3, bucket) == b"secret"
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, **named)
    assert read(s3, bucket, "m") == b"part"
    keys.enable(key, enabled=False)
    s3.put_object(Bucket=bucket, Key="k", Body=b"open")
    s3.delete_object(Bucket=bucket, Key="m")
    assert read(s3, bucket) == b"open"
    keys.enable(key, enabled=True)


def test_a_rotated_key_reads_what_it_wrote_before(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """New contents are under the new version, and both are read; also by a directory that is started again."""
    keys = rig.cluster.directory.named_keys
    s3.put_object(Bucket=bucket, Key="old", Body=b"before", SSEKMSKeyId=key, **KMS)
    assert keys.rotate(key).versions == 2
    s3.put_object(Bucket=bucket, Key="new", Body=b"after", SSEKMSKeyId=key, **KMS)
    facts = [
        rig.cluster.proxies["1"].files.stat(Stat(rig.cluster.admin_key, bucket, one)).metadata for one in ("old", "new")
    ]
    assert [base64.b64decode(one["s3:kms-data"])[:4] for one in facts] == [b"\0\0\0\1", b"\0\0\0\2"]
    assert (read(s3, bucket, "old"), read(s3, bucket, "new")) == (b"before", b"after")
    again = NamedKeys(rig.cluster.directory.store, keys._clock, keys._sealer)
    assert [again.open(one).key for one in facts] == [keys.open(one).key for one in facts]
    assert again.open(facts[0] | {"s3:kms-key": "another"}).problem is not None


def test_the_context_is_bound_to_the_content(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """It comes back in its canonical form; facts with another context do not open the data key. What is no context
    is refused."""
    context = base64.b64encode(json.dumps({"z": "1", "a": "ü"}).encode()).decode()
    put = s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        SSEKMSEncryptionContext=context,
        SSEKMSKeyId=key,
        BucketKeyEnabled=True,
        **KMS,
    )
    assert json.loads(base64.b64decode(put["SSEKMSEncryptionContext"])) == {"a": "ü", "z": "1"}
    assert put["BucketKeyEnabled"] is True
    assert s3.head_object(Bucket=bucket, Key="k")["BucketKeyEnabled"] is True
    assert read(s3, bucket) == b"x"
    keys = rig.cluster.directory.named_keys
    facts = dict(rig.cluster.proxies["1"].files.stat(Stat(rig.cluster.admin_key, bucket, "k")).metadata)
    assert keys.open(facts).problem is None
    for changed in ({"s3:kms-context": "{}"}, {"s3:kms-data": "AAAA"}, {"s3:kms-data": "?"}):
        problem = keys.open(facts | changed).problem
        assert problem is not None
        assert problem.code == Damaged.code
    for wrong in ("no base64", *(base64.b64encode(text).decode() for text in (b"[]", b'{"a":1}', b"[" * 5000))):
        asked = {"Bucket": bucket, "Key": "k", "Body": b"", "SSEKMSEncryptionContext": wrong, **KMS}
        assert refused(s3.put_object, **asked) == (400, "InvalidArgument")


def test_who_signs_nothing_asks_for_no_key(s3: Any, nobody: Any, bucket: str, key: str) -> None:
    """And does not learn which keys there are; what a bucket's default says holds for them all the same."""
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    for asked in ({"SSEKMSKeyId": key}, {"SSEKMSKeyId": "no-such-key"}, {}):
        for write in (nobody.put_object, nobody.create_multipart_upload):
            assert refused(write, Bucket=bucket, Key="k", **asked, **KMS) == (400, "InvalidArgument")
    put_default(s3, bucket, key)
    nobody.put_object(Bucket=bucket, Key="k", Body=b"anybody's")
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "aws:kms"
    assert read(s3, bucket) == b"anybody's"


def test_reads_that_say_how_to_encrypt_are_refused(s3: Any, bucket: str, key: str) -> None:
    """S3 wants no encryption header on reads, and a customer's key not for what is under a named one."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSEKMSKeyId=key, **KMS)
    assert refused(s3.get_object, Bucket=bucket, Key="k", **with_key()) == (400, "InvalidRequest")


def test_multipart_uploads_under_a_named_key(
    rig: S3Rig, s3: Any, bucket: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts, copied parts, ranges, parts by number and checksums; other doors read it too and can check it."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 0)
    data = [os.urandom(400_000), os.urandom(5), os.urandom(300_001)]
    s3.put_object(Bucket=bucket, Key="source", Body=data[2])
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", SSEKMSKeyId=key, ChecksumAlgorithm="CRC32", **KMS)
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    assert made["ServerSideEncryption"] == "aws:kms"
    parts = []
    for number, piece in enumerate(data[:2], 1):
        sent = s3.upload_part(PartNumber=number, Body=piece, **named)
        assert (sent["ServerSideEncryption"], sent["SSEKMSKeyId"]) == ("aws:kms", made["SSEKMSKeyId"])
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
    copied = s3.upload_part_copy(PartNumber=3, CopySource=f"{bucket}/source", **named)["CopyPartResult"]
    parts.append({"PartNumber": 3, "ETag": copied["ETag"], "ChecksumCRC32": copied["ChecksumCRC32"]})
    assert refused(s3.upload_part, PartNumber=1, Body=b"x", **named, **with_key()) == (400, "InvalidRequest")
    listed = s3.list_parts(**named)["Parts"]
    assert [line["ChecksumCRC32"] for line in listed] == [one["ChecksumCRC32"] for one in parts]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
    again = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
    assert done["ChecksumCRC32"] == again["ChecksumCRC32"]
    assert (done["ServerSideEncryption"], done["SSEKMSKeyId"]) == ("aws:kms", made["SSEKMSKeyId"])
    whole = b"".join(data)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ChecksumCRC32"]) == (whole, done["ChecksumCRC32"])
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=399990-400100")["Body"].read() == whole[399_990:400_101]
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=3)["Body"].read() == data[2]
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(whole))
    status, headers, content = api(rig, "GET", f"files/{bucket}/k")
    assert (status, content, headers["x-lockstep-digest"]) == (200, whole, manifest.digest.hex())
    assert Manifest.decode(api(rig, "GET", f"manifests/{bucket}/k")[2], manifest.digest) == manifest
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", SSEKMSKeyId=key, **KMS)
    assert read(s3, bucket, "copy") == whole
    assert stored(rig, bucket, "copy") == stored(rig, bucket)
