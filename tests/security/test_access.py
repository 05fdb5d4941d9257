"""Access to files and folders: what a grant gives, who may make one, and that every explanation is what happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.access import ANY_ACCOUNT, EVERYBODY
from lockstep_store.wire.messages.s3 import PUT_BUCKET_SETTING, PutBucketSettingRequest
from tests.fakes.wsgi import Answer
from tests.s3.people import anonymous_client, document, statement
from tests.s3.rig import S3Rig
from tests.security.people import Person

JSON = {"Content_Type": "application/json"}


@pytest.fixture
def bucket(olga: Person) -> str:
    name = olga.bucket()
    for path in ("top.txt", "in/a.txt", "in/deep/b.txt", "inner.txt"):
        assert olga.put(name, path, b"content").status == 201
    return name


@pytest.fixture(scope="module")
def mallory(rig: S3Rig) -> Person:
    return Person(rig, "mallory")


def grant(person: Person, bucket: str, path: str, *, public: bool = False, **levels: str) -> Answer:
    """Replace the grants of a path."""
    grants = [{"account": name, "level": level} for name, level in levels.items()]
    body = json.dumps({"path": path, "grants": grants, "public": public}).encode()
    return person.ask("PUT", f"/access/{bucket}", body, **JSON)


def shown(person: Person, bucket: str, path: str, account: str = "") -> dict[str, Any]:
    """The explanation, by account."""
    more = f"&account={account}" if account else ""
    answer = person.ask("GET", f"/access/{bucket}?path={quote(path)}{more}" if path else f"/access/{bucket}")
    assert answer.status == 200, answer.body
    return {one["account"]: one for one in answer.json["people"]}


# ---------------------------------------------------------------- what a grant gives


def test_reading_is_for_the_folder_and_nothing_else(olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """At both doors: list and read below it, write nothing, and nobody else gets anything."""
    assert grant(olga, bucket, "in/", eve="read").status == 200
    for path in ("in/a.txt", "in/deep/b.txt"):
        assert eve.get(bucket, path).status == 200
        assert eve.s3.get_object(Bucket=bucket, Key=path)["Body"].read() == b"content"
        assert mallory.get(bucket, path).status == 403
    for path in ("top.txt", "inner.txt"):
        assert eve.get(bucket, path).status == 403
    assert eve.ask("GET", f"/files/{bucket}?prefix=in/").status == 200
    assert {one["Key"] for one in eve.s3.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]} == {
        *("in/a.txt", "in/deep/b.txt")
    }
    assert eve.ask("GET", f"/files/{bucket}").status == eve.ask("GET", f"/files/{bucket}?prefix=in").status == 403
    assert eve.put(bucket, "in/new", b"x").status == 403
    assert eve.ask("DELETE", f"/files/{bucket}/in/a.txt").status == 403


def test_writing_and_managing_are_more(olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """Writers change files; managers also change who has access, at and below their path only."""
    grant(olga, bucket, "in/", eve="write")
    assert eve.put(bucket, "in/new", b"x").status == 201
    assert eve.ask("DELETE", f"/files/{bucket}/in/a.txt").status == 200
    assert eve.put(bucket, "top.txt", b"x").status == 403
    assert grant(eve, bucket, "in/", mallory="read").status == 403
    grant(olga, bucket, "in/", eve="manage")
    assert grant(eve, bucket, "in/deep/", mallory="read").status == 200
    assert mallory.get(bucket, "in/deep/b.txt").status == 200
    for path in ("", "top.txt", "i", "in"):
        assert grant(eve, bucket, path, mallory="read").status == 403
    assert eve.get(bucket, "top.txt").status == 403


def test_a_grant_on_a_file_is_for_that_file(olga: Person, eve: Person, bucket: str) -> None:
    """A name with special letters is no pattern, and no beginning of another name."""
    for name in ("a*.txt", "a?b.txt", "${aws:username}.txt"):
        olga.put(bucket, quote(name), b"special")
        assert grant(olga, bucket, name, eve="read").status == 200
        assert eve.get(bucket, quote(name)).body == b"special"
    for name in ("abc.txt", "aXb.txt", "eve.txt", "a*.txt2"):
        olga.put(bucket, quote(name), b"other")
        assert eve.get(bucket, quote(name)).status == 403


def test_a_grant_on_a_bucket_is_for_all_of_it(olga: Person, eve: Person, bucket: str) -> None:
    """Listing and the bucket itself too, but none of its settings."""
    grant(olga, bucket, "", eve="manage")
    assert eve.ask("GET", f"/files/{bucket}").status == eve.ask("GET", f"/buckets/{bucket}").status == 200
    assert eve.get(bucket, "top.txt").status == 200
    assert eve.ask("PATCH", f"/buckets/{bucket}", b'{"shared": true}', **JSON).status == 403
    assert eve.ask("DELETE", f"/buckets/{bucket}").status == 403
    with pytest.raises(ClientError):
        eve.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", "eve", "s3:*", f"{bucket}/*")))


def test_public_needs_no_account(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """Everybody reads, nobody writes; S3's own word for the bucket is public, and off again is off at once."""
    anonymous = anonymous_client(rig)
    assert grant(olga, bucket, "in/", public=True).json["public"] is True
    assert anonymous.get_object(Bucket=bucket, Key="in/a.txt")["Body"].read() == b"content"
    assert eve.get(bucket, "in/a.txt").status == 200
    assert olga.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    for refused in (
        lambda: anonymous.get_object(Bucket=bucket, Key="top.txt"),
        lambda: anonymous.put_object(Bucket=bucket, Key="in/x", Body=b""),
    ):
        with pytest.raises(ClientError):
            refused()
    assert grant(olga, bucket, "in/").json["public"] is False
    with pytest.raises(ClientError):
        anonymous.get_object(Bucket=bucket, Key="in/a.txt")
    assert olga.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False


