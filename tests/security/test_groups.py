"""Groups of accounts: who changes them, and that their members have at once what is granted to them, and no longer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes.wsgi import Answer
from tests.s3.people import document, statement
from tests.s3.rig import S3Rig
from tests.security.people import Person, comparable

JSON = {"Content_Type": "application/json"}
_numbers = itertools.count(1)


@pytest.fixture
def bucket(olga: Person) -> str:
    name = olga.bucket()
    for path in ("top.txt", "in/a.txt"):
        assert olga.put(name, path, b"content").status == 201
    return name


@pytest.fixture(scope="module")
def mallory(rig: S3Rig) -> Person:
    return Person(rig, "mallory")


def ask_admin(rig: S3Rig, method: str, target: str, **body: Any) -> Answer:
    return rig.cluster.ask(method, target, json.dumps(body).encode() if body else b"")


def new_group(rig: S3Rig, **accounts: str) -> str:
    name = f"team-{next(_numbers)}"
    assert ask_admin(rig, "POST", "/groups", name=name, accounts=accounts).status == 201
    return name


def change(person: Person, group: str, **accounts: str | None) -> Answer:
    return person.ask("PATCH", f"/groups/{group}", json.dumps({"accounts": accounts}).encode(), **JSON)


def grant(person: Person, bucket: str, path: str, **levels: str | None) -> Answer:
    """Replace the grants of a path; `group_x` is the group x."""
    grants = [{"account": name.replace("group_", "group:"), "level": level} for name, level in levels.items()]
    return person.ask("PUT", f"/access/{bucket}", json.dumps({"path": path, "grants": grants}).encode(), **JSON)


def grant_to(person: Person, bucket: str, path: str, group: str, level: str = "read") -> None:
    body = {"path": path, "grants": [{"account": f"group:{group}", "level": level}]}
    assert person.ask("PUT", f"/access/{bucket}", json.dumps(body).encode(), **JSON).status == 200


def explained(person: Person, bucket: str, path: str) -> dict[str, Any]:
    answer = person.ask("GET", f"/access/{bucket}?path={path}")
    assert answer.status == 200, answer.body
    return {one["account"]: one for one in answer.json["people"]}


# ---------------------------------------------------------------- what a member may do


def test_members_have_what_is_granted_to_the_group(
    rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str
) -> None:
    """At both doors, below the path and nowhere else; also who joined after the grant was made."""
    group = new_group(rig, olga="manager")
    grant_to(olga, bucket, "in/", group, "write")
    assert eve.get(bucket, "in/a.txt").status == 403
    assert change(olga, group, eve="member").status == 200
    assert eve.get(bucket, "in/a.txt").body == b"content"
    assert eve.s3.get_object(Bucket=bucket, Key="in/a.txt")["Body"].read() == b"content"
    eve.s3.put_object(Bucket=bucket, Key="in/new", Body=b"x")
    assert eve.get(bucket, "top.txt").status == mallory.get(bucket, "in/a.txt").status == 403


def test_who_leaves_reads_no_more(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """Also under a read lease: the change ends it before it takes effect."""
    group = new_group(rig, olga="manager", eve="member")
    grant_to(olga, bucket, "in/", group)
    for _ in range(3):
        assert eve.get(bucket, "in/a.txt").status == 200
    assert change(olga, group, eve=None).status == 200
    assert eve.get(bucket, "in/a.txt").status == 403
    with pytest.raises(ClientError):
        eve.s3.get_object(Bucket=bucket, Key="in/a.txt")


def test_a_policy_can_name_a_group(rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """By name or by ARN, to allow and to deny; an unknown group is refused."""
    group = new_group(rig, eve="member")
    allowed = statement("Allow", f"group:{group}", "s3:GetObject", f"{bucket}/*")
    denied = statement("Deny", f"arn:aws:iam:::group/{group}", "s3:GetObject", f"{bucket}/in/*")
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed, denied))
    assert eve.get(bucket, "top.txt").status == 200
    assert eve.get(bucket, "in/a.txt").status == mallory.get(bucket, "top.txt").status == 403
    told = explained(olga, bucket, "in/a.txt")["eve"]
    assert (told["ground"], told["group"]) == ("denied", f"group:{group}")
    with pytest.raises(ClientError) as refused:
        unknown = statement("Allow", "group:nobody", "s3:GetObject", f"{bucket}/*")
        olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(unknown))
    assert refused.value.response["Error"]["Code"] == "MalformedPolicy"


def test_a_key_with_limits_gets_what_its_account_gets(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """A group gives a service account nothing that its own policy does not allow."""
    group = new_group(rig, eve="member")
    grant_to(olga, bucket, "", group, "write")
    name = f"tool-{next(_numbers)}"
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    body = json.dumps({"name": name, "policy": policy}).encode()
    assert eve.ask("POST", "/auth/service-accounts", body, **JSON).status == 201
    key = eve.ask("POST", f"/auth/service-accounts/{name}/keys").json
    tool = rig.client((key["access_key_id"], key["secret"]))
    assert tool.get_object(Bucket=bucket, Key="top.txt")["Body"].read() == b"content"
    with pytest.raises(ClientError):
        tool.put_object(Bucket=bucket, Key="new", Body=b"x")


def test_a_write_is_judged_again_when_it_commits(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """An upload that began as a member's is not completed by who is none any more."""
    group = new_group(rig, eve="member")
    grant_to(olga, bucket, "in/", group, "write")
    begun = eve.s3.create_multipart_upload(Bucket=bucket, Key="in/big")["UploadId"]
    part = eve.s3.upload_part(Bucket=bucket, Key="in/big", UploadId=begun, PartNumber=1, Body=b"x")
    ask_admin(rig, "PATCH", f"/groups/{group}", accounts={"eve": None})
    with pytest.raises(ClientError):
        eve.s3.complete_multipart_upload(
            Bucket=bucket,
            Key="in/big",
            UploadId=begun,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )


