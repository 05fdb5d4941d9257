"""What a policy would allow, before it is the bucket's: the preview is what happens, and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.wsgi import Answer
from tests.s3.people import document, statement
from tests.security.people import Person

JSON = {"Content_Type": "application/json"}


@pytest.fixture
def bucket(olga: Person, ann: Person, ben: Person, eve: Person) -> str:
    """Olga's bucket, in a cluster with the accounts that its policies name."""
    name = olga.bucket()
    for path in ("top.txt", "in/a.txt"):
        assert olga.put(name, path, b"content").status == 201
    return name


def send(person: Person, method: str, target: str, **body: Any) -> Answer:
    return person.ask(method, target, json.dumps(body).encode(), **JSON)


def previewed(person: Person, bucket: str, path: str, policy: str | None) -> dict[str, Any]:
    wanted = None if policy is None else json.loads(policy)
    answer = send(person, "POST", f"/policies/{bucket}/preview", policy=wanted, path=path)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def policies(bucket: str) -> list[str | None]:
    everything = f"{bucket}/*"
    return [
        None,
        document(statement("Allow", ["eve"], ["s3:GetObject"], f"{bucket}/in/*")),
        document(statement("Allow", "*", ["s3:GetObject"], everything)),
        document(
            statement("Allow", ["eve", "ben"], ["s3:*"], bucket, everything),
            statement("Deny", ["ben"], ["s3:PutObject"], everything),
        ),
        document(statement("Deny", "*", ["s3:GetObject"], f"{bucket}/in/*")),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("path", ["", "in/", "in/a.txt", "top.txt"])
def test_a_preview_is_what_the_policy_then_does(olga: Person, bucket: str, number: int, path: str) -> None:
    """Word for word what the explanation says once the policy is set, also over another policy and a grant."""
    send(olga, "PATCH", f"/access/{bucket}", path="in/", grants=[{"account": "ann", "level": "read"}])
    before = document(statement("Allow", ["ben"], ["s3:GetObject"], f"{bucket}/*"))
    assert send(olga, "PUT", f"/policies/{bucket}", policy=json.loads(before)).status == 200
    policy = policies(bucket)[number]
    found = previewed(olga, bucket, path, policy)
    assert olga.ask("GET", f"/policies/{bucket}").json == {"policy": json.loads(before)}
    wanted = None if policy is None else json.loads(policy)
    assert send(olga, "PUT", f"/policies/{bucket}", policy=wanted).json == {"policy": wanted}
    assert found == olga.ask("GET", f"/access/{bucket}" + (f"?path={path}" if path else "")).json
    assert olga.ask("GET", f"/policies/{bucket}").json == {"policy": wanted}


def test_a_preview_is_refused_like_the_policy(olga: Person, bucket: str) -> None:
    """With the same words: a document that is none, an account that is not there, a bucket that blocks public ones."""
    olga.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    for policy in (
        {},
        {"Version": "2012-10-17", "Statement": []},
        json.loads(document(statement("Allow", ["nobody-here"], ["s3:GetObject"], f"{bucket}/*"))),
        json.loads(document(statement("Allow", ["eve"], ["s3:GetObject"], "another-bucket/*"))),
        json.loads(document(statement("Allow", "*", ["s3:GetObject"], f"{bucket}/*"))),
    ):
        tried = send(olga, "POST", f"/policies/{bucket}/preview", policy=policy)
        stored = send(olga, "PUT", f"/policies/{bucket}", policy=policy)
        assert tried.status == stored.status
        assert tried.status in (400, 403)
        assert tried.json["detail"] == stored.json["detail"]
    assert olga.ask("GET", f"/policies/{bucket}").json == {"policy": None}


def test_only_those_who_set_the_policy_try_it_out(olga: Person, eve: Person, bucket: str) -> None:
    """A preview tells who has access, so readers and writers get none."""
    send(olga, "PATCH", f"/access/{bucket}", grants=[{"account": "eve", "level": "write"}])
    for method, target in (("GET", ""), ("PUT", ""), ("POST", "/preview")):
        assert send(eve, method, f"/policies/{bucket}{target}", policy=None).status == 403, method
    assert send(olga, "POST", f"/policies/{bucket}/preview", policy=None, path="../x").status == 400


def test_the_policy_is_that_of_s3(olga: Person, eve: Person, bucket: str) -> None:
    """Set at one door, it decides at every door, and is read at the other."""
    policy = json.loads(document(statement("Allow", ["eve"], ["s3:GetObject"], f"{bucket}/in/*")))
    assert send(olga, "PUT", f"/policies/{bucket}", policy=policy).status == 200
    assert json.loads(olga.s3.get_bucket_policy(Bucket=bucket)["Policy"]) == policy
    assert eve.s3.get_object(Bucket=bucket, Key="in/a.txt")["Body"].read() == b"content"
    assert (eve.get(bucket, "in/a.txt").status, eve.get(bucket, "top.txt").status) == (200, 403)
