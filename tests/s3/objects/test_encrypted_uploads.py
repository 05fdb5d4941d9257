"""Customers' keys in multipart uploads: each part is encrypted by itself, and completing needs no key."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import zlib
from io import BytesIO
from typing import Any

import msgspec
import pytest
from boto3.s3.transfer import TransferConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from client_proxy.core.requests import Copy, Read, Stat
from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.encryption.encrypted_content import DecryptedContent, EncryptedContent, part_of
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.errors import BadRequest, Damaged
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.uploads import VersionPart
from tests.s3.calls import refused
from tests.s3.rig import S3Rig
from tests.s3.security.test_encryption import CONTENT_KEY, KEY, OTHER, with_key

MIB = 1024**2


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size may be put together: what is tested does not depend on it."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 0)


def key_texts(key: bytes = KEY) -> dict[str, Any]:
    """boto3's parameters for operations for which it does not encode the key itself."""
    texts = [base64.b64encode(raw).decode() for raw in (key, hashlib.md5(key).digest())]
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": texts[0], "SSECustomerKeyMD5": texts[1]}


def begin(s3: Any, bucket: str, **more: Any) -> dict[str, Any]:
    """What names the upload of the key "k", begun under KEY."""
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", **with_key(), **more)
    assert made["SSECustomerAlgorithm"] == "AES256"
    assert "ServerSideEncryption" not in made
    return {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}


def send(s3: Any, upload: dict[str, Any], number: int, data: bytes, **more: Any) -> dict[str, Any]:
    """Upload a part; its line in a completion."""
    answer = s3.upload_part(PartNumber=number, Body=data, **upload, **with_key(), **more)
    assert answer["SSECustomerKeyMD5"] == base64.b64encode(hashlib.md5(KEY).digest()).decode()
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(s3: Any, upload: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> Any:
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **more)


def put_in_parts(s3: Any, bucket: str, data: list[bytes], **more: Any) -> Any:
    """Put `data` as the parts 1, 4, 7, … of "k"."""
    upload = begin(s3, bucket, **more)
    parts = [send(s3, upload, 3 * index + 1, piece) for index, piece in enumerate(data)]
    return complete(s3, upload, parts)


