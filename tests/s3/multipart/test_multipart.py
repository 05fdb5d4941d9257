"""Multipart uploads through boto3: sent in parts, in any order and by anyone, and one object in the end."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.doors.s3.protocol import checksums
from directory_server.maintenance.fsck import check_metadata
from file_server.metrics import RECEIVED_BYTES
from lockstep_store.wire.errors import Unavailable
from tests.s3.calls import refused
from tests.s3.people import token_of
from tests.s3.rig import S3Rig

MIB = 1024 * 1024


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size may be put together: what is tested does not depend on it."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 0)


@pytest.fixture(autouse=True)
def books(rig: S3Rig) -> Any:
    """After every test the directory's tables agree with each other, references included."""
    yield
    rig.cluster.pass_time(1.0)  # whoever was taken for unreachable is heard again
    counts, problems, _ = check_metadata(rig.cluster.directory.store)
    assert not problems
    assert counts["blob"] >= 0


def begin(s3: Any, bucket: str, key: str = "k", **said: Any) -> str:
    return str(s3.create_multipart_upload(Bucket=bucket, Key=key, **said)["UploadId"])


def send(s3: Any, bucket: str, id: str, number: int, data: bytes, key: str = "k", **said: Any) -> dict[str, Any]:
    """One part, in the form in which a completion names it."""
    sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=number, Body=data, **said)
    sums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
    return {"PartNumber": number, "ETag": sent["ETag"], **sums}


def complete(s3: Any, bucket: str, id: str, parts: list[dict[str, Any]], key: str = "k", **said: Any) -> Any:
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id, MultipartUpload={"Parts": parts}, **said)


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def test_parts_become_one_object(s3: Any, bucket: str, seed: int) -> None:
    """Bytes, ETag, type, metadata and headers are those of the upload; before, nothing is there; afterwards no upload
    is."""
    pieces = [random.Random(seed + n).randbytes(size) for n, size in enumerate((5 * MIB, 5 * MIB + 17, 1234))]
    said = {
        "ContentType": "a/b",
        "Metadata": {"color": "red"},
        "CacheControl": "no-cache",
        "StorageClass": "STANDARD_IA",
    }
    id = begin(s3, bucket, Tagging="a=1&b=2", **said)
    parts = [send(s3, bucket, id, n, piece) for n, piece in ((2, pieces[1]), (1, pieces[0]), (7, pieces[2]))]
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    done = complete(s3, bucket, id, sorted(parts, key=lambda part: part["PartNumber"]))
    expected = hashlib.md5(b"".join(map(md5, pieces)), usedforsecurity=False).hexdigest() + "-3"
    assert done["ETag"] == f'"{expected}"'
    assert done["Location"].endswith(f"/{bucket}/k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(pieces)
    assert {name: got[name] for name in said} == said
    assert got["ETag"] == done["ETag"]
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert [(tag["Key"], tag["Value"]) for tag in tags] == [("a", "1"), ("b", "2")]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refused(s3.list_parts, Bucket=bucket, Key="k", UploadId=id) == (404, "NoSuchUpload")
    ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert ranged["Body"].read() == b"".join(pieces)[5 * MIB - 3 : 5 * MIB + 3]


def test_completing_sends_no_content(s3: Any, bucket: str, seed: int) -> None:
    """The file servers are sent no byte of the parts again."""
    data = [random.Random(seed + n).randbytes(5 * MIB) for n in range(3)]
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n + 1, piece) for n, piece in enumerate(data)]
    before = _received_bytes()
    complete(s3, bucket, id, parts)
    assert _received_bytes() == before
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(data)


def _received_bytes() -> float:
    """What came to all file servers so far, as masters and as replicas."""
    return sum(RECEIVED_BYTES.labels(hop)._value.get() for hop in ("master", "replica"))


@pytest.mark.usefixtures("small_parts")
def test_what_the_master_lacks_is_sent(rig: S3Rig, s3: Any, bucket: str, seed: int) -> None:
    """Parts whose copies are on different file servers are put together all the same."""
    # So many that the two servers of the whole, which follow from the bucket's name, do not have them all by chance.
    data = [random.Random(seed + n).randbytes(300_000) for n in range(12)]
    for n, piece in enumerate(data):
        s3.put_object(Bucket=bucket, Key=f"elsewhere-{n}", Body=piece)  # each on servers of its own
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n + 1, piece) for n, piece in enumerate(data)]
    before = _received_bytes()
    complete(s3, bucket, id, parts)
    assert _received_bytes() > before
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(data)


