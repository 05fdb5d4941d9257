"""Searches through a proxy, in a whole cluster: what each person finds, and how wrong requests are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.rig import S3Rig
from tests.security.people import Person


def found(person: Person, query: str) -> list[str]:
    answer = person.ask("GET", f"/search?{query}")
    assert answer.status == 200, answer.body
    return [f"{hit['file']['bucket']}/{hit['file']['path']}" for hit in answer.json["hits"]]


def test_a_file_is_found_from_its_commit_on(ann: Person, ben: Person) -> None:
    """By whoever may list its bucket, whichever door it came through, until it is deleted."""
    bucket = ann.bucket()
    ann.s3.put_object(Bucket=bucket, Key="plans/Quarterly numbers.ods", Body=b"x", Tagging="team=roof")
    name = f"{bucket}/plans/Quarterly numbers.ods"
    assert found(ann, f"q=quarterly&bucket={bucket}") == [name]
    assert found(ann, f"q=quaterly&bucket={bucket}") == [name]
    assert found(ann, f"tag=team%3Droof&bucket={bucket}") == [name]
    assert name in found(ann, "q=arterly+NUMB")
    assert name not in found(ben, "q=quarterly")
    assert ben.ask("GET", f"/search?q=quarterly&bucket={bucket}").status == 403
    ann.let(bucket, ben, "s3:ListBucket")
    assert name in found(ben, "q=quarterly")
    hit = ben.ask("GET", f"/search?q=quarterly&bucket={bucket}").json["hits"][0]
    assert (hit["match"], hit["file"]["readable"], hit["file"]["size"]) == ("beginning", False, 0)
    assert found(ben, f"tag=team&bucket={bucket}") == found(ben, f"min_size=1&bucket={bucket}") == []
    body = b'{"description": "Budget of the ROOF"}'
    assert (
        ann.ask("PATCH", f"/facts/{bucket}/plans/Quarterly numbers.ods", body, Content_Type="application/json").status
        == 200
    )
    assert found(ann, f"description=roof+budget&bucket={bucket}") == [name]
    assert found(ann, f"q=quarterly&description=roof&tag=team&bucket={bucket}") == [name]
    assert found(ann, f"description=roof+cellar&bucket={bucket}") == []
    assert found(ben, f"description=roof&bucket={bucket}") == []
    ann.s3.delete_object(Bucket=bucket, Key="plans/Quarterly numbers.ods")
    assert found(ann, f"q=quarterly&bucket={bucket}") == []


def test_pages_follow_each_other(ann: Person) -> None:
    bucket = ann.bucket()
    for number in range(5):
        assert ann.put(bucket, f"page {number}", b"").status == 201
    cursor, seen = "", []
    while True:
        page: Any = ann.ask("GET", f"/search?q=page&bucket={bucket}&limit=2{cursor}").json
        seen += [hit["file"]["path"] for hit in page["hits"]]
        if page["next_after"] is None:
            break
        cursor = f"&cursor={page['next_after']}"
    assert seen == [f"page {number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "needs a text, or a filter"),
        ("q=a&since=tomorrow", 400, "must be a date such as 2026-03-01"),
        ("q=a&min_size=-1", 400, "must be a whole number"),
        ("q=a&limit=1000", 400, "must be a whole number"),
        ("q=a&cursor=abc", 400, "begin again without it"),
        ("q=a&colour=red", 400, "does not take the argument 'colour'"),
        ("q=" + "a" * 257, 400, "at most 256"),
        ("q=a&bucket=NO", 400, "bucket"),
        ("q=a&bucket=no-such-bucket", 404, "there is no bucket"),
    ],
)
def test_wrong_requests_are_refused_in_words(ann: Person, query: str, status: int, words: str) -> None:
    answer = ann.ask("GET", f"/search?{query}".rstrip("?"))
    assert (answer.status, words in answer.json["detail"]) == (status, True), answer.body


def test_who_is_nobody_finds_nothing(rig: S3Rig) -> None:
    assert rig.cluster.ask_with({}, "GET", "/search?q=a").status == 401
