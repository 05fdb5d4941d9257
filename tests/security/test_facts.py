"""File facts through a proxy, in a whole cluster: the same tags at both doors, what keeps them, who may change."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lockstep_store.wire.chunking import chunk_bytes
from tests.fakes.wsgi import Answer
from tests.s3.people import document, statement
from tests.security.people import Person

JSON = {"Content_Type": "application/json"}
NO_TAGS: dict[str, str] = {}


@pytest.fixture
def bucket(ann: Person) -> str:
    name = ann.bucket()
    assert ann.put(name, "k", b"content").status == 201
    return name


def change(person: Person, bucket: str, path: str = "k", query: str = "", **body: Any) -> Answer:
    return person.ask("PATCH", f"/facts/{bucket}/{path}{query}", json.dumps(body).encode(), **JSON)


def facts(person: Person, bucket: str, path: str = "k", query: str = "") -> Any:
    answer = person.ask("GET", f"/facts/{bucket}/{path}{query}")
    assert answer.status == 200, answer.body
    return answer.json


def s3_tags(person: Person, bucket: str, path: str = "k") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in person.s3.get_object_tagging(Bucket=bucket, Key=path)["TagSet"]}


def said(person: Person, bucket: str, path: str = "k") -> tuple[str, dict[str, str]]:
    """The description, and the tags, which both doors agree on."""
    found = facts(person, bucket, path)
    assert found["tags"] == s3_tags(person, bucket, path)
    return found["description"], found["tags"]


def versioned(person: Person, bucket: str) -> None:
    person.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def test_facts_change_without_a_new_version(ann: Person, bucket: str) -> None:
    """Each by itself, at either door, and everything that is not named stays."""
    before = facts(ann, bucket)
    assert (before["description"], before["tags"], before["metadata"]) == ("", NO_TAGS, {})
    answer = change(ann, bucket, description="  Offer for the roof\n", tags={"team": "roof", "draft": ""})
    assert (answer.status, answer.json["description"]) == (200, "Offer for the roof")
    assert said(ann, bucket) == ("Offer for the roof", {"team": "roof", "draft": ""})
    change(ann, bucket, tags={"draft": None, "größe": "a=b"})
    assert said(ann, bucket) == ("Offer for the roof", {"team": "roof", "größe": "a=b"})
    ann.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "s3", "Value": "1"}]})
    assert said(ann, bucket) == ("Offer for the roof", {"s3": "1"})
    change(ann, bucket, tags={"only": "this"}, replace_tags=True)
    assert said(ann, bucket) == ("Offer for the roof", {"only": "this"})
    change(ann, bucket, description="")
    change(ann, bucket, replace_tags=True)
    assert said(ann, bucket) == ("", NO_TAGS)
    assert facts(ann, bucket)["version"] == before["version"]
    assert ann.get(bucket, "k").headers["X-Lockstep-Version"] == before["version"]


def test_type_and_metadata_are_shown(ann: Person, bucket: str) -> None:
    """As a read shows them, whichever door they came through, without Lockstep's own entries."""
    ann.s3.put_object(Bucket=bucket, Key="a.txt", Body=b"x", Metadata={"origin": "scan"}, ContentType="image/png")
    found = facts(ann, bucket, "a.txt")
    assert (found["content_type"], found["metadata"]) == ("image/png", {"origin": "scan"})
    ann.put(bucket, "b.txt", b"x", X_Lockstep_Metadata='{"origin": "mail"}')
    found = facts(ann, bucket, "b.txt")
    assert (found["content_type"], found["metadata"]) == ("text/plain; charset=utf-8", {"origin": "mail"})


def test_the_type_is_found_where_nobody_tells_it(ann: Person, bucket: str) -> None:
    """In the first bytes of plain bodies and of chunk streams, also where an edit leaves the first chunk out."""
    picture = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5_000_000)
    assert ann.put(bucket, "picture", picture).status == 201
    for path, expected in (("picture", "image/png"), ("k", "text/plain; charset=utf-8")):
        got = ann.get(bucket, path)
        assert got.headers["Content-Type"] == facts(ann, bucket, path)["content_type"] == expected
    assert "X-Lockstep-Metadata" not in got.headers
    assert ann.s3.head_object(Bucket=bucket, Key="picture")["Metadata"] == {}
    chunks = list(chunk_bytes(picture + b"edited"))
    assert len(chunks) > 2
    assert ann.stream(bucket, "picture", [chunks[0]._replace(data=None), *chunks[1:]]).status == 200
    assert facts(ann, bucket, "picture")["content_type"] == "image/png"
    assert ann.stream(bucket, "other", chunks).status == 201
    assert facts(ann, bucket, "other")["content_type"] == "image/png"
    moved = {"source": {"bucket": bucket, "path": "other"}, "bucket": bucket, "path": "other.txt", "move": True}
    ann.ask("POST", "/copy", json.dumps(moved).encode(), **JSON)
    assert facts(ann, bucket, "other.txt")["content_type"] == "text/plain; charset=utf-8"
    ann.put(bucket, "told", picture, Content_Type="image/x-own")
    assert facts(ann, bucket, "told")["content_type"] == "image/x-own"