def test_files_are_sent_by_the_transfer_manager(s3: Any, bucket: str, seed: int) -> None:
    """boto3's own way of sending large files works, and so does its way of reading them."""
    data = random.Random(seed).randbytes(17 * MIB + 5)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(BytesIO(data), bucket, "k", Config=config, ExtraArgs={"ContentType": "x/y"})
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"][-3:], head["ContentType"]) == (len(data), '-4"', "x/y")
    target = BytesIO()
    s3.download_fileobj(bucket, "k", target, Config=config)
    assert target.getvalue() == data
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data


@pytest.mark.usefixtures("small_parts")
def test_many_parts_at_once(s3: Any, bucket: str, seed: int) -> None:
    """Twenty parts from eight threads, some sent twice, are one right object."""
    data = [random.Random(seed + n).randbytes(300_000 + n) for n in range(20)]
    id = begin(s3, bucket)
    with ThreadPoolExecutor(8) as pool:
        again = [pool.submit(send, s3, bucket, id, n + 1, b"first try") for n in range(0, 20, 3)]
        for one in again:
            one.result()
        parts = list(pool.map(lambda n: send(s3, bucket, id, n + 1, data[n]), range(20)))
    complete(s3, bucket, id, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(data)


@pytest.mark.usefixtures("small_parts")
def test_a_part_sent_again_replaces_the_first(s3: Any, bucket: str) -> None:
    """The later one counts; the ETag of the first is refused."""
    id = begin(s3, bucket)
    first, second = send(s3, bucket, id, 1, b"first"), send(s3, bucket, id, 1, b"second")
    with pytest.raises(ClientError) as error:
        complete(s3, bucket, id, [first])
    assert error.value.response["Error"]["Code"] == "InvalidPart"
    complete(s3, bucket, id, [second])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"second"


@pytest.mark.usefixtures("small_parts")
def test_parts_that_are_not_named_are_left_out(s3: Any, bucket: str) -> None:
    """A completion may name some of the parts; the others go with the upload."""
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n, b"%d" % n) for n in (1, 2, 3, 4)]
    complete(s3, bucket, id, [parts[1], parts[3]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"24"


def test_completions_that_cannot_be(s3: Any, bucket: str) -> None:
    """Each wrong list is refused by its own name, and the upload can still be completed."""
    id = begin(s3, bucket)
    one, two = send(s3, bucket, id, 1, b"a"), send(s3, bucket, id, 2, b"b")
    unknown = {"PartNumber": 3, "ETag": one["ETag"]}

    def code(parts: list[dict[str, Any]], **said: Any) -> str:
        return refused(
            s3.complete_multipart_upload,
            Bucket=bucket,
            Key=said.pop("Key", "k"),
            UploadId=said.pop("UploadId", id),
            MultipartUpload={"Parts": parts},
            **said,
        )[1]

    assert code([]) == "MalformedXML"
    assert code([two, one]) == "InvalidPartOrder"
    assert code([one, one]) == "InvalidPartOrder"
    assert code([one, unknown]) == "InvalidPart"
    assert code([one | {"ETag": '"0123456789abcdef0123456789abcdef"'}]) == "InvalidPart"
    assert code([one, two]) == "EntityTooSmall"
    assert code([one], MpuObjectSize=7) == "InvalidRequest"
    assert code([one], Key="other") == "NoSuchUpload"
    assert code([one], UploadId="nonsense") == "NoSuchUpload"
    assert code([one], UploadId="x" * 300) == "NoSuchUpload"
    assert code([one], IfMatch='"x"') == "NoSuchKey"
    complete(s3, bucket, id, [one], MpuObjectSize=1, IfNoneMatch="*")
    id = begin(s3, bucket)
    one = send(s3, bucket, id, 1, b"a")
    assert code([one], UploadId=id, IfNoneMatch="*") == "PreconditionFailed"
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


def test_requests_for_parts_that_cannot_be(s3: Any, bucket: str) -> None:
    """Part numbers end at 10,000, and an upload belongs to one key."""
    id = begin(s3, bucket)
    for number in (0, 10_001):
        wrong = {"Bucket": bucket, "Key": "k", "UploadId": id, "PartNumber": number, "Body": b"x"}
        assert refused(s3.upload_part, **wrong) == (400, "InvalidArgument")
    wrong = {"Bucket": bucket, "Key": "other", "UploadId": id, "PartNumber": 1, "Body": b"x"}
    assert refused(s3.upload_part, **wrong) == (404, "NoSuchUpload")
    assert refused(s3.create_multipart_upload, Bucket="no-such-bucket", Key="k") == (404, "NoSuchBucket")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


def test_an_aborted_upload_is_gone(s3: Any, bucket: str) -> None:
    """Everything that is asked of it afterwards is NoSuchUpload."""
    id = begin(s3, bucket)
    part = send(s3, bucket, id, 1, b"x" * 300_000)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)
    gone = {"Bucket": bucket, "Key": "k", "UploadId": id}
    assert refused(s3.abort_multipart_upload, **gone) == (404, "NoSuchUpload")
    assert refused(s3.list_parts, **gone) == (404, "NoSuchUpload")
    assert refused(s3.upload_part, PartNumber=1, Body=b"y", **gone) == (404, "NoSuchUpload")
    assert refused(s3.complete_multipart_upload, MultipartUpload={"Parts": [part]}, **gone) == (404, "NoSuchUpload")
    assert refused(s3.upload_part_copy, PartNumber=1, CopySource=f"{bucket}/k", **gone) == (404, "NoSuchUpload")


@pytest.mark.usefixtures("small_parts")
def test_completing_again_gives_the_same_answer(s3: Any, make_bucket: Callable[..., str]) -> None:
    """Also when another write has replaced the key meanwhile, and there is never a second version; a completion of
    other parts is not that one's repeat."""
    for versioning in (False, True):
        bucket = make_bucket(versioning=versioning)
        id = begin(s3, bucket)
        parts = [send(s3, bucket, id, 1, b"a"), send(s3, bucket, id, 2, b"b")]
        first = complete(s3, bucket, id, parts)
        second = complete(s3, bucket, id, parts)
        s3.put_object(Bucket=bucket, Key="k", Body=b"other")
        third = complete(s3, bucket, id, parts)
        for answer in (second, third):
            assert (answer["ETag"], answer.get("VersionId")) == (first["ETag"], first.get("VersionId"))
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"other"
        assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == (2 if versioning else 1)
        elsewhere = {"Bucket": bucket, "Key": "other", "UploadId": id, "MultipartUpload": {"Parts": parts}}
        assert refused(s3.complete_multipart_upload, **elsewhere) == (404, "NoSuchUpload")
        other = {"Bucket": bucket, "Key": "k", "UploadId": id, "MultipartUpload": {"Parts": parts[:1]}}
        assert refused(s3.complete_multipart_upload, **other) == (404, "NoSuchUpload")


@pytest.mark.usefixtures("small_parts")
def test_racing_completions_and_aborts_have_one_winner(s3: Any, bucket: str, seed: int) -> None:
    """Either the object is there, whole, or the upload was aborted; whoever was told that it did it did."""
    for round in range(8):
        id = begin(s3, bucket, f"k{round}")
        data = [random.Random(seed + round * 10 + n).randbytes(1000) for n in range(3)]
        parts = [send(s3, bucket, id, n + 1, piece, f"k{round}") for n, piece in enumerate(data)]
        told: list[str] = []
        refusals: list[str] = []
        start = threading.Barrier(3)

        def try_to(
            name: str,
            call: Callable[[], Any],
            start: Any = start,
            told: list[str] = told,
            refusals: list[str] = refusals,
        ) -> None:
            start.wait()
            try:
                call()
                told.append(name)
            except ClientError as error:
                refusals.append(error.response["Error"]["Code"])

        calls = [
            ("all", lambda id=id, parts=parts, round=round: complete(s3, bucket, id, parts, f"k{round}")),
            ("some", lambda id=id, parts=parts, round=round: complete(s3, bucket, id, parts[:2], f"k{round}")),
            (
                "abort",
                lambda id=id, round=round: s3.abort_multipart_upload(Bucket=bucket, Key=f"k{round}", UploadId=id),
            ),
        ]
        threads = [threading.Thread(target=try_to, args=one) for one in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 1
        assert refusals == ["NoSuchUpload"] * 2
        expected = {"all": b"".join(data), "some": b"".join(data[:2])}.get(told[0])
        if expected is None:
            assert refused(s3.head_object, Bucket=bucket, Key=f"k{round}")[0] == 404
        else:
            assert s3.get_object(Bucket=bucket, Key=f"k{round}")["Body"].read() == expected


@pytest.mark.usefixtures("small_parts")
def test_parts_without_bytes(s3: Any, bucket: str) -> None:
    """An empty part is a part: alone it makes an empty object, beside others it adds nothing."""
    for contents in ([b""], [b"", b""], [b"", b"x" * 300_000, b""]):
        id = begin(s3, bucket)
        parts = [send(s3, bucket, id, n, content) for n, content in enumerate(contents, 1)]
        complete(s3, bucket, id, parts)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(contents)


@pytest.mark.usefixtures("small_parts")
def test_a_lost_answer_of_the_commit_makes_no_second_version(
    rig: S3Rig, s3: Any, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory has committed, and its answer is lost on the way to the master: the completion still ends with
    the one version, by asking again."""
    bucket = make_bucket(versioning=True)
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n, b"%d" % n * 300_000) for n in (1, 2)]
    _lose_answers(rig, monkeypatch, after=True)
    done = complete(s3, bucket, id, parts)
    [version] = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert (version["VersionId"], version["Size"]) == (done["VersionId"], 600_000)


@pytest.mark.usefixtures("small_parts")
def test_a_master_that_dies_before_the_commit_leaves_the_upload(
    rig: S3Rig, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put together is stored and never committed; the completion goes through another way, once."""
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n, b"%d" % n * 300_000) for n in (1, 2)]
    _lose_answers(rig, monkeypatch, after=False)
    complete(s3, bucket, id, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1" * 300_000 + b"2" * 300_000


def _lose_answers(rig: S3Rig, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """The next commit fails for its master, after or before it was done."""
    commits = rig.cluster.directory.commits
    commit, failures = commits.commit, [Unavailable("the answer was lost")]

    def failing(items: Any, server_id: str) -> Any:
        if not failures:
            return commit(items, server_id)
        if after:
            commit(items, server_id)
        raise failures.pop()

    monkeypatch.setattr(commits, "commit", failing)


# ---------------------------------------------------------------- listings


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    """Pages of any length give every part once, by number, and say truly whether there is more."""
    id = begin(s3, bucket)
    numbers = [1, 2, 5, 9, 10_000]
    sent = {n: send(s3, bucket, id, n, b"%d" % n) for n in numbers}
    for length in (1, 2, 4, 5, 6):
        found, marker = [], 0
        while True:
            page = s3.list_parts(Bucket=bucket, Key="k", UploadId=id, MaxParts=length, PartNumberMarker=marker)
            assert len(page["Parts"]) <= length
            found += page["Parts"]
            assert page["IsTruncated"] == (found[-1]["PartNumber"] != numbers[-1])
            if not page["IsTruncated"]:
                break
            marker = page["NextPartNumberMarker"]
        assert [part["PartNumber"] for part in found] == numbers
        assert all(part["ETag"] == sent[part["PartNumber"]]["ETag"] for part in found)
        assert all(part["Size"] == len(str(part["PartNumber"])) for part in found)
    assert page["Owner"]["ID"] == page["Initiator"]["ID"] == "admin"
    empty = s3.list_parts(Bucket=bucket, Key="k", UploadId=id, MaxParts=0)
    assert ("Parts" in empty, empty["IsTruncated"]) == (False, False)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("prefix", ["", "a/", "a"])
def test_uploads_are_listed_in_pages(s3: Any, bucket: str, prefix: str, delimiter: str) -> None:
    """Pages of any length give what one page gives: by key, then by age, folders once."""
    keys = ["a/1", "a/1", "a/b/2", "a/b/3", "a", "ab", "b/1", "b/2", "c", "ä ö"]
    ids = [(key, begin(s3, bucket, key)) for key in keys]
    mine = sorted((one for one in ids if one[0].startswith(prefix)), key=lambda one: one[0].encode())
    expected: list[tuple[str, str]] = []
    for key, id in mine:
        cut = key.find("/", len(prefix)) if delimiter else -1
        entry = (key, id) if cut < 0 else (key[: cut + 1], "")
        if not expected or expected[-1] != entry:
            expected.append(entry)
    for length in (1, 2, 3, 1000):
        found: list[tuple[str, str]] = []
        markers: dict[str, str] = {}
        while True:
            page = s3.list_multipart_uploads(
                Bucket=bucket, Prefix=prefix, Delimiter=delimiter, MaxUploads=length, **markers
            )
            entries = [(one["Key"], one["UploadId"]) for one in page.get("Uploads", [])]
            entries += [(one["Prefix"], "") for one in page.get("CommonPrefixes", [])]
            found += sorted(entries, key=lambda one: (one[0].encode(), one[1]))
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextUploadIdMarker"):
                markers["UploadIdMarker"] = page["NextUploadIdMarker"]
        assert found == expected
    if not prefix and not delimiter:
        after = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a/1")["Uploads"]
        assert [one["Key"] for one in after] == sorted((k for k in keys if k > "a/1"), key=str.encode)
        assert {one["Owner"]["ID"] for one in after} == {"admin"}
    s3.delete_bucket(Bucket=bucket)  # uploads under way do not hold a bucket, and go with it
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


# ---------------------------------------------------------------- checksums


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "XXHASH3"])
@pytest.mark.usefixtures("small_parts")
def test_checksums_of_every_kind(s3: Any, bucket: str, seed: int, algorithm: str, kind: str) -> None:
    """Parts' checksums are compared and kept; the whole's is composed or combined, compared, kept, and shown."""
    said = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    if (algorithm.startswith(("SHA", "XX")) and kind == "FULL_OBJECT") or (
        algorithm == "CRC64NVME" and kind == "COMPOSITE"
    ):
        assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", **said) == (400, "InvalidRequest")
        return
    data = [random.Random(seed + n).randbytes(300_000 + n) for n in range(3)]
    id = begin(s3, bucket, **said)
    parts = [send(s3, bucket, id, n + 1, piece, ChecksumAlgorithm=algorithm) for n, piece in enumerate(data)]
    member, known = f"Checksum{algorithm}", checksums.by_name(algorithm)
    assert [part[member] for part in parts] == [known.of(piece) for piece in data]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=id)
    assert [part[member] for part in listed["Parts"]] == [part[member] for part in parts]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    if kind == "FULL_OBJECT":
        whole = known.of(b"".join(data))
    else:
        whole = known.of(b"".join(base64.b64decode(part[member]) for part in parts)) + "-3"
    wrong = {member: known.of(b"something else")}
    target = {"Bucket": bucket, "Key": "k", "UploadId": id, "MultipartUpload": {"Parts": parts}}
    if kind == "FULL_OBJECT":
        assert refused(s3.complete_multipart_upload, **target, **wrong) == (400, "BadDigest")
        done = complete(s3, bucket, id, parts, ChecksumType=kind, **{member: whole})
    else:
        tampered = {**target, "MultipartUpload": {"Parts": [parts[0] | wrong, *parts[1:]]}}
        assert refused(s3.complete_multipart_upload, **tampered) == (400, "InvalidPart")
        done = complete(s3, bucket, id, parts)
    assert (done[member], done["ChecksumType"]) == (whole, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[member], head["ChecksumType"]) == (whole, kind)
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(data)
    one = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert one["Body"].read() == data[1]
    assert one[member] == parts[1][member]


