"""Analytics through a proxy, in a whole cluster: right after uploads and lifecycles, and told to whom they concern."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from directory_server.files.analytics import DAY_SECONDS, note_today
from directory_server.maintenance.fsck import check_metadata
from directory_server.metadata.statements.consistency import TOTAL
from tests.s3.rig import S3Rig
from tests.security.people import Person

PART = 5 * 1024 * 1024


@pytest.fixture(autouse=True)
def totals_are_right(rig: S3Rig) -> Iterator[None]:
    """Whatever a test does, a scan agrees with the totals."""
    yield
    _, problems, _ = check_metadata(rig.cluster.directory.store)
    assert [problem for problem in problems if problem.kind == TOTAL] == []


def ask(person: Person, address: str) -> Any:
    answer = person.ask("GET", f"/analytics/{address}")
    assert answer.status == 200, answer.body
    return answer.json


def test_every_reply_has_what_was_just_written(ann: Person, ben: Person) -> None:
    """From the commit on, through either door; a stranger is refused."""
    bucket = ann.bucket()
    ann.put(bucket, "in/a.txt", b"12345")
    ann.s3.put_object(Bucket=bucket, Key="in/b.png", Body=b"1234567", ContentType="image/png")
    reply = ask(ann, f"storage?bucket={bucket}")
    assert reply["total"] == {"files": 2, "file_bytes": 12, "versions": 2, "version_bytes": 12}
    assert reply["accounts"] == [{"name": "ann", **reply["total"]}]
    assert reply["savings"] is None
    types = {one["name"]: one["file_bytes"] for one in ask(ann, f"file-types?bucket={bucket}")["types"]}
    assert types == {"text/plain": 5, "image/png": 7}
    assert ask(ann, f"growth?bucket={bucket}&days=1")["days"][-1]["files"] == 2
    folders = ask(ann, f"folders/{bucket}?limit=5")
    assert (folders["files"], folders["folders"]) == (2, [{"path": "in/", "files": 2, "bytes": 12}])
    assert bucket in {one["name"] for one in ask(ann, "storage")["buckets"]}
    assert bucket not in {one["name"] for one in ask(ben, "storage")["buckets"]}
    for address in ("storage?bucket=", "file-types?bucket=", "growth?bucket=", "folders/"):
        assert ben.ask("GET", f"/analytics/{address}{bucket}").status == 403


def test_an_upload_counts_when_it_is_complete(ann: Person) -> None:
    """Its parts are content before, and no version."""
    bucket = ann.bucket()
    upload = ann.s3.create_multipart_upload(Bucket=bucket, Key="big", ContentType="video/mp4")["UploadId"]
    named = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    first = ann.s3.upload_part(**named, PartNumber=1, Body=b"a" * PART)["ETag"]
    assert ask(ann, f"storage?bucket={bucket}")["total"]["versions"] == 0
    last = ann.s3.upload_part(**named, PartNumber=2, Body=b"b")["ETag"]
    parts = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": last}]
    ann.s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert ask(ann, f"file-types?bucket={bucket}")["types"][0]["file_bytes"] == PART + 1
    ann.s3.delete_object(Bucket=bucket, Key="big")
    assert ask(ann, f"storage?bucket={bucket}")["total"]["versions"] == 0


def test_rules_that_hide_files_hide_totals(ann: Person, ben: Person) -> None:
    """Who may list but not read all of it could otherwise learn sizes."""
    bucket = ann.bucket()
    ann.put(bucket, "secret", b"12345")
    ann.let(bucket, ben, "s3:ListBucket")
    answer = ben.ask("GET", f"/analytics/folders/{bucket}")
    assert answer.status == 403
    assert "may hide files" in answer.json["detail"]
    assert ask(ann, f"folders/{bucket}")["bytes"] == 5


@pytest.mark.parametrize(
    "address",
    ["growth?days=0", "growth?days=732", "folders/files?limit=0", "folders/files?path=plans", "storage?bucket=A"],
)
def test_what_makes_no_sense_is_refused(ann: Person, address: str) -> None:
    assert ann.ask("GET", f"/analytics/{address}").status == 400


def test_who_takes_a_buckets_name_sees_nothing_of_its_days(rig: S3Rig, ann: Person, ben: Person) -> None:
    """Its growth begins with it, whoever had a bucket of that name before."""
    bucket, other = ann.bucket(), ann.bucket()
    store, today = rig.cluster.directory.store, rig.cluster.directory.clock.wall()
    for name in (bucket, other):
        ann.put(name, "secret", b"12345")
    for days in (3, 1):
        store.write(partial(note_today, wall=today - days * DAY_SECONDS))
    before = [one["files"] for one in ask(ann, f"growth?bucket={bucket}")["days"]]
    assert before == [1, 1, 1]
    assert ann.ask("DELETE", f"/files/{bucket}/secret").status == 200
    assert ann.ask("DELETE", f"/buckets/{bucket}").status == 204
    ben.s3.create_bucket(Bucket=bucket)
    assert [one["files"] for one in ask(ben, f"growth?bucket={bucket}")["days"]] == [0]
    assert [one["files"] for one in ask(ann, f"growth?bucket={other}")["days"]] == [1, 1, 1]
