"""SSE-KMS: contents under named keys, at the S3 door and at every other."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from client_proxy.core.requests import Copy, Read, Stat, Write
from client_proxy.doors.s3.multipart import chosen_parts
from directory_server.features.named_keys import NamedKeys
from lockstep_store.wire.chunk_stream import CONTENT_TYPE, encode_stream
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.errors import BadRequest, Damaged
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Preconditions
from tests.s3.calls import read, refused
from tests.s3.people import document, statement, token_of
from tests.s3.rig import S3Rig
from tests.s3.security.test_encryption import with_key

KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}
DISABLED, NOT_FOUND = (400, "KMS.DisabledException"), (400, "KMS.NotFoundException")


@pytest.fixture
def key(rig: S3Rig, bucket: str) -> str:
    """The name of a new named key."""
    return rig.cluster.directory.named_keys.create(f"key-of-{bucket}").name


def put_default(s3: Any, bucket: str, key: str | None = None, **more: Any) -> None:
    """Let a bucket's contents be under a named key when nobody says otherwise."""
    default = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": default, **more}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def stored(rig: S3Rig, bucket: str, key: str = "k") -> bytes:
    """What file servers and caches have of a file."""
    with rig.cluster.proxies["1"].files.open(Read(rig.cluster.admin_key, bucket, key, raw=True)) as opened:
        return b"".join(opened.blocks())


