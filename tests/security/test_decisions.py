"""Counts of what was allowed and denied, as administrators read them: at every door, and only what was decided."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.wsgi import ask
from tests.s3.people import document, statement
from tests.s3.rig import S3Rig
from tests.security.people import Person


@pytest.fixture
def counted(rig: S3Rig) -> Callable[[str], dict[tuple[str, str], int]]:
    def read(bucket: str) -> dict[tuple[str, str], int]:
        reply = rig.cluster.ask("GET", f"/metrics/policy?bucket={bucket}").json
        assert reply["allowed"] + reply["denied"] == sum(one["count"] for one in reply["decisions"])
        assert reply["denied_most"] == [one for one in reply["decisions"] if one["result"] == "denied"]
        assert {one["bucket"] for one in reply["decisions"]} <= {bucket}
        return {(one["action"], one["ground"]): one["count"] for one in reply["decisions"]}

    return read


def test_what_each_door_decides_is_counted_with_its_ground(
    rig: S3Rig, olga: Person, eve: Person, counted: Callable[[str], dict[tuple[str, str], int]]
) -> None:
    """Refused for want of a rule, allowed by a policy, denied by it."""
    bucket = olga.bucket()
    olga.put(bucket, "a", b"content")
    before = 0
    for refused in (
        lambda: eve.get(bucket, "a"),
        lambda: eve.ask_s3("GET", f"/{bucket}/a"),
        lambda: ask(eve.webdav, "GET", f"/dav/{bucket}/a", headers=eve.headers),
    ):
        assert refused().status == 403
        after = counted(bucket)["s3:GetObject", "nothing"]
        assert after > before
        before = after
    olga.let(bucket, eve, "s3:GetObject")
    assert eve.ask_s3("GET", f"/{bucket}/a").status == 200
    assert counted(bucket)["s3:GetObject", "policy"] == 1
    denied = statement("Deny", eve.name, "s3:GetObject", f"{bucket}/*")
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(denied))
    assert eve.get(bucket, "a").status == 403
    found = counted(bucket)
    assert found["s3:GetObject", "denied"] == 1
    assert found["s3:GetObject", "nothing"] == before
    assert found["s3:PutObject", "owner"] >= 2
    assert found["s3:PutBucketPolicy", "owner"] == 2


def test_questions_are_no_decisions(
    olga: Person, eve: Person, counted: Callable[[str], dict[tuple[str, str], int]]
) -> None:
    """What the cluster asks itself to find out what to show is not counted: a list of buckets, an explanation."""
    bucket = olga.bucket()
    before = counted(bucket)
    assert eve.ask("GET", "/buckets").status == 200
    assert olga.ask("GET", "/search?q=nothing-at-all").status == 200
    assert counted(bucket) == before


def test_the_dashboard_has_the_three_replies(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Each as its own address gives it."""
    bucket = olga.bucket()
    olga.put(bucket, "a", b"content")
    assert eve.get(bucket, "a").status == 403
    reply = rig.cluster.ask("GET", "/metrics/dashboard").json
    assert reply["storage"]["total"]["files"] >= 1
    assert len(reply["cluster"]["file_servers"]) >= 2
    policy = rig.cluster.ask("GET", "/metrics/policy").json
    assert [one for one in policy["denied_most"] if one["bucket"] == bucket] == [
        {"bucket": bucket, "action": "s3:GetObject", "result": "denied", "ground": "nothing", "count": 1}
    ]
    assert reply["decisions"]["denied"] == policy["denied"]
    assert reply["decisions"]["since_at"] == pytest.approx(policy["since_at"], abs=60.0)