@pytest.mark.parametrize("versioning", [False, True])
def test_a_write_keeps_what_people_said(ann: Person, bucket: str, versioning: bool) -> None:
    """Outside S3 all of it; through S3 the description, and the tags that the write brings."""
    if versioning:
        versioned(ann, bucket)
    change(ann, bucket, description="words", tags={"a": "1"})
    assert ann.put(bucket, "k", b"more").status == 200
    assert said(ann, bucket) == ("words", {"a": "1"})
    digest = ann.get(bucket, "k").headers["X-Lockstep-Digest"]
    ann.put(bucket, "k", b"third")
    assert ann.link(bucket, "k", digest).status in (200, 409)
    assert said(ann, bucket) == ("words", {"a": "1"})
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"z", Tagging="b=2")
    assert said(ann, bucket) == ("words", {"b": "2"})
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"z")
    assert said(ann, bucket) == ("words", NO_TAGS)
    ann.ask("DELETE", f"/files/{bucket}/k")
    ann.put(bucket, "k", b"another file")
    assert said(ann, bucket) == ("", NO_TAGS)


def test_an_older_version_has_facts_of_its_own(ann: Person, bucket: str) -> None:
    """They are changed by its id, and bringing its content back changes nothing of the current ones."""
    versioned(ann, bucket)
    change(ann, bucket, description="first")
    first = facts(ann, bucket)["version"]
    ann.put(bucket, "k", b"second")
    change(ann, bucket, description="second", tags={"n": "2"})
    change(ann, bucket, query=f"?version={first}", tags={"n": "1"})
    old = facts(ann, bucket, query=f"?version={first}")
    assert (old["description"], old["tags"], old["version"]) == ("first", {"n": "1"}, first)
    body = json.dumps({"version": first}).encode()
    assert ann.ask("POST", f"/versions/{bucket}/k/restore", body, **JSON).status == 200
    assert ann.get(bucket, "k").body == b"content"
    assert said(ann, bucket) == ("second", {"n": "2"})


@pytest.mark.parametrize("encrypts", [False, True])
def test_facts_go_along(ann: Person, bucket: str, encrypts: bool) -> None:
    """With a move and a copy, also where the copy has to be encrypted; with the trash, back and forth."""
    versioned(ann, bucket)
    other = ann.bucket()
    if encrypts:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        ann.s3.put_bucket_encryption(Bucket=other, ServerSideEncryptionConfiguration={"Rules": [rule]})
    change(ann, bucket, description="words", tags={"a": "1"})
    place = {"source": {"bucket": bucket, "path": "k"}, "bucket": other, "path": "copy"}
    assert ann.ask("POST", "/copy", json.dumps(place).encode(), **JSON).status == 201
    assert said(ann, other, "copy") == ("words", {"a": "1"})
    moved = {**place, "bucket": bucket, "path": "moved", "move": True}
    assert ann.ask("POST", "/copy", json.dumps(moved).encode(), **JSON).status == 201
    assert said(ann, bucket, "moved") == ("words", {"a": "1"})
    ann.ask("DELETE", f"/files/{bucket}/moved")
    assert ann.ask("GET", f"/facts/{bucket}/moved").status == 404
    (entry,) = (one for one in ann.ask("GET", f"/trash/{bucket}").json["entries"] if one["path"] == "moved")
    entry = json.dumps({"path": "moved", "marker": entry["marker"]}).encode()
    assert ann.ask("POST", f"/trash/{bucket}/restore", entry, **JSON).status == 200
    assert said(ann, bucket, "moved") == ("words", {"a": "1"})


def test_a_lock_is_about_content(ann: Person, ben: Person, bucket: str) -> None:
    """Who may write changes facts while somebody else edits, as S3's tagging does; the edit keeps them."""
    ann.let(bucket, ben, "s3:GetObject", "s3:PutObject", "s3:GetObjectTagging")
    taken = ann.ask("POST", "/locks", json.dumps({"paths": [f"{bucket}/k"]}).encode(), **JSON)
    assert taken.status == 200, taken.body
    assert ben.put(bucket, "k", b"x").status == 423
    assert change(ben, bucket, description="words", tags={"a": "1"}).status == 200
    assert ann.put(bucket, "k", b"edited", X_Lockstep_Lock=str(taken.json["lock"]["number"])).status == 200
    assert said(ann, bucket) == ("words", {"a": "1"})