def api(rig: S3Rig, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request to the plain API by the administrator."""
    told = {"X-Api-Key": rig.cluster.admin_key, "Content-Length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, content = rig.ask(method, f"https://127.0.0.1:5000/api/v1/{path}", told, body)
    return status, {name.lower(): value for name, value in answered}, content


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


# ---------------------------------------------------------------- every door


@pytest.fixture
def sealed_bucket(s3: Any, bucket: str, key: str) -> str:
    """A bucket whose contents are under a named key by default."""
    put_default(s3, bucket, key, BucketKeyEnabled=True)
    return bucket


def test_a_buckets_default_holds_for_what_comes_without_a_wish(
    rig: S3Rig, s3: Any, make_bucket: Callable[..., str], sealed_bucket: str, key: str
) -> None:
    """At the S3 door too, and it is told as it was set; a wish for AES256 or another key is more. A default with a key
    that is not there is kept, as S3 does, and writes then say so."""
    told = s3.get_bucket_encryption(Bucket=sealed_bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert told[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    put = s3.put_object(Bucket=sealed_bucket, Key="k", Body=b"x")
    assert (put["ServerSideEncryption"], put["BucketKeyEnabled"]) == ("aws:kms", True)
    asked = s3.put_object(Bucket=sealed_bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    assert asked["ServerSideEncryption"] == "AES256"
    assert s3.create_multipart_upload(Bucket=sealed_bucket, Key="k")["SSEKMSKeyId"] == put["SSEKMSKeyId"]
    s3.delete_bucket_encryption(Bucket=sealed_bucket)
    assert s3.put_object(Bucket=sealed_bucket, Key="k", Body=b"x")["ServerSideEncryption"] == "AES256"
    other = make_bucket()
    put_default(s3, other, "not-there")
    assert refused(s3.put_object, Bucket=other, Key="k", Body=b"x") == NOT_FOUND
    assert api(rig, "PUT", f"files/{other}/k", b"x")[0] == 400


@pytest.mark.parametrize("size", [0, 5, 300_000, 9_500_000])
def test_the_plain_api_writes_and_reads_such_files(rig: S3Rig, s3: Any, sealed_bucket: str, size: int) -> None:
    """Plain bytes in, plain bytes, ranges, manifests and the plain digest out; stored are others. S3 reads it too."""
    data = os.urandom(size)
    digest = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data)).digest.hex()
    status, headers, _ = api(rig, "PUT", f"files/{sealed_bucket}/k", data, X_Lockstep_Metadata='{"colour": "red"}')
    assert (status, headers["x-lockstep-digest"]) == (201, digest)
    status, headers, content = api(rig, "GET", f"files/{sealed_bucket}/k")
    assert (status, content, headers["etag"], headers["x-lockstep-digest"]) == (200, data, f'"{digest}"', digest)
    assert headers["x-lockstep-metadata"] == '{"colour": "red"}'
    assert api(rig, "HEAD", f"files/{sealed_bucket}/k")[1]["x-lockstep-digest"] == digest
    manifest = Manifest.decode(api(rig, "GET", f"manifests/{sealed_bucket}/k")[2])
    assert manifest.digest.hex() == digest
    if size > 100:
        part = api(rig, "GET", f"files/{sealed_bucket}/k", Range=f"bytes=99-{size - 2}")
        assert (part[0], part[2]) == (206, data[99:-1])
        assert data[:64] not in stored(rig, sealed_bucket)
    got = s3.get_object(Bucket=sealed_bucket, Key="k")
    assert (got["Body"].read(), got["ServerSideEncryption"]) == (data, "aws:kms")


def test_chunk_streams_bring_every_byte(rig: S3Rig, sealed_bucket: str) -> None:
    """A client that leaves out chunks is asked for all of them, then written; a wrong digest saves nothing."""
    data = os.urandom(3_000_000)
    chunks = list(chunk_bytes(data))
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    headers = {
        "Content_Type": CONTENT_TYPE,
        "X_Lockstep_Digest": manifest.digest.hex(),
        "X_Lockstep_Size": str(len(data)),
    }
    thin = b"".join(encode_stream([Chunk(chunk.digest, chunk.length, None) for chunk in chunks]))
    status, _, content = api(rig, "PUT", f"files/{sealed_bucket}/k", thin, **headers)
    assert (status, json.loads(content)["code"]) == (409, "missing_chunks")
    assert set(json.loads(content)["facts"]["digests"]) == {chunk.digest.hex() for chunk in chunks}
    full = b"".join(encode_stream(chunks))
    wrong = headers | {"X_Lockstep_Digest": "00" * 32}
    assert api(rig, "PUT", f"files/{sealed_bucket}/k", full, **wrong)[0] == 400
    assert api(rig, "GET", f"files/{sealed_bucket}/k")[0] == 404
    assert api(rig, "PUT", f"files/{sealed_bucket}/k", full, **headers)[0] == 201
    assert api(rig, "GET", f"files/{sealed_bucket}/k")[2] == data


def test_conditions_name_the_digest_that_people_see(rig: S3Rig, sealed_bucket: str) -> None:
    """If-Match and If-None-Match with a plain digest are decided rightly for writes, deletes and reads."""
    digest = api(rig, "PUT", f"files/{sealed_bucket}/k", b"one")[1]["etag"]
    other = f'"{"00" * 32}"'
    place = f"files/{sealed_bucket}/k"
    assert api(rig, "PUT", place, b"two", If_Match=other)[0] == 412
    assert api(rig, "PUT", place, b"two", If_None_Match=digest)[0] == 412
    assert api(rig, "DELETE", place, If_Match=other)[0] == 412
    assert api(rig, "GET", place, If_None_Match=digest)[0] == 304
    assert api(rig, "PUT", place, b"two", If_Match=digest)[0] == 200
    assert api(rig, "PUT", place, b"three", If_Match=digest)[0] == 412
    now = api(rig, "GET", place)[1]["etag"]
    assert api(rig, "PUT", place, b"three", If_None_Match=digest)[0] == 200
    assert api(rig, "DELETE", place, If_Match=now)[0] == 412
    now = api(rig, "GET", place)[1]["etag"]
    assert api(rig, "DELETE", place, If_Match=now)[0] == 200
    assert api(rig, "PUT", place, b"new", If_Match=now)[0] == 412


def test_who_may_only_write_may_not_name_a_digest(rig: S3Rig, s3: Any, bucket: str) -> None:
    """A condition that names a digest needs the right to read: without it a right and a wrong one are refused alike."""
    token = f"Bearer {token_of(rig, 'wanda')}"
    files = rig.cluster.proxies["1"].files
    digest = files.write(Write(rig.cluster.admin_key, bucket, "k", size=3), [b"one"]).version.digest.hex()

    def let(*actions: str) -> None:
        allowed = statement("Allow", "wanda", list(actions), f"{bucket}/*")
        s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed))

    def put(condition: str) -> int:
        told = {"Authorization": token, "If-Match": f'"{condition}"', "Content-Length": "3"}
        return rig.ask("PUT", f"https://127.0.0.1:5000/api/v1/files/{bucket}/k", told, b"two")[0]

    let("s3:PutObject")
    assert [put("00" * 32), put(digest)] == [403, 403]
    let("s3:PutObject", "s3:GetObject")
    assert put("00" * 32) == 412
    assert put(digest) == 200
    assert put(digest) == 412


def test_copies_at_other_doors(
    rig: S3Rig, s3: Any, make_bucket: Callable[..., str], sealed_bucket: str, key: str
) -> None:
    """Into a bucket with a default they are encrypted, between equal keys no byte moves, elsewhere they keep their key;
    moves keep it too; old versions are restored."""
    plain = make_bucket(versioning=True)
    data = os.urandom(300_000)
    s3.put_object(Bucket=plain, Key="k", Body=data, CacheControl="no-store", Metadata={"colour": "red"})
    files, admin = rig.cluster.proxies["1"].files, rig.cluster.admin_key
    files.copy(Copy(admin, sealed_bucket, "a", source_bucket=plain, source_path="k"))
    got = s3.get_object(Bucket=sealed_bucket, Key="a")
    assert (got["Body"].read(), got["ServerSideEncryption"], got["CacheControl"]) == (data, "aws:kms", "no-store")
    assert got["Metadata"] == {"colour": "red"}
    files.copy(
        Copy(admin, sealed_bucket, "b", source_bucket=sealed_bucket, source_path="a", metadata={"colour": "blue"})
    )
    assert stored(rig, sealed_bucket, "b") == stored(rig, sealed_bucket, "a")
    files.copy(Copy(admin, plain, "c", source_bucket=sealed_bucket, source_path="a"))
    assert stored(rig, plain, "c") == stored(rig, sealed_bucket, "a")
    files.copy(Copy(admin, plain, "d", source_bucket=sealed_bucket, source_path="b", move=True))
    for bucket, name in ((sealed_bucket, "a"), (plain, "c"), (plain, "d")):
        assert api(rig, "GET", f"files/{bucket}/{quote(name)}")[2] == data
        assert s3.head_object(Bucket=bucket, Key=name)["ServerSideEncryption"] == "aws:kms"
    first = files.stat(Stat(admin, plain, "c")).version
    files.write(Write(admin, plain, "c", size=5), [b"newer"])
    files.copy(
        Copy(
            admin, plain, "c", source_bucket=plain, source_path="c", source_version=first, preconditions=Preconditions()
        )
    )
    assert api(rig, "GET", f"files/{plain}/c")[2] == data
    s3.put_object(Bucket=plain, Key="customer", Body=b"theirs", **with_key())
    files.copy(Copy(admin, sealed_bucket, "customer", source_bucket=plain, source_path="customer"))
    assert read(s3, sealed_bucket, "customer", **with_key()) == b"theirs"


def test_copies_at_the_s3_door(
    rig: S3Rig, s3: Any, make_bucket: Callable[..., str], sealed_bucket: str, key: str
) -> None:
    """They are under what is asked for, or the target's default; equal keys and contexts move no byte."""
    plain, data = make_bucket(), os.urandom(70_000)
    s3.put_object(Bucket=sealed_bucket, Key="a", Body=data, ChecksumAlgorithm="SHA1")
    source = {"Bucket": sealed_bucket, "Key": "a"}

    def copy(bucket: str, name: str, **more: Any) -> Any:
        made = s3.copy_object(Bucket=bucket, Key=name, CopySource=source, **more)
        customer = {word: one for word, one in more.items() if word.startswith("SSECustomer")}
        got = s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED", **customer)
        assert got["Body"].read() == data
        assert got["ETag"] == made["CopyObjectResult"]["ETag"]
        assert got.get("ServerSideEncryption") == made.get("ServerSideEncryption")
        return got

    assert copy(sealed_bucket, "b")["ServerSideEncryption"] == "aws:kms"
    assert stored(rig, sealed_bucket, "b") == stored(rig, sealed_bucket, "a")
    assert copy(plain, "c")["ServerSideEncryption"] == "AES256"
    assert stored(rig, plain, "c") == data
    same = copy(plain, "d", SSEKMSKeyId=key, MetadataDirective="REPLACE", Metadata={"a": "b"}, **KMS)
    assert (same["Metadata"], "ChecksumSHA1" in same) == ({"a": "b"}, True)
    assert stored(rig, plain, "d") == stored(rig, sealed_bucket, "a")
    other = copy(plain, "e", **KMS)
    assert other["SSEKMSKeyId"] != same["SSEKMSKeyId"]
    context = base64.b64encode(b'{"a":"b"}').decode()
    copy(plain, "f", SSEKMSKeyId=key, SSEKMSEncryptionContext=context, **KMS)
    assert stored(rig, plain, "f") != stored(rig, sealed_bucket, "a")
    assert "ChecksumCRC32" in copy(plain, "g", SSEKMSKeyId=key, ChecksumAlgorithm="CRC32", **KMS)
    assert copy(plain, "h", **with_key())["SSECustomerAlgorithm"] == "AES256"
    made = s3.copy_object(Bucket=sealed_bucket, Key="c", CopySource={"Bucket": plain, "Key": "c"})
    assert made["ServerSideEncryption"] == "aws:kms"


def test_policies_demand_an_encryption(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """The condition keys that say how an upload is to be encrypted decide."""
    resource = f"{bucket}/*"
    wrong_kind = {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}
    wrong_key = {"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key}}
    denied = [statement("Deny", "*", "s3:PutObject", resource, Condition=one) for one in (wrong_kind, wrong_key)]
    s3.put_bucket_policy(Bucket=bucket, Policy=document(*denied))
    put = {"Bucket": bucket, "Key": "k", "Body": b"x"}
    assert refused(s3.put_object, **put) == (403, "AccessDenied")
    assert refused(s3.put_object, ServerSideEncryption="AES256", **put) == (403, "AccessDenied")
    assert refused(s3.put_object, **put, **KMS) == (403, "AccessDenied")
    s3.put_object(SSEKMSKeyId=key, **put, **KMS)


def test_the_directorys_disk_has_no_key(rig: S3Rig, s3: Any, bucket: str, key: str) -> None:
    """The keys' material stands sealed in the metadata: neither it nor a data key is there in the clear."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSEKMSKeyId=key, **KMS)
    version = rig.cluster.proxies["1"].files.stat(Stat(rig.cluster.admin_key, bucket, "k"))
    assert version.data_key is not None
    assert version.data_key.key not in repr(version)
    data_key = bytes.fromhex(version.data_key.key)
    known = rig.cluster.directory.named_keys._read()
    secrets = [data_key, *(material for one in known.values() for material in one.materials)]
    rig.cluster.directory.store.write(lambda tx: None)
    folder = rig.cluster.settings.metadata_file.parent
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert len(kept) > 10_000
    for secret in secrets:
        assert secret not in kept
        assert secret.hex().encode() not in kept
        assert base64.b64encode(secret) not in kept
    assert "materials" not in repr(next(iter(known.values())))
