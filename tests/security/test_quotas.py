"""Quotas at both doors of a whole cluster: the codes, the figures, and what counts in a multipart upload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes.wsgi import Answer
from tests.s3.rig import S3Rig
from tests.security.people import Person

MIB = 1 << 20


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[S3Rig]:
    rig = S3Rig(tmp_path / "cluster", tmp_path.parent / "quota-certs", file_servers=2)
    yield rig
    assert allowed(rig, "bucket", "album")["name"] == "album"
    rig.close()


@pytest.fixture
def ann(ground: S3Rig) -> Person:
    person = Person(ground, "ann")
    person.s3.create_bucket(Bucket="album")
    return person


def administer(rig: S3Rig, method: str, target: str, body: Any = None) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"Content_Type": "application/json"} if content else {}
    return rig.cluster.ask(method, target, content, **headers)


def allow(rig: S3Rig, scope: str, name: str, **values: int | None) -> Any:
    answer = administer(rig, "PATCH", f"/quotas/{scope}s/{name}", {"quotas": values})
    assert answer.status == 200, answer.body
    return answer.json


def allowed(rig: S3Rig, scope: str, name: str) -> Any:
    return administer(rig, "GET", f"/quotas/{scope}s/{name}").json


def used(rig: S3Rig, resource: str = "bytes") -> int:
    return next(one["used"] for one in allowed(rig, "bucket", "album")["quotas"] if one["resource"] == resource)


def refusal(call: Any, **values: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        call(**values)
    error: dict[str, Any] = refused.value.response["Error"]
    return error | {"status": refused.value.response["ResponseMetadata"]["HTTPStatusCode"]}


def test_both_doors_refuse_with_the_figures(ground: S3Rig, ann: Person) -> None:
    """507 with the facts at the API; at S3 403 QuotaExceeded, the code that Ceph has, with the same sentence."""
    allow(ground, "bucket", "album", bytes=10)
    assert ann.put("album", "a", b"12345678").status == 201
    answer = ann.put("album", "b", b"123")
    assert (answer.status, answer.json["code"], answer.json["retry"]) == (507, "quota_exceeded", False)
    assert answer.json["detail"].startswith("over quota: bucket 'album' may have 10 bytes, and this would make it 11;")
    assert (answer.json["wanted"], answer.json["allowed"]) == (11, 10)
    error = refusal(ann.s3.put_object, Bucket="album", Key="b", Body=b"123")
    assert (error["status"], error["Code"], error["Message"]) == (403, "QuotaExceeded", answer.json["detail"])
    assert ann.get("album", "b").status == 404


def test_known_content_counts_like_any_other(ground: S3Rig, ann: Person) -> None:
    """A link moves no bytes, but is a version: whoever stores the same file ten times has ten of them."""
    content = b"the same ten times"
    allow(ground, "account", "ann", bytes=3 * len(content))
    assert [ann.put("album", str(n), content).status for n in range(5)] == [201, 201, 201, 507, 507]


def test_parts_count_from_the_moment_they_are_stored(ground: S3Rig, ann: Person) -> None:
    """An upload cannot hoard what its completion would be refused; completing adds nothing, aborting frees all."""
    allow(ground, "bucket", "album", bytes=12 * MIB, versions=1)
    s3 = ann.s3
    upload = s3.create_multipart_upload(Bucket="album", Key="big")["UploadId"]
    which = {"Bucket": "album", "Key": "big", "UploadId": upload}
    first = s3.upload_part(**which, PartNumber=1, Body=b"1" * (6 * MIB))
    second = s3.upload_part(**which, PartNumber=2, Body=b"2" * (5 * MIB))
    assert refusal(s3.upload_part, **which, PartNumber=3, Body=b"3" * (2 * MIB))["Code"] == "QuotaExceeded"
    assert used(ground) == 11 * MIB
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
    assert (used(ground), used(ground, "versions")) == (11 * MIB, 1)
    other = s3.create_multipart_upload(Bucket="album", Key="other")["UploadId"]
    s3.upload_part(Bucket="album", Key="other", UploadId=other, PartNumber=1, Body=b"4" * MIB)
    assert used(ground) == 12 * MIB
    s3.abort_multipart_upload(Bucket="album", Key="other", UploadId=other)
    assert used(ground) == 11 * MIB
    s3.delete_object(Bucket="album", Key="big")
    assert used(ground) == 0


def test_counts_survive_a_restart(ground: S3Rig, ann: Person) -> None:
    """A directory that starts again refuses what it refused before."""
    allow(ground, "bucket", "album", bytes=10)
    assert ann.put("album", "a", b"12345678").status == 201
    ground.cluster.stop_directory()
    ground.cluster.start_directory()
    ground.cluster.settle()
    assert used(ground) == 8
    assert ann.put("album", "b", b"123").status == 507


def test_one_account_cannot_hoard_locks_in_the_shared_bucket(ground: S3Rig, ann: Person) -> None:
    """507 with the figures at the bound, and another account still gets its lock."""
    allow(ground, "account", "ann", locks=3)
    eve = Person(ground, "eve")

    def lock(who: Person, path: str) -> Answer:
        body = json.dumps({"paths": [path], "bucket": "files"}).encode()
        return who.ask("POST", "/locks", body, Content_Type="application/json")

    answers = [lock(ann, f"f{number}") for number in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 507, 507]
    assert answers[3].json["detail"].startswith("over quota: account 'ann' may have 3 locks, and this would make it 4")
    assert lock(eve, "f4").status == 200


def test_buckets_over_quota_have_the_code_of_s3(ground: S3Rig, ann: Person) -> None:
    """TooManyBuckets, as AWS answers it."""
    allow(ground, "account", "ann", buckets=1)
    error = refusal(ann.s3.create_bucket, Bucket="second")
    assert (error["status"], error["Code"]) == (400, "TooManyBuckets")


def test_quotas_are_for_administrators_and_shown_to_their_owners(ground: S3Rig, ann: Person) -> None:
    """Ann sees hers and her bucket's, and sets none; the list is for administrators."""
    eve = Person(ground, "eve")
    allow(ground, "account", "ann", keys=4, locks=None)
    mine = ann.ask("GET", "/quotas/accounts/ann").json
    assert {"resource": "keys", "allowed": 4, "used": 1, "built_in": False} in mine["quotas"]
    assert ann.ask("GET", "/quotas/buckets/album").status == 200
    assert eve.ask("GET", "/quotas/accounts/ann").status == eve.ask("GET", "/quotas/buckets/album").status == 403
    raised = json.dumps({"quotas": {"bytes": None}}).encode()
    assert ann.ask("PATCH", "/quotas/accounts/ann", raised, Content_Type="application/json").status == 403
    assert ann.ask("GET", "/quotas").status == 403
    listed = administer(ground, "GET", "/quotas").json["owners"]
    assert [(one["scope"], one["name"]) for one in listed] == [("account", "ann")]
    assert administer(ground, "PATCH", "/quotas/buckets/album", {"quotas": {"locks": 1}}).status == 400
    assert administer(ground, "PATCH", "/quotas/accounts/nobody", {"quotas": {"locks": 1}}).status == 404
    for wrong in (-1, 1.5, "10", 1 << 63):
        assert administer(ground, "PATCH", "/quotas/accounts/ann", {"quotas": {"bytes": wrong}}).status == 400