def test_a_part_with_a_wrong_checksum_is_not_stored(s3: Any, bucket: str) -> None:
    """Neither one that does not fit its bytes, nor one by another algorithm than the upload's."""
    id = begin(s3, bucket, ChecksumAlgorithm="CRC32C")
    target = {"Bucket": bucket, "Key": "k", "UploadId": id, "PartNumber": 1, "Body": b"data"}
    assert refused(s3.upload_part, ChecksumCRC32C="AAAAAA==", **target) == (400, "BadDigest")
    assert refused(s3.upload_part, ChecksumAlgorithm="SHA256", **target) == (400, "InvalidRequest")
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=id)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


# ---------------------------------------------------------------- reads of parts, copies


@pytest.mark.usefixtures("small_parts")
def test_parts_can_be_read(s3: Any, bucket: str) -> None:
    """partNumber gives that part's bytes, its place and how many there are; no other part is there."""
    id = begin(s3, bucket)
    data = [b"one", b"three", b"five!!"]
    parts = [send(s3, bucket, id, n, piece) for n, piece in zip((1, 3, 5), data, strict=True)]
    done = complete(s3, bucket, id, parts)
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=bucket, Key="k", PartNumber=2)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert (got["PartsCount"], got["ContentLength"], got["ETag"]) == (3, 5, done["ETag"])
        assert got["ContentRange"] == "bytes 3-7/14"
    for number, piece in enumerate(data, 1):
        assert s3.get_object(Bucket=bucket, Key="k", PartNumber=number)["Body"].read() == piece
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=4) == (416, "InvalidPartNumber")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == (400, "InvalidRequest")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"12345")
    assert s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)["Body"].read() == b"12345"
    assert refused(s3.get_object, Bucket=bucket, Key="plain", PartNumber=2) == (416, "InvalidPartNumber")