def test_the_public_access_block_holds_for_grants(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """Blocked, a public grant is refused; restricted, one that is there has no effect, and named ones have."""
    grant(olga, bucket, "in/", public=True, eve="read")
    blocks = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)

    def block(name: str) -> None:
        olga.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocks | {name: True})

    block("RestrictPublicBuckets")
    with pytest.raises(ClientError):
        anonymous_client(rig).get_object(Bucket=bucket, Key="in/a.txt")
    assert eve.get(bucket, "in/a.txt").status == 200
    assert olga.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    block("BlockPublicPolicy")
    assert grant(olga, bucket, "top.txt", public=True).status == 403
    assert grant(olga, bucket, "top.txt", eve="read").status == 200


def test_a_deny_of_the_policy_wins(olga: Person, eve: Person, bucket: str) -> None:
    """A grant is an Allow like any other."""
    grant(olga, bucket, "in/", eve="write")
    olga.s3.put_bucket_policy(
        Bucket=bucket, Policy=document(statement("Deny", "eve", "s3:GetObject", f"{bucket}/in/deep/*"))
    )
    assert eve.get(bucket, "in/a.txt").status == 200
    assert eve.get(bucket, "in/deep/b.txt").status == 403
    (told,) = shown(eve, bucket, "in/deep/b.txt").values()
    assert told["levels"] == ["write"]
    assert shown(olga, bucket, "in/deep/b.txt", "eve")["eve"]["levels"] == ["write"]


# ---------------------------------------------------------------- who may change and see