def test_an_object_put_in_parts_reads_with_its_key(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Whole, by ranges across parts, and by parts; a copy made by another door too; without the key by nobody."""
    data = [os.urandom(size) for size in (700_000, 1, 0, 300_017, 16)]
    whole = b"".join(data)
    done = put_in_parts(s3, bucket, data)
    assert done["ETag"].endswith('-5"')
    assert "ServerSideEncryption" not in done
    files, admin = rig.cluster.proxies["1"].files, rig.cluster.admin_key
    files.copy(Copy(admin, bucket, "copy", source_bucket=bucket, source_path="k", metadata={"colour": "red"}))
    for key in ("k", "copy"):
        got = s3.get_object(Bucket=bucket, Key=key, **with_key())
        assert got["Body"].read() == whole
        assert got["SSECustomerAlgorithm"] == "AES256"
        for start, stop in ((0, 1), (699_999, 700_001), (699_990, 900_000), (1_000_017, 1_000_034)):
            part = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **with_key())
            assert part["Body"].read() == whole[start:stop]
        assert refused(s3.get_object, Bucket=bucket, Key=key) == (400, "InvalidRequest")
        assert refused(s3.get_object, Bucket=bucket, Key=key, **with_key(OTHER)) == (403, "AccessDenied")
        with pytest.raises(BadRequest, match="SSE-C"):
            files.open(Read(admin, bucket, key))
    for number, piece in enumerate(data, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number, **with_key())
        assert (got["Body"].read(), got["PartsCount"]) == (piece, 5)
    head = s3.head_object(Bucket=bucket, Key="k", PartNumber=4, **with_key())
    assert head["ContentLength"] == 300_017
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 400


def test_every_part_is_sent_with_the_uploads_key(s3: Any, bucket: str) -> None:
    """Without a key, with another, or with one where the upload was begun without: 400 InvalidRequest."""
    upload = begin(s3, bucket)
    part = {"PartNumber": 1, "Body": b"x", **upload}
    assert refused(s3.upload_part, **part) == (400, "InvalidRequest")
    assert refused(s3.upload_part, **part, **with_key(OTHER)) == (400, "InvalidRequest")
    s3.put_object(Bucket=bucket, Key="source", Body=b"y")
    copied = {"PartNumber": 1, "CopySource": f"{bucket}/source", **upload}
    assert refused(s3.upload_part_copy, **copied) == (400, "InvalidRequest")
    assert refused(s3.upload_part_copy, **copied, **with_key(OTHER)) == (400, "InvalidRequest")
    one = send(s3, upload, 1, b"x")
    assert refused(s3.list_parts, **upload, **key_texts(OTHER)) == (400, "InvalidRequest")
    wrong = {"MultipartUpload": {"Parts": [one]}, **upload, **with_key(OTHER)}
    assert refused(s3.complete_multipart_upload, **wrong) == (400, "InvalidRequest")
    assert [line["PartNumber"] for line in s3.list_parts(**upload)["Parts"]] == [1]
    complete(s3, upload, [one])
    plain = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = {"PartNumber": 1, "Body": b"x", "Bucket": bucket, "Key": "k", "UploadId": plain}
    assert refused(s3.upload_part, **part, **with_key()) == (400, "InvalidRequest")


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
def test_checksums_are_known_to_who_has_the_key(rig: S3Rig, s3: Any, bucket: str, kind: str) -> None:
    """They are sealed, parts' and whole; with the key they are compared at completion and told when reading."""
    data = [os.urandom(300_000), os.urandom(200_000)]
    upload = begin(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType=kind)
    parts = [send(s3, upload, number, piece, ChecksumAlgorithm="CRC32") for number, piece in enumerate(data, 1)]
    sums = [zlib.crc32(piece).to_bytes(4, "big") for piece in data]
    texts = [base64.b64encode(one).decode() for one in sums]
    listed = s3.list_parts(**upload)["Parts"]
    assert not any("ChecksumCRC32" in line for line in listed)
    assert [line["ChecksumCRC32"] for line in s3.list_parts(**upload, **key_texts())["Parts"]] == texts
    told = [part | {"ChecksumCRC32": text} for part, text in zip(parts, texts, strict=True)]
    wrong = {"MultipartUpload": {"Parts": told}, **upload}
    assert refused(s3.complete_multipart_upload, **wrong) == (400, "InvalidRequest")
    wrong["MultipartUpload"] = {"Parts": [told[0] | {"ChecksumCRC32": texts[1]}, told[1]]}
    assert refused(s3.complete_multipart_upload, **wrong, **with_key()) == (400, "InvalidPart")
    full = zlib.crc32(b"".join(data)).to_bytes(4, "big")
    composite = base64.b64encode(zlib.crc32(b"".join(sums)).to_bytes(4, "big")).decode() + "-2"
    expected = base64.b64encode(full).decode() if kind == "FULL_OBJECT" else composite
    first = complete(s3, upload, told, **with_key())
    again = complete(s3, upload, told, **with_key())
    assert first["ChecksumCRC32"] == again["ChecksumCRC32"] == expected
    assert (first["ChecksumType"], first["ETag"]) == (kind, again["ETag"])
    assert "ChecksumCRC32" not in complete(s3, upload, parts)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **with_key())
    assert (got["Body"].read(), got["ChecksumCRC32"]) == (b"".join(data), expected)
    part = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED", **with_key())
    assert (part["Body"].read(), part["ChecksumCRC32"]) == (data[1], texts[1])
    asked = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["Checksum", "ObjectParts", "ETag"]}
    known = s3.get_object_attributes(**asked, **key_texts())
    assert known["Checksum"]["ChecksumCRC32"] == expected.partition("-")[0]
    assert [line["ChecksumCRC32"] for line in known["ObjectParts"]["Parts"]] == texts
    assert refused(s3.get_object_attributes, **asked) == (400, "InvalidRequest")
    version = rig.cluster.proxies["1"].files.stat(Stat(rig.cluster.admin_key, bucket, "k"))
    kept = "".join(version.metadata.values()) + str(
        rig.cluster.proxies["1"].files.parts_of(rig.cluster.admin_key, version)
    )
    assert not any(text in kept for text in (*texts, expected))
    assert not any(hashlib.md5(piece).hexdigest() in kept for piece in data)