@pytest.mark.usefixtures("small_parts")
def test_parts_can_be_copied(s3: Any, make_bucket: Callable[..., str], seed: int) -> None:
    """From a whole object, a range, and an old version; conditions and ranges are checked."""
    bucket = make_bucket(versioning=True)
    old, new = random.Random(seed).randbytes(700_000), random.Random(seed + 1).randbytes(400_000)
    version = s3.put_object(Bucket=bucket, Key="src ä?", Body=old)["VersionId"]
    s3.put_object(Bucket=bucket, Key="src ä?", Body=new)
    id = begin(s3, bucket)
    target = {"Bucket": bucket, "Key": "k", "UploadId": id}
    whole = {"Bucket": bucket, "Key": "src ä?"}
    copied = [
        s3.upload_part_copy(PartNumber=1, CopySource=whole, **target),
        s3.upload_part_copy(PartNumber=2, CopySource=whole, CopySourceRange="bytes=10-300009", **target),
        s3.upload_part_copy(PartNumber=3, CopySource=whole | {"VersionId": version}, **target),
    ]
    expected = [new, new[10:300_010], old]
    assert [one["CopyPartResult"]["ETag"] for one in copied] == [f'"{md5(piece).hex()}"' for piece in expected]
    assert copied[2]["CopySourceVersionId"] == version
    for text in ("0-2", "bytes=0", "bytes=hello-world", "bytes=5-1", "bytes=0-2,3-5"):
        asked = {"PartNumber": 4, "CopySource": whole, "CopySourceRange": text}
        assert refused(s3.upload_part_copy, **asked, **target) == (400, "InvalidArgument")
    asked = {"PartNumber": 4, "CopySource": whole, "CopySourceRange": "bytes=0-400000"}
    assert refused(s3.upload_part_copy, **asked, **target) == (400, "InvalidArgument")
    asked = {"PartNumber": 4, "CopySource": whole, "CopySourceIfMatch": '"x"'}
    assert refused(s3.upload_part_copy, **asked, **target) == (412, "PreconditionFailed")
    asked = {"PartNumber": 4, "CopySource": f"{bucket}/none"}
    assert refused(s3.upload_part_copy, **asked, **target) == (404, "NoSuchKey")
    parts = [{"PartNumber": n + 1, "ETag": one["CopyPartResult"]["ETag"]} for n, one in enumerate(copied)]
    complete(s3, bucket, id, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(expected)


@pytest.mark.usefixtures("small_parts")
def test_locks_hold_completions_and_not_parts(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Parts of a locked key are taken; completing needs the lock's number, also when it was granted in between."""
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, 1, b"a")]
    answer = rig.cluster.ask("POST", "/locks", f'{{"bucket": "{bucket}", "paths": ["k"]}}'.encode())
    number = answer.json["lock"]["number"]
    parts.append(send(s3, bucket, id, 2, b"b" * 300_000))
    target = {"Bucket": bucket, "Key": "k", "UploadId": id, "MultipartUpload": {"Parts": parts}}
    assert refused(s3.complete_multipart_upload, **target) == (409, "LockHeld")

    def add_number(request: Any, **_: Any) -> None:
        request.headers["x-lockstep-lock"] = str(number)

    s3.meta.events.register("before-sign.s3.CompleteMultipartUpload", add_number)
    try:
        complete(s3, bucket, id, parts)
    finally:
        s3.meta.events.unregister("before-sign.s3.CompleteMultipartUpload", add_number)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"a" + b"b" * 300_000


def test_somebody_elses_upload_is_not_for_you(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Who may not use the bucket can neither see, send, complete nor abort."""
    id = begin(s3, bucket)
    token = token_of(rig, "eve")
    eve = rig.client(rig.key(token))
    target = {"Bucket": bucket, "Key": "k", "UploadId": id}
    assert refused(eve.list_multipart_uploads, Bucket=bucket) == (403, "AccessDenied")
    assert refused(eve.list_parts, **target) == (403, "AccessDenied")
    assert refused(eve.upload_part, PartNumber=1, Body=b"x", **target) == (403, "AccessDenied")
    assert refused(eve.abort_multipart_upload, **target) == (403, "AccessDenied")
    parts = [{"PartNumber": 1, "ETag": "x"}]
    assert refused(eve.complete_multipart_upload, MultipartUpload={"Parts": parts}, **target) == (403, "AccessDenied")
    s3.abort_multipart_upload(**target)