def test_strangers_change_and_see_nothing(rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """They learn about themselves alone; also the call for S3's settings does not change grants."""
    grant(olga, bucket, "in/", eve="read")
    answer = mallory.ask("GET", f"/access/{bucket}?path=in/")
    assert [one["account"] for one in answer.json["people"]] == ["mallory"]
    assert answer.json["grants"] == []
    assert answer.json.get("may_change", False) is False
    assert mallory.ask("GET", f"/access/{bucket}?path=in/&account=eve").status == 403
    assert grant(mallory, bucket, "in/", mallory="manage").status == 403
    credential = olga.headers["Authorization"].removeprefix("Bearer ")
    for value in (None, "[]"):
        with pytest.raises(BadRequest):
            rig.directory.call(PUT_BUCKET_SETTING, PutBucketSettingRequest(credential, bucket, "grants", value))
    assert eve.get(bucket, "in/a.txt").status == 200


def test_sharing_a_bucket_shares_no_decisions(olga: Person, mallory: Person, bucket: str) -> None:
    """Everybody uses a shared bucket; who else does is still its owner's to say."""
    _shared(olga, bucket)
    assert mallory.get(bucket, "in/a.txt").status == 200
    assert grant(mallory, bucket, "in/", public=True).status == 403
    (told,) = shown(mallory, bucket, "in/a.txt").values()
    assert (told["levels"], told["ground"]) == (["read", "write"], "shared")


def test_bad_grants_are_refused(olga: Person, bucket: str) -> None:
    """An unknown account, a level for everybody that is more than reading, a path that leads elsewhere, too many."""
    assert grant(olga, bucket, "in/", nobody="read").status == 404
    assert olga.ask("GET", f"/access/{bucket}?account=nobody").status == 404
    body = json.dumps({"path": "in/", "grants": [{"account": EVERYBODY, "level": "write"}]}).encode()
    assert olga.ask("PUT", f"/access/{bucket}", body, **JSON).status == 400
    assert grant(olga, bucket, "../x", eve="read").status == 400
    assert grant(olga, bucket, "in/", eve="owner").status == 400
    assert olga.ask("GET", f"/access/{bucket}?path=a/../b").status == 400


def test_some_grants_change_and_the_others_stay(olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """PATCH adds, changes and removes by account; PUT replaces all of the path's, and none of other paths."""
    grant(olga, bucket, "in/", eve="read", mallory="read")
    grant(olga, bucket, "top.txt", eve="read")
    body = json.dumps({"path": "in/", "grants": [{"account": "eve", "level": "write"}], "public": True}).encode()
    assert olga.ask("PATCH", f"/access/{bucket}", body, **JSON).status == 200
    found = olga.ask("GET", f"/access/{bucket}?path=in/").json["grants"]
    assert {(one["account"], one["level"]) for one in found} == {
        *(("eve", "write"), ("mallory", "read"), (EVERYBODY, "read"))
    }
    body = json.dumps({"path": "in/", "grants": [{"account": "mallory", "level": None}], "public": False}).encode()
    olga.ask("PATCH", f"/access/{bucket}", body, **JSON)
    found = olga.ask("GET", f"/access/{bucket}?path=in/").json["grants"]
    assert [(one["account"], one["level"]) for one in found] == [("eve", "write")]
    assert mallory.get(bucket, "in/a.txt").status == 403
    grant(olga, bucket, "in/")
    assert eve.get(bucket, "in/a.txt").status == 403
    assert eve.get(bucket, "top.txt").status == 200
    mine = [one for one in eve.ask("GET", "/shared-with-me").json["items"] if one["bucket"] == bucket]
    assert mine == [{"bucket": bucket, "path": "top.txt", "owner": "olga", "level": "read"}]


def test_grants_end_with_the_account_and_with_the_bucket(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Who takes an old name, of an account or of a bucket, gets nothing that was granted before."""
    name = olga.bucket()
    olga.put(name, "f", b"x")
    brief = Person(rig, "fleeting")
    grant(olga, name, "", fleeting="manage", eve="read")
    assert brief.get(name, "f").status == 200
    assert rig.cluster.ask("DELETE", "/users/fleeting").status == 204
    assert Person(rig, "fleeting").get(name, "f").status == 403
    assert eve.get(name, "f").status == 200
    olga.ask("DELETE", f"/files/{name}/f")
    assert olga.ask("DELETE", f"/buckets/{name}").status == 204
    olga.s3.create_bucket(Bucket=name)
    olga.put(name, "f", b"x")
    assert eve.get(name, "f").status == 403


# ---------------------------------------------------------------- the explanation


def _policy(olga: Person, bucket: str) -> None:
    allowed = statement("Allow", "eve", ["s3:GetObject", "s3:PutObject"], f"{bucket}/in/*")
    denied = statement("Deny", "mallory", "s3:PutObject", f"{bucket}/*")
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed, denied))


def _public_policy(olga: Person, bucket: str) -> None:
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", "*", "s3:GetObject", f"{bucket}/in/*")))


def _bucket_list(olga: Person, bucket: str) -> None:
    olga.s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")


def _object_list(olga: Person, bucket: str) -> None:
    olga.s3.put_object_acl(Bucket=bucket, Key="in/a.txt", ACL="authenticated-read")


def _shared(olga: Person, bucket: str) -> None:
    assert olga.ask("PATCH", f"/buckets/{bucket}", b'{"shared": true}', **JSON).status == 200


def _granted(olga: Person, bucket: str) -> None:
    grant(olga, bucket, "in/", eve="write", mallory="read")


def _granted_and_denied(olga: Person, bucket: str) -> None:
    grant(olga, bucket, "", public=True, mallory="manage")
    _policy(olga, bucket)


def _nothing(olga: Person, bucket: str) -> None:
    pass


@pytest.mark.parametrize(
    ("rules", "ground"),
    [
        (_nothing, "nothing"),
        (_policy, "policy"),
        (_public_policy, "policy"),
        (_bucket_list, "acl"),
        (_object_list, "acl"),
        (_shared, "shared"),
        (_granted, "grant"),
        (_granted_and_denied, "policy"),
    ],
)
def test_an_explanation_is_what_happens(
    rig: S3Rig,
    olga: Person,
    eve: Person,
    mallory: Person,
    bucket: str,
    rules: Callable[[Person, str], None],
    ground: str,
) -> None:
    """Whatever gives a right, what is said of everybody is what they then can do, at both doors; and it says why."""
    rules(olga, bucket)
    nobody = anonymous_client(rig)
    told = shown(olga, bucket, "in/a.txt")
    assert told["olga"]["ground"] == "owner"
    assert told["admin"]["ground"] == "administrator"
    assert ("read" in told[EVERYBODY]["levels"]) == _succeeds(nobody.get_object, Bucket=bucket, Key="in/a.txt")
    assert olga.ask("GET", f"/access/{bucket}?path=in/a.txt").json["public"] == ("read" in told[EVERYBODY]["levels"])
    stranger = Person(rig, "stranger")
    assert told[ANY_ACCOUNT]["levels"] == shown(olga, bucket, "in/a.txt", "stranger")["stranger"]["levels"]
    assert shown(olga, bucket, "in/a.txt", "eve")["eve"]["ground"] == ground
    for name, person in (("stranger", stranger), ("eve", eve), ("mallory", mallory), ("olga", olga)):
        said = shown(olga, bucket, "in/a.txt", name)[name]
        assert shown(person, bucket, "in/a.txt")[name] == said
        assert told.get(name, said) == said
        reads = person.get(bucket, "in/a.txt").status == 200
        assert reads == _succeeds(person.s3.get_object, Bucket=bucket, Key="in/a.txt")
        writes = person.put(bucket, "in/a.txt", b"content").status == 200
        assert ("read" in said["levels"]) == reads, said
        assert ("write" in said["levels"]) == writes, said
        assert said["because"]


def _succeeds(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError:
        return False
    return True


def test_a_condition_on_the_request_is_marked(olga: Person, eve: Person, bucket: str) -> None:
    """An explanation has no request, so it says that one may be judged otherwise."""
    allowed = statement(
        "Allow", "eve", "s3:GetObject", f"{bucket}/*", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    )
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed))
    assert eve.get(bucket, "in/a.txt").status == 200
    said = shown(olga, bucket, "in/a.txt", "eve")["eve"]
    assert (said["levels"], said["conditional"]) == ([], True)