def test_parts_are_copied_from_under_any_key_to_another(s3: Any, bucket: str) -> None:
    """From plain, from another customer's key, from an object put in parts; whole and by ranges."""
    data = os.urandom(400_000)
    s3.put_object(Bucket=bucket, Key="plain", Body=data)
    s3.put_object(Bucket=bucket, Key="sealed", Body=data, **with_key(OTHER))
    put_in_parts(s3, bucket, [data[:150_000], data[150_000:]])
    s3.copy_object(Bucket=bucket, Key="parts", CopySource=f"{bucket}/k", **with_key(), **from_key(KEY))
    put_in_parts(s3, bucket, [data[:150_000], data[150_000:]])
    sources: dict[str, dict[str, Any]] = {"plain": {}, "sealed": from_key(OTHER), "k": from_key(KEY)}
    upload = {"Bucket": bucket, "Key": "target"}
    upload["UploadId"] = s3.create_multipart_upload(**upload, **with_key())["UploadId"]
    parts, expected = [], b""
    for source, key in sources.items():
        for span in (None, "bytes=149990-150100"):
            more = {"CopySourceRange": span} if span else {}
            number = len(parts) + 1
            named = {"PartNumber": number, "CopySource": f"{bucket}/{source}", **upload, **more}
            if key:
                assert refused(s3.upload_part_copy, **named, **with_key()) == (400, "InvalidRequest")
            made = s3.upload_part_copy(**named, **with_key(), **key)
            parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
            expected += data[149_990:150_101] if span else data
    complete(s3, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="target", **with_key())["Body"].read() == expected
    assert s3.get_object(Bucket=bucket, Key="parts", **with_key())["Body"].read() == data
    plain = {"Bucket": bucket, "Key": "open"}
    plain["UploadId"] = s3.create_multipart_upload(**plain)["UploadId"]
    made = s3.upload_part_copy(PartNumber=1, CopySource=f"{bucket}/sealed", **plain, **from_key(OTHER))
    complete(s3, plain, [{"PartNumber": 1, "ETag": made["CopyPartResult"]["ETag"]}])
    assert s3.get_object(Bucket=bucket, Key="open")["Body"].read() == data


def from_key(key: bytes) -> dict[str, Any]:
    """boto3's parameters for the key that a copy's source is under."""
    return {f"CopySource{name}": value for name, value in with_key(key).items()}


def test_the_transfer_manager_sends_and_reads_with_a_key(s3: Any, bucket: str, seed: int) -> None:
    """boto3's own way of large files, which sends the key along with everything."""
    data = random.Random(seed).randbytes(12 * MIB + 5)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(BytesIO(data), bucket, "k", Config=config, ExtraArgs=with_key())
    target = BytesIO()
    s3.download_fileobj(bucket, "k", target, Config=config, ExtraArgs=with_key())
    assert target.getvalue() == data