def test_who_may_read_and_who_may_change(ann: Person, ben: Person, bucket: str) -> None:
    """Readers see, writers change; tags follow their own actions, and what may not be read is not shown."""
    change(ann, bucket, description="words", tags={"a": "1"})
    assert ben.ask("GET", f"/facts/{bucket}/k").status == change(ben, bucket, description="x").status == 403
    ann.let(bucket, ben, "s3:GetObject")
    assert facts(ben, bucket)["description"] == "words"
    assert facts(ben, bucket)["tags"] is None
    assert change(ben, bucket, tags={"a": "2"}).status == 403
    ann.let(bucket, ben, "s3:PutObject")
    answer = change(ben, bucket, description="by ben", tags={"b": "2"})
    assert answer.status == 200
    assert (answer.json["description"], answer.json["tags"], answer.json["metadata"]) == ("", None, {})
    assert said(ann, bucket) == ("by ben", {"a": "1", "b": "2"})


@pytest.mark.parametrize("action", ["s3:PutObjectTagging", "s3:DeleteObjectTagging"])
def test_a_policy_that_denies_tagging_is_kept(ann: Person, ben: Person, bucket: str, action: str) -> None:
    """At every door; the description is not about it."""
    change(ann, bucket, tags={"a": "1"})
    allowed = statement("Allow", ben.name, ["s3:PutObject"], f"{bucket}/*")
    denied = statement("Deny", ben.name, [action], f"{bucket}/*")
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed, denied))
    changed = {"tags": {"a": "2"}} if action == "s3:PutObjectTagging" else {"replace_tags": True}
    assert change(ben, bucket, description="half", **changed).status == 403
    assert said(ann, bucket) == ("", {"a": "1"})
    assert change(ben, bucket, description="words", tags={"a": "1"}).status == 200
    assert said(ann, bucket) == ("words", {"a": "1"})


def test_a_policy_about_the_tags_of_a_request_is_kept(ann: Person, ben: Person, bucket: str) -> None:
    """Its condition sees the tags that the file would have."""
    denied = statement("Deny", ben.name, ["s3:PutObjectTagging"], f"{bucket}/*")
    denied["Condition"] = {"StringEquals": {"s3:RequestObjectTag/secret": "yes"}}
    allowed = statement("Allow", ben.name, ["s3:PutObject"], f"{bucket}/*")
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed, denied))
    assert change(ben, bucket, tags={"secret": "yes"}).status == 403
    assert change(ben, bucket, tags={"secret": "no"}).status == 200
    assert said(ann, bucket) == ("", {"secret": "no"})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "nothing to change"),
        ({"description": "x" * 2001}, "2001 characters"),
        ({"description": "a\x1b[2J"}, "U+001B"),
        ({"description": 5}, "description"),
        ({"tags": {"aws:a": "1"}}, "reserved"),
        ({"tags": {"a": "<"}}, "value"),
        ({"tags": {"": "1"}}, "tag key"),
        ({"tags": {f"k{n}": "" for n in range(11)}}, "maximum is 10"),
        ({"tag": {"a": "1"}}, "tag"),
    ],
)
def test_what_is_no_fact_is_refused(ann: Person, bucket: str, body: dict[str, Any], why: str) -> None:
    """In words, and the facts are as they were."""
    change(ann, bucket, description="words", tags={"a": "1"})
    answer = change(ann, bucket, **body)
    assert answer.status == 400
    assert why in answer.json["detail"]
    assert said(ann, bucket) == ("words", {"a": "1"})


def test_what_is_not_there_has_no_facts(ann: Person, bucket: str) -> None:
    """A missing file, a missing version, and a deleted file's marker."""
    versioned(ann, bucket)
    assert ann.ask("GET", f"/facts/{bucket}/none").status == change(ann, bucket, "none", description="x").status == 404
    assert change(ann, bucket, query="?version=0000000000000001", description="x").status == 404
    marker = ann.ask("DELETE", f"/files/{bucket}/k").json["version"]
    for query in ("", f"?version={marker}"):
        assert ann.ask("GET", f"/facts/{bucket}/k{query}").status == 404
        assert change(ann, bucket, query=query, description="x").status == 404
