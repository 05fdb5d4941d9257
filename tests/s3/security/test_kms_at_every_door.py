"""Content under named keys at every door: read, copied, compared, and on no disk."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from client_proxy.core.requests import Copy, Stat, Write
from lockstep_store.wire.chunk_stream import CONTENT_TYPE, encode_stream
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Preconditions
from tests.s3.calls import read, refused
from tests.s3.people import document, statement, token_of
from tests.s3.rig import S3Rig
from tests.s3.security.kms_calls import KMS, NOT_FOUND, api, put_default, stored
from tests.s3.security.test_encryption import with_key


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
    s3.put_object(
        Bucket=plain, Key="k", Body=data, CacheControl="no-store", Metadata={"colour": "red"}, Tagging="team=roof"
    )
    files, admin = rig.cluster.proxies["1"].files, rig.cluster.admin_key
    files.copy(Copy(admin, sealed_bucket, "a", source_bucket=plain, source_path="k"))
    got = s3.get_object(Bucket=sealed_bucket, Key="a")
    assert (got["Body"].read(), got["ServerSideEncryption"], got["CacheControl"]) == (data, "aws:kms", "no-store")
    assert got["Metadata"] == {"colour": "red"}
    assert s3.get_object_tagging(Bucket=sealed_bucket, Key="a")["TagSet"] == [{"Key": "team", "Value": "roof"}]
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