def test_equal_parts_are_never_stored_as_equal_bytes(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Each part that is sent has a salt of its own, the same part sent again too: nobody can tell that they are equal,
    or how they differ."""
    upload = begin(s3, bucket)
    data = bytes(300_000)
    first = send(s3, upload, 1, data)
    parts = [send(s3, upload, number, data) for number in (1, 2, 3)]
    assert len({part["ETag"] for part in [first, *parts]}) == 4
    complete(s3, upload, parts)
    opened = rig.cluster.proxies["1"].files.open(Read(rig.cluster.admin_key, bucket, "k", raw=True))
    with opened:
        stored = b"".join(opened.blocks())
        digests = [digest for digest, _ in opened.manifest().chunks]
    assert len(set(digests)) == len(digests)
    assert not any(stored[at : at + 16] == stored[at + 300_000 : at + 300_016] for at in range(0, 300_000, 16))
    assert s3.get_object(Bucket=bucket, Key="k", **with_key())["Body"].read() == data * 3


def test_the_masters_note_has_what_it_takes_to_read(rig: S3Rig, s3: Any, bucket: str) -> None:
    """A directory restored from an older backup makes the version again from its master's note: the table of its parts
    is in it, however long."""
    put_in_parts(s3, bucket, [os.urandom(20) for _ in range(40)])
    servers = list(rig.cluster.servers.values())
    for server in servers:
        server.store.keep_notes()
    notes = [note for server in servers for note in server.store.notes(0, 2**60, 1000)]
    [version] = [note.version for note in notes if (note.version.bucket, note.version.path) == (bucket, "k")]
    assert len(version.settings["parts"]) > 4096


# ---------------------------------------------------------------- the machinery by itself


class _Opened:
    """A stored content in memory, as the file store would open it."""

    def __init__(self, version: FileVersion, data: bytes, manifest: Manifest) -> None:
        self.version, self.data, self._manifest = version, data, manifest

    def blocks(self, start: int = 0, stop: int | None = None) -> Any:
        stop = len(self.data) if stop is None else stop
        yield from (self.data[at : min(at + 7, stop)] for at in range(start, stop, 7))

    def manifest(self) -> Manifest:
        return self._manifest


def composed(pieces: list[bytes]) -> tuple[_Opened, list[VersionPart]]:
    """A completed upload of `pieces` under CONTENT_KEY, and the table of its parts."""
    upload = CONTENT_KEY.new_metadata()
    stored, parts, entries = b"", [], []
    for number, piece in enumerate(pieces, 1):
        seal = EncryptedContent(CONTENT_KEY, part_of(upload, CONTENT_KEY, number))
        encrypted = b"".join(seal.blocks([piece]))
        parts.append(VersionPart(number, len(piece), seal.metadata | seal.trailing_metadata({"s3:etag": "0" * 32})))
        entries += [(chunk.digest, chunk.length) for chunk in chunk_blocks([encrypted]) if chunk.length]
        stored += encrypted
    manifest = Manifest(entries)
    version = FileVersion("b", "k", "1", manifest.digest, len(stored), "ada", 0.0, metadata=upload)
    return _Opened(version, stored, manifest), parts


def decrypted_upload(opened: _Opened, parts: list[VersionPart]) -> DecryptedContent:
    return DecryptedContent(opened, CONTENT_KEY, lambda: parts)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_range_across_parts_reads_as_written(data: st.DataObject) -> None:
    """Whatever the parts' sizes and the blocks in which the stored bytes come."""
    pieces = data.draw(st.lists(st.binary(max_size=90), min_size=1, max_size=7))
    opened, parts = composed(pieces)
    whole = b"".join(pieces)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    reading = decrypted_upload(opened, parts)
    assert b"".join(reading.blocks(start, stop)) == whole[start:stop]
    assert b"".join(reading.blocks()) == whole


def test_parts_that_were_moved_or_exchanged_are_noticed() -> None:
    """A changed order, a part of another upload, another size, and bytes moved over a boundary fail authentication; the
    parts that were not touched can still be read."""
    first, parts = composed([b"a" * 50, b"b" * 50, b"c" * 50])
    other, others = composed([b"x" * 50, b"y" * 50, b"z" * 50])
    entries = first.manifest().chunks
    swapped = Manifest([entries[1], entries[0], entries[2]])
    data = first.data[50:100] + first.data[:50] + first.data[100:]
    renumbered = [parts[1]._replace(number=1), parts[0]._replace(number=2), parts[2]]
    for changed in (
        decrypted_upload(_Opened(first.version, data, swapped), renumbered),
        decrypted_upload(_Opened(first.version, data, swapped), parts),
        decrypted_upload(_Opened(first.version, other.data, other.manifest()), others),
        decrypted_upload(first, [parts[0]._replace(size=40), parts[1]._replace(size=60), parts[2]]),
    ):
        with pytest.raises(Damaged, match="failed authentication"):
            b"".join(changed.blocks())
    with pytest.raises(Damaged, match="failed authentication"):
        b"".join(decrypted_upload(first, parts[:2]).blocks())
    mixed = Manifest([entries[0], other.manifest().chunks[1], entries[2]])
    opened = decrypted_upload(
        _Opened(first.version, first.data[:50] + other.data[50:100] + first.data[100:], mixed), parts
    )
    assert b"".join(opened.blocks(0, 50)) == b"a" * 50
    assert b"".join(opened.blocks(100, 150)) == b"c" * 50
    with pytest.raises(Damaged, match="failed authentication"):
        list(opened.blocks(40, 60))
    gone = msgspec.structs.replace(first.version, metadata={})
    with pytest.raises(Damaged):
        b"".join(decrypted_upload(_Opened(gone, first.data, first.manifest()), parts).blocks())
