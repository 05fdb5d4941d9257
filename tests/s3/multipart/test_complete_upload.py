"""Completion: what is refused, and one winner among races, repeats and lost replies."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from file_server.metrics import RECEIVED_BYTES
from lockstep_store.wire.errors import Unavailable
from tests.s3.calls import refused
from tests.s3.multipart.parts import MIB, begin, complete, send
from tests.s3.rig import S3Rig


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