# ---------------------------------------------------------------- who may see this, and why?


def test_the_explanation_names_the_group(rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """For its members, for itself, and not for who has the same without it."""
    group = new_group(rig, eve="member", mallory="member")
    assert grant(olga, bucket, "in/", mallory="read", **{f"group_{group}": "read"}).status == 200
    told = explained(olga, bucket, "in/a.txt")
    assert told["eve"]["because"] == f"member of {group}: a grant on the folder 'in/'"
    assert (told["eve"]["group"], told["eve"]["levels"]) == (f"group:{group}", ["read"])
    assert (told["mallory"].get("group", ""), told["mallory"]["levels"]) == ("", ["read"])
    assert told[f"group:{group}"]["levels"] == ["read"]
    assert told[":accounts"]["levels"] == []
    asked = olga.ask("GET", f"/access/{bucket}?path=in/a.txt&account=group:{group}").json["people"]
    assert [one["account"] for one in asked] == [f"group:{group}"]
    assert olga.ask("GET", f"/access/{bucket}?account=group:none").status == 404
    (own,) = eve.ask("GET", f"/access/{bucket}?path=in/a.txt").json["people"]
    assert own["group"] == f"group:{group}"


def test_the_explanation_is_what_happens(rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """Several groups together, each with a part; whoever is in none has nothing."""
    readers, writers = new_group(rig, eve="member", mallory="member"), new_group(rig, eve="member")
    levels = {f"group_{readers}": "read", f"group_{writers}": "write"}
    assert grant(olga, bucket, "in/", **levels).status == 200
    told = explained(olga, bucket, "in/a.txt")
    for person in (eve, mallory):
        assert ("read" in told[person.name]["levels"]) == (person.get(bucket, "in/a.txt").status == 200)
        assert ("write" in told[person.name]["levels"]) == (person.put(bucket, "in/a.txt", b"y").status < 300)
    assert told["eve"]["group"] == f"group:{writers}"


def test_one_sees_what_is_shared_with_ones_groups(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """With the group's name; after leaving, no more."""
    group = new_group(rig, eve="member")
    grant_to(olga, bucket, "in/", group)
    mine = [one for one in eve.ask("GET", "/shared-with-me").json["items"] if one["bucket"] == bucket]
    assert mine == [{"bucket": bucket, "path": "in/", "owner": "olga", "level": "read", "group": group}]
    assert (
        any(one["account"] == f"group:{group}" for one in eve.ask("GET", f"/access/{bucket}").json["grants"]) is False
    )
    ask_admin(rig, "PATCH", f"/groups/{group}", accounts={"eve": None})
    assert not [one for one in eve.ask("GET", "/shared-with-me").json["items"] if one["bucket"] == bucket]


# ---------------------------------------------------------------- who changes a group


def test_managers_change_their_group_and_no_other(rig: S3Rig, olga: Person, eve: Person, mallory: Person) -> None:
    """Members see it; to others it does not exist; only administrators make and delete groups."""
    group, other = new_group(rig, olga="manager", eve="member"), new_group(rig)
    assert change(olga, group, mallory="member").status == 200
    assert change(eve, group, mallory=None).status == 403
    assert change(mallory, group, mallory="manager").status == 403
    assert change(olga, group, mallory=None).status == 200
    hidden, missing = mallory.ask("GET", f"/groups/{group}"), mallory.ask("GET", "/groups/none")
    assert comparable(hidden, group) == comparable(missing, "none")
    assert change(mallory, group, mallory="manager").status == change(olga, other, olga="manager").status == 404
    assert eve.ask("GET", f"/groups/{group}").json["accounts"] == {"eve": "member", "olga": "manager"}
    listed = {one["name"]: one for one in eve.ask("GET", "/groups").json["groups"]}
    assert (listed[group]["members"], listed[group]["role"]) == (2, "member")
    assert other not in listed
    assert {group, other} <= {one["name"] for one in ask_admin(rig, "GET", "/groups").json["groups"]}
    assert olga.ask("POST", "/groups", b'{"name": "mine"}', **JSON).status == 403
    assert olga.ask("DELETE", f"/groups/{group}").status == 403
    assert change(olga, group, eve="manager", olga="member").status == 200
    assert change(olga, group, olga="manager").status == 403


def test_a_read_only_account_manages_nothing(rig: S3Rig) -> None:
    """Its role wins over what a group says."""
    name = f"looker-{next(_numbers)}"
    looker, group = Person(rig, name), new_group(rig)
    ask_admin(rig, "PATCH", f"/groups/{group}", accounts={name: "manager"})
    assert ask_admin(rig, "PATCH", f"/users/{name}", role="read-only").status == 200
    assert change(looker, group, olga="member").status == 403


def test_bad_groups_are_refused(rig: S3Rig) -> None:
    """A name that grants could not name, a taken one in other letters, an unknown account: and nothing is made."""
    for name in ("", "a/b", "a:b", "a*", " a", "a\n"):
        assert ask_admin(rig, "POST", "/groups", name=name).status == 400, name
    group = new_group(rig)
    assert ask_admin(rig, "POST", "/groups", name=group.upper()).status == 409
    assert ask_admin(rig, "GET", f"/groups/{group.upper()}").json["name"] == group
    assert ask_admin(rig, "POST", "/groups", name=f"{group}-b", accounts={"nobody": "member"}).status == 404
    assert ask_admin(rig, "GET", f"/groups/{group}-b").status == 404
    assert ask_admin(rig, "PATCH", f"/groups/{group}", accounts={"olga": "owner"}).status == 400


def test_grants_end_with_the_group(rig: S3Rig, olga: Person, eve: Person, mallory: Person, bucket: str) -> None:
    """Its next life has none of them; a policy that names it must go first."""
    group = new_group(rig, eve="member")
    assert grant(olga, bucket, "in/", mallory="read", **{f"group_{group}": "read"}).status == 200
    policy = document(statement("Allow", f"group:{group}", "s3:GetObject", f"{bucket}/top.txt"))
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    refused = ask_admin(rig, "DELETE", f"/groups/{group}")
    assert (refused.status, refused.json["facts"]["buckets"]) == (409, [bucket])
    olga.s3.delete_bucket_policy(Bucket=bucket)
    assert eve.get(bucket, "in/a.txt").status == 200
    assert ask_admin(rig, "DELETE", f"/groups/{group}").status == 204
    assert eve.get(bucket, "in/a.txt").status == 403
    assert mallory.get(bucket, "in/a.txt").status == 200
    assert ask_admin(rig, "POST", "/groups", name=group, accounts={"eve": "member"}).status == 201
    assert eve.get(bucket, "in/a.txt").status == 403


def test_a_deleted_account_is_in_no_group(rig: S3Rig, olga: Person, bucket: str) -> None:
    """Who takes the name gets nothing."""
    name = f"brief-{next(_numbers)}"
    brief = Person(rig, name)
    group = new_group(rig, **{name: "member"})
    grant_to(olga, bucket, "in/", group)
    assert brief.get(bucket, "in/a.txt").status == 200
    assert ask_admin(rig, "DELETE", f"/users/{name}").status == 204
    assert ask_admin(rig, "GET", f"/groups/{group}").json.get("accounts", {}) == {}
    assert Person(rig, name).get(bucket, "in/a.txt").status == 403


def test_changes_are_security_events(rig: S3Rig, olga: Person) -> None:
    """Who did it, to which group, and who joined or left."""
    group = new_group(rig, olga="manager")
    change(olga, group, eve="member")
    change(olga, group, eve=None)
    ask_admin(rig, "DELETE", f"/groups/{group}")
    events = rig.cluster.ask("GET", "/audit?after=0&limit=1000").json["events"]
    found = [(one["kind"], one["account"], one.get("detail", "")) for one in events if one.get("subject") == group]
    assert found == [
        ("group made", "admin", "olga manager"),
        ("group changed", "olga", "eve member"),
        ("group changed", "olga", "eve leaves"),
        ("group deleted", "admin", ""),
    ]
