"""Lifecycle rules at the API and at the S3 door are the same rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fakes.wsgi import Answer
from tests.security.people import Person

RULES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"expire_days": 30}, {"Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}),
    ({"prefix": "in/", "expire_days": 1}, {"Filter": {"Prefix": "in/"}, "Expiration": {"Days": 1}}),
    (
        {"tags": {"a": "b"}, "expire_at": 1893456000.0},
        {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)}},
    ),
    ({"larger_than": 5, "expire_days": 2}, {"Filter": {"ObjectSizeGreaterThan": 5}, "Expiration": {"Days": 2}}),
    (
        {"prefix": "in/", "tags": {"a": "b", "c": ""}, "larger_than": 0, "smaller_than": 9, "noncurrent_days": 4},
        {
            "Filter": {
                "And": {
                    "Prefix": "in/",
                    "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}],
                    "ObjectSizeGreaterThan": 0,
                    "ObjectSizeLessThan": 9,
                }
            },
            "NoncurrentVersionExpiration": {"NoncurrentDays": 4},
        },
    ),
    (
        {"noncurrent_days": 7, "keep_newer": 3, "abort_uploads_days": 2, "enabled": False},
        {
            "Status": "Disabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 3},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        },
    ),
    ({"drop_markers": True}, {"Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": True}}),
]


def put(person: Person, bucket: str, *rules: dict[str, Any]) -> Answer:
    body = json.dumps({"rules": rules}).encode()
    return person.ask("PUT", f"/lifecycles/{bucket}", body, Content_Type="application/json")


@pytest.mark.parametrize(("plain", "s3"), RULES)
def test_a_rule_is_read_at_either_door(olga: Person, plain: dict[str, Any], s3: dict[str, Any]) -> None:
    """Set at one, it is the same at the other, and stays the same when it is sent back."""
    bucket, other = olga.bucket(), olga.bucket()
    stored = {"ID": "one", "Status": "Enabled", **s3}
    assert put(olga, bucket, {"id": "one", **plain}).status == 200
    assert olga.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [stored]
    olga.s3.put_bucket_lifecycle_configuration(Bucket=other, LifecycleConfiguration={"Rules": [stored]})
    shown = olga.ask("GET", f"/lifecycles/{other}").json
    assert shown == olga.ask("GET", f"/lifecycles/{bucket}").json
    assert plain.items() <= shown["rules"][0].items()
    assert put(olga, other, *shown["rules"]).json == shown


def test_the_rules_are_replaced_and_removed(olga: Person) -> None:
    """New ones get an id of their own; without rules, S3 says that there is no lifecycle."""
    bucket = olga.bucket()
    assert olga.ask("GET", f"/lifecycles/{bucket}").json == {"rules": []}
    rules = put(olga, bucket, {"expire_days": 1}, {"noncurrent_days": 1}).json["rules"]
    assert len({rule["id"] for rule in rules} - {""}) == 2
    assert put(olga, bucket).json == {"rules": []}
    with pytest.raises(olga.s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        olga.s3.get_bucket_lifecycle_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"prefix": "in/"},
        {"expire_days": 0},
        {"expire_days": 1, "drop_markers": True},
        {"expire_days": 1, "expire_at": 86400},
        {"expire_at": 86401},
        {"expire_days": 1, "keep_newer": 1},
        {"noncurrent_days": 1, "keep_newer": 101},
        {"expire_days": 1, "larger_than": 5, "smaller_than": 5},
        {"expire_days": 1, "smaller_than": 0},
        {"drop_markers": True, "tags": {"a": "b"}},
        {"abort_uploads_days": 1, "larger_than": 1},
        {"expire_days": 1, "tags": {"a!": "b"}},
        {"expire_days": 1, "days": 1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(olga: Person, rule: dict[str, Any]) -> None:
    """With the reason; the rules that the bucket has stay."""
    bucket = olga.bucket()
    before = put(olga, bucket, {"expire_days": 9}).json
    answer = put(olga, bucket, rule)
    assert (answer.status, bool(answer.json["detail"])) == (400, True)
    assert put(olga, bucket, {"id": "x", "expire_days": 1}, {"id": "x", "expire_days": 2}).status == 400
    assert olga.ask("GET", f"/lifecycles/{bucket}").json == before


def test_only_the_owner_sets_rules(olga: Person, eve: Person) -> None:
    """Writers do not, and strangers do not read them either."""
    bucket = olga.bucket()
    assert eve.ask("GET", f"/lifecycles/{bucket}").status == 403
    olga.let(bucket, eve, "s3:ListBucket", "s3:GetObject", "s3:PutObject")
    assert put(eve, bucket, {"expire_days": 1}).status == 403
    assert eve.ask("GET", f"/lifecycles/{bucket}").json == {"rules": []}
