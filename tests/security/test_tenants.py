r"""Tenants: their administrators rule inside and nowhere else, and nothing of one reaches another.

The matrices of routes and S3 operations ask each of them as an administrator of another tenant.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import func, select

from directory_server.metadata.schema import join_secret
from directory_server.metadata.statement import Statement
from tests.fakes.wsgi import Answer
from tests.s3.people import anonymous_client, document, statement
from tests.s3.rig import ENDPOINT, S3Rig
from tests.security.people import Person, comparable
from tests.security.visitors import Visitor

PASSWORD = "correct horse"
_numbers = itertools.count(1)
_INVITATIONS = Statement(select(func.count()).select_from(join_secret))


class Member:
    """An account of a tenant, with its keys."""

    def __init__(self, rig: S3Rig, name: str, role: str = "member") -> None:
        self.name = name
        self._rig = rig
        made = admin(rig, "POST", "/users", name=name, role=role, password=PASSWORD)
        assert made.status == 201, made.body
        reply = rig.cluster.ask_with({}, "POST", "/auth/login", _json(username=name, password=PASSWORD))
        assert reply.status == 200, reply.body
        self.headers = {"Authorization": f"Bearer {reply.json['token']}"}
        self._key = rig.key(self.ask("POST", "/auth/keys", name="key").json["key"])
        self.s3 = self.client("s3")

    def client(self, service: str) -> Any:
        return self._rig.client(self._key, service=service)

    def ask(self, method: str, target: str, **body: Any) -> Answer:
        return self._rig.cluster.ask_with(self.headers, method, target, _json(**body) if body else b"")

    def put(self, bucket: str, path: str, content: bytes = b"content") -> Answer:
        return self._rig.cluster.ask_with(self.headers, "PUT", f"/files/{bucket}/{path}", content)

    def bucket(self, paths: Sequence[str] = ("f",)) -> str:
        name = f"tenants-{next(_numbers)}"
        assert self.ask("POST", "/buckets", name=name).status == 201
        for path in paths:
            assert self.put(name, path).status == 201
        return name


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()


def admin(rig: S3Rig, method: str, target: str, **body: Any) -> Answer:
    return rig.cluster.ask(method, target, _json(**body) if body else b"")


def user(name: str) -> str:
    return f"/users/{quote(name, safe='')}"


def invitations(rig: S3Rig) -> int:
    with rig.cluster.directory.store.read() as reader:
        (count,) = reader.one(_INVITATIONS)  # type: ignore[misc]
    return int(count)


def new_tenant(rig: S3Rig) -> str:
    name = f"org-{next(_numbers)}"
    assert admin(rig, "POST", "/tenants", name=name).status == 201
    return name


@pytest.fixture(scope="module")
def acme(rig: S3Rig) -> str:
    return new_tenant(rig)


@pytest.fixture(scope="module")
def boss(rig: S3Rig, acme: str) -> Member:
    return Member(rig, f"{acme}\\boss", "administrator")


@pytest.fixture(scope="module")
def ann(rig: S3Rig, acme: str) -> Member:
    return Member(rig, f"{acme}\\ann")


@pytest.fixture(scope="module")
def rival(rig: S3Rig) -> Member:
    return Member(rig, f"{new_tenant(rig)}\\rival", "administrator")


# ---------------------------------------------------------------- inside


def test_a_tenants_administrator_makes_and_changes_its_accounts(acme: str, boss: Member) -> None:
    """As an administrator of the cluster does, with names that begin with the tenant's."""
    name = f"{acme}\\new-{next(_numbers)}"
    made = boss.ask("POST", "/users", name=name)
    assert (made.status, made.json["user"]["name"]) == (201, name)
    assert made.json["password"]
    assert name in {one["name"] for one in boss.ask("GET", "/users").json["users"]}
    assert boss.ask("PATCH", user(name), role="read-only").json["role"] == "read-only"
    assert boss.ask("PATCH", user(name), role="administrator").json["role"] == "administrator"
    assert boss.ask("POST", f"{user(name)}/reset").status == 200
    assert boss.ask("GET", f"{user(name)}/access").status == 200
    assert boss.ask("PATCH", user(name), disabled=True).status == 200
    assert boss.ask("DELETE", user(name)).status == 204


def test_no_account_is_made_outside(rig: S3Rig, acme: str, boss: Member, rival: Member) -> None:
    """Neither with a plain name, nor in another tenant, nor in one that is not there, and never by registering."""
    other = rival.name.partition("\\")[0]
    for name in ("plain", f"{other}\\spy", "nowhere\\x", f"{acme}\\", f"{acme}\\a\\b", "\\x"):
        assert boss.ask("POST", "/users", name=name).status == 400, name
    assert admin(rig, "POST", "/users", name="nowhere\\x").status == 404
    for name in (f"{acme}\\walk-in", boss.name):
        asked = _json(username=name, password=PASSWORD)
        refused = rig.cluster.ask_with({}, "POST", "/auth/register", asked)
        assert refused.status == 403, refused.body
    wrong = rig.cluster.ask_with({}, "POST", "/auth/login", _json(username=boss.name, password="wrong password"))
    unknown = rig.cluster.ask_with({}, "POST", "/auth/login", _json(username=f"{acme}\\none", password=PASSWORD))
    assert comparable(wrong) == comparable(unknown)
    assert wrong.status == 401


def test_a_tenants_administrator_has_its_buckets(rig: S3Rig, boss: Member, ann: Member) -> None:
    """Reads, changes, lists and follows them, breaks their locks; Ann is asked as little as by the cluster's own."""
    bucket = ann.bucket()
    assert boss.ask("GET", f"/files/{bucket}/f").body == b"content"
    assert bucket in {one["name"] for one in boss.ask("GET", "/buckets").json["buckets"]}
    assert boss.ask("PATCH", f"/buckets/{bucket}", shared=True).status == 200
    lock = ann.ask("POST", "/locks", paths=[f"{bucket}/f"]).json["lock"]["number"]
    assert boss.ask("DELETE", f"/locks/{lock}?break=true").status == 204
    seen = {change["bucket"] for change in boss.ask("GET", "/changes?cursor=0&limit=1000").json["changes"]}
    assert bucket in seen
    assert all(name.startswith("tenants-") for name in seen)
    hits = boss.ask("GET", "/search?q=f").json["hits"]
    assert bucket in {hit["file"]["bucket"] for hit in hits}
    assert boss.s3.get_object(Bucket=bucket, Key="f")["Body"].read() == b"content"


def test_sharing_is_inside(rig: S3Rig, acme: str, boss: Member, ann: Member, rival: Member, olga: Person) -> None:
    """Shared with all accounts means all of the tenant's; a grant names nobody else, and explains nobody else."""
    bucket = ann.bucket()
    ben = Member(rig, f"{acme}\\ben-{next(_numbers)}")
    assert ben.ask("GET", f"/files/{bucket}/f").status == 403
    assert ann.ask("PATCH", f"/buckets/{bucket}", shared=True).status == 200
    assert ben.ask("GET", f"/files/{bucket}/f").status == 200
    assert ben.put(bucket, "by-ben").status == 201
    assert rival.ask("GET", f"/files/{bucket}/f").status == olga.get(bucket, "f").status == 404
    for name in (rival.name, "olga", "admin"):
        refused = ann.ask("PATCH", f"/access/{bucket}", path="", grants=[{"account": name, "level": "read"}])
        unknown = ann.ask("PATCH", f"/access/{bucket}", path="", grants=[{"account": "nobody", "level": "read"}])
        assert comparable(refused, json.dumps(name)[1:-1], name) == comparable(unknown, "nobody")
        with pytest.raises(ClientError):
            ann.s3.put_bucket_policy(
                Bucket=bucket, Policy=document(statement("Allow", name, "s3:GetObject", f"{bucket}/*"))
            )
        with pytest.raises(ClientError):
            ann.s3.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{name}"')
    assert ann.ask("PATCH", f"/access/{bucket}", path="", grants=[{"account": ben.name, "level": "read"}]).status == 200
    people = {one["account"]: one for one in ann.ask("GET", f"/access/{bucket}").json["people"]}
    assert {name for name in people if not name.startswith((f"{acme}\\", ":"))} == set()
    assert people[boss.name]["ground"] == "administrator"
    assert people[":accounts"]["levels"] == ["read", "write"]
    assert people[":everybody"]["levels"] == []


def test_groups_are_the_tenants_own(rig: S3Rig, acme: str, boss: Member, ann: Member, rival: Member) -> None:
    """Two tenants have groups of one name, and neither gives anything in the other."""
    for person in (boss, rival):
        assert person.ask("POST", "/groups", name="editors").status == 201
    assert admin(rig, "GET", "/groups/editors").status == 404
    assert boss.ask("PATCH", "/groups/editors", accounts={rival.name: "member"}).status == 404
    spy = Member(rig, f"{rival.name.partition(chr(92))[0]}\\spy-{next(_numbers)}")
    assert rival.ask("PATCH", "/groups/editors", accounts={spy.name: "member"}).status == 200
    bucket = boss.bucket()
    assert boss.ask("PUT", f"/access/{bucket}", grants=[{"account": "group:editors", "level": "write"}]).status == 200
    assert spy.ask("GET", f"/files/{bucket}/f").status == 404
    assert spy.ask("GET", "/shared-with-me").json["items"] == []
    assert ann.ask("GET", f"/files/{bucket}/f").status == 403
    assert boss.ask("PATCH", "/groups/editors", accounts={ann.name: "member"}).status == 200
    assert ann.ask("GET", f"/files/{bucket}/f").status == 200
    assert rival.ask("DELETE", "/groups/editors").status == 204
    assert ann.ask("GET", f"/files/{bucket}/f").status == 200
    assert boss.ask("DELETE", "/groups/editors").status == 204
    assert ann.ask("GET", f"/files/{bucket}/f").status == 403


@pytest.mark.parametrize("how", ["name", "arn", "root", "acl", "grant"])
def test_rules_name_accounts_of_the_tenant(acme: str, boss: Member, ann: Member, how: str) -> None:
    """As S3 writes them, the backslash included; whoever is not named gets nothing."""
    bucket = boss.bucket()
    principal = {"arn": f"arn:aws:iam::{ann.name}:user/{ann.name}", "root": f"arn:aws:iam::{ann.name}:root"}
    if how == "acl":
        boss.s3.put_object_acl(Bucket=bucket, Key="f", GrantRead=f'id="{ann.name}"')
    elif how == "grant":
        granted = [{"account": ann.name, "level": "read"}]
        assert boss.ask("PUT", f"/access/{bucket}", path="f", grants=granted).status == 200
    else:
        allowed = statement("Allow", principal.get(how, ann.name), "s3:GetObject", f"{bucket}/*")
        boss.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed))
    assert ann.s3.get_object(Bucket=bucket, Key="f")["Body"].read() == b"content"
    assert ann.put(bucket, "f").status == 403


# ---------------------------------------------------------------- outside


def test_a_taken_bucket_name_is_taken_without_saying_whose(boss: Member, rival: Member) -> None:
    """S3 has one name space: 409, as at AWS."""
    bucket = boss.bucket()
    taken = rival.ask("POST", "/buckets", name=bucket)
    assert taken.status == 409
    assert boss.name.partition("\\")[0].encode() not in taken.body
    with pytest.raises(ClientError) as refused:
        rival.s3.create_bucket(Bucket=bucket)
    assert refused.value.response["Error"]["Code"] == "BucketAlreadyExists"


def test_what_is_public_is_public(rig: S3Rig, boss: Member, rival: Member) -> None:
    """Another tenant's account reads what strangers read, and changes nothing; the rest of it is not there."""
    bucket = boss.bucket(("open/f", "closed"))
    anonymous = anonymous_client(rig)
    for client in (anonymous, rival.s3):
        with pytest.raises(ClientError) as refused:
            client.get_object(Bucket=bucket, Key="open/f")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
    everything = statement("Allow", "*", "s3:*", f"{bucket}/open/*")
    boss.s3.put_bucket_policy(Bucket=bucket, Policy=document(everything))
    for client in (anonymous, rival.s3):
        assert client.get_object(Bucket=bucket, Key="open/f")["Body"].read() == b"content"
        with pytest.raises(ClientError) as refused:
            client.get_object(Bucket=bucket, Key="closed")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
    own = rival.bucket()
    rival.s3.copy_object(Bucket=own, Key="copy", CopySource={"Bucket": bucket, "Key": "open/f"})
    assert rival.s3.get_object(Bucket=own, Key="copy")["Body"].read() == b"content"
    for refuse in (
        lambda: rival.s3.copy_object(Bucket=own, Key="copy", CopySource={"Bucket": bucket, "Key": "closed"}),
        lambda: rival.s3.put_object(Bucket=bucket, Key="open/new", Body=b"x"),
        lambda: rival.s3.get_object(Bucket=bucket, Key="closed", ExpectedBucketOwner="somebody"),
    ):
        with pytest.raises(ClientError) as refused:
            refuse()
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


def test_an_object_with_a_public_list_is_public(rig: S3Rig, boss: Member, rival: Member) -> None:
    """Each version by its own list; the rest of the bucket is not there, and nothing in it can be changed."""
    bucket = boss.bucket(("open", "closed"))
    boss.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    public = boss.s3.put_object(Bucket=bucket, Key="open", Body=b"public", ACL="public-read")["VersionId"]
    for client in (anonymous_client(rig), rival.s3):
        assert client.get_object(Bucket=bucket, Key="open")["Body"].read() == b"public"
    private = boss.s3.put_object(Bucket=bucket, Key="open", Body=b"private")["VersionId"]
    for client in (anonymous_client(rig), rival.s3):
        found = client.get_object(Bucket=bucket, Key="open", VersionId=public)
        assert found["Body"].read() == b"public"
    own, source = rival.bucket(), {"Bucket": bucket, "Key": "open"}
    rival.s3.copy_object(Bucket=own, Key="copy", CopySource=source | {"VersionId": public})
    assert rival.s3.get_object(Bucket=own, Key="copy")["Body"].read() == b"public"
    upload = rival.s3.create_multipart_upload(Bucket=own, Key="parts")["UploadId"]
    part = {"Bucket": own, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    assert rival.s3.upload_part_copy(**part, CopySource=source | {"VersionId": public})["CopyPartResult"]["ETag"]
    for refuse in (
        lambda: rival.s3.copy_object(Bucket=own, Key="copy", CopySource=source),
        lambda: rival.s3.copy_object(Bucket=own, Key="copy", CopySource=source | {"VersionId": private}),
        lambda: rival.s3.copy_object(Bucket=own, Key="copy", CopySource=source | {"Key": "closed"}),
        lambda: rival.s3.upload_part_copy(**part, CopySource=source),
        lambda: rival.s3.copy_object(Bucket=bucket, Key="open", CopySource={"Bucket": own, "Key": "copy"}),
        lambda: rival.s3.get_object(Bucket=bucket, Key="open"),
        lambda: rival.s3.get_object(Bucket=bucket, Key="open", VersionId=private),
        lambda: rival.s3.get_object(Bucket=bucket, Key="open", VersionId=public, ExpectedBucketOwner="somebody"),
        lambda: rival.s3.get_object(Bucket=bucket, Key="open", VersionId="0" * 32),
        lambda: rival.s3.get_object_acl(Bucket=bucket, Key="open", VersionId=public),
        lambda: rival.s3.put_object(Bucket=bucket, Key="open", Body=b"x"),
        lambda: rival.s3.put_object_acl(Bucket=bucket, Key="open", VersionId=public, ACL="private"),
        lambda: rival.s3.delete_object(Bucket=bucket, Key="open", VersionId=public),
        lambda: rival.s3.create_multipart_upload(Bucket=bucket, Key="open"),
        lambda: rival.s3.get_object(Bucket=bucket, Key="closed"),
        lambda: rival.s3.list_objects_v2(Bucket=bucket),
    ):
        with pytest.raises(ClientError) as refused:
            refuse()
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
    assert rival.ask("GET", f"/files/{bucket}/open").status == 404


def test_a_limited_key_of_the_clusters_own_reaches_no_tenant(rig: S3Rig, boss: Member, olga: Person) -> None:
    """Its policies may name the bucket: they only take rights away."""
    bucket, name = boss.bucket(), f"tool-{next(_numbers)}"
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    assert olga.ask("POST", "/auth/service-accounts", _json(name=name, policy=policy)).status == 201
    key = olga.ask("POST", f"/auth/service-accounts/{name}/keys").json
    with pytest.raises(ClientError) as refused:
        rig.client((key["access_key_id"], key["secret"])).get_object(Bucket=bucket, Key="f")
    assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


def test_copies_and_known_content_do_not_cross(boss: Member, rival: Member) -> None:
    """A source in another tenant is no source, and a digest of its content is no content."""
    secret, own = boss.bucket(), rival.bucket(())
    answer = rival.ask("POST", "/files/copy", source={"bucket": secret, "path": "f"}, bucket=own, path="stolen")
    missing = rival.ask("POST", "/files/copy", source={"bucket": "no-bucket", "path": "f"}, bucket=own, path="stolen")
    assert comparable(answer, secret) == comparable(missing, "no-bucket")
    for source in (secret, "no-bucket"):
        with pytest.raises(ClientError) as refused:
            rival.s3.copy_object(Bucket=own, Key="stolen", CopySource=f"{source}/f")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


def test_lock_numbers_tell_nothing(boss: Member, rival: Member) -> None:
    """They are easy to guess: renewing, releasing or breaking one names no holder."""
    bucket = boss.bucket()
    number = str(boss.ask("POST", "/locks", paths=[f"{bucket}/f"]).json["lock"]["number"])
    for method, more in (("PUT", ""), ("DELETE", ""), ("DELETE", "?break=true")):
        body = {"lease_seconds": 60} if method == "PUT" else {}
        answer = rival.ask(method, f"/locks/{number}{more}", **body)
        missing = rival.ask(method, f"/locks/987654{more}", **body)
        assert comparable(answer, number) == comparable(missing, "987654"), (method, more)
    assert rival.ask("GET", "/locks").json["locks"] == []
    assert boss.ask("DELETE", f"/locks/{number}").status == 204


def test_a_role_is_taken_inside_only(boss: Member, ann: Member, rival: Member) -> None:
    """A trust policy for everybody is for everybody in the tenant, and none can name another tenant's account."""

    def trust(who: Any) -> str:
        one = statement("Allow", who, "sts:AssumeRole")
        return document({name: value for name, value in one.items() if name != "Resource"})

    role = f"helper-{next(_numbers)}"
    arn = f"arn:aws:iam::{boss.name}:role/{role}"
    boss.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trust("*"))
    assert ann.client("sts").assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"]
    for asked in (arn, f"{arn}-that-is-not-there"):
        with pytest.raises(ClientError) as refused:
            rival.client("sts").assume_role(RoleArn=asked, RoleSessionName="work")
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
    for name in (rival.name, "nobody"):
        with pytest.raises(ClientError) as refused:
            boss.client("iam").create_role(RoleName=f"{role}-2", AssumeRolePolicyDocument=trust(name))
        assert refused.value.response["Error"]["Code"] == "MalformedPolicyDocument"


# ---------------------------------------------------------------- the cluster's administrators


def test_only_the_clusters_administrators_have_tenants(rig: S3Rig, boss: Member) -> None:
    """A name that is taken, looks taken or is none is refused; one with accounts is not deleted."""
    name = new_tenant(rig)
    for bad, status in (
        (name, 409),
        (name.replace("o", "0"), 409),
        ("A", 400),
        ("a b", 400),
        ("a\\b", 400),
        ("x", 400),
    ):
        assert admin(rig, "POST", "/tenants", name=bad).status == status, bad
    first = Member(rig, f"{name}\\first", "administrator")
    (shown,) = [one for one in admin(rig, "GET", "/tenants").json["tenants"] if one["name"] == name]
    assert (shown["accounts"], shown["buckets"], shown["administrators"]) == (1, 0, [first.name])
    first.ask("POST", "/groups", name="left")
    assert admin(rig, "DELETE", f"/tenants/{name}").status == 409
    assert admin(rig, "DELETE", user(first.name)).status == 204
    assert admin(rig, "DELETE", f"/tenants/{name}").status == 204
    assert admin(rig, "DELETE", f"/tenants/{name}").status == 404
    assert admin(rig, "POST", "/tenants", name=name).status == 201
    again = Member(rig, f"{name}\\first", "administrator")
    assert again.ask("GET", "/groups").json["groups"] == []


def test_a_tenants_administrator_ends_no_invitation(rig: S3Rig, acme: str) -> None:
    """Nor is there one of the cluster left without: the roles are different things."""
    invited = admin(rig, "POST", "/cluster/join-secret", valid_seconds=3600)
    assert invited.status in (200, 201)
    name = f"{acme}\\brief-{next(_numbers)}"
    Member(rig, name, "administrator")
    assert invitations(rig) > 0
    assert admin(rig, "DELETE", user(name)).status == 204
    assert invitations(rig) > 0


def test_the_clusters_administrators_have_everything(rig: S3Rig, ann: Member) -> None:
    """They see what a tenant has, and its buckets go to an account of the same tenant only."""
    bucket = ann.bucket()
    assert admin(rig, "GET", f"/files/{bucket}/f").body == b"content"
    assert bucket in {one["name"] for one in admin(rig, "GET", "/buckets").json["buckets"]}
    assert admin(rig, "DELETE", f"{user(ann.name)}?buckets_to=admin").status == 409


def test_quotas_of_a_tenant_are_judged_in_the_commit(rig: S3Rig) -> None:
    """Bytes and files in its buckets, whoever writes; its administrators see only its own, and cannot change it."""
    name = new_tenant(rig)
    first = Member(rig, f"{name}\\first", "administrator")
    one, two = first.bucket(("a",)), first.bucket(("b",))
    target = f"/quotas/tenants/{name}"
    assert first.ask("PATCH", target, quotas={"files": 100}).status == 403
    set_ = admin(rig, "PATCH", target, quotas={"files": 3, "bytes": 30, "accounts": 2, "buckets": 2})
    assert set_.status == 200, set_.body
    shown = {each["resource"]: (each["allowed"], each["used"]) for each in first.ask("GET", target).json["quotas"]}
    assert (shown["files"], shown["bytes"]) == ((3, 2), (30, 14))
    assert (shown["accounts"], shown["buckets"]) == ((2, 1), (2, 2))
    assert first.put(one, "big", b"x" * 17).status == 507
    assert first.put(one, "c", b"x").status == 201
    refused = first.put(two, "d", b"x")
    assert (refused.status, refused.json["facts"]["scope"]) == (507, "tenant")
    refused = rig.cluster.ask("PUT", f"/files/{two}/by-admin", b"x")
    assert refused.status == 507
    assert first.ask("DELETE", f"/files/{one}/c").status == 200
    assert first.put(two, "d", b"x").status == 201
    assert first.ask("POST", "/buckets", name=f"{two}-more").status == 507
    assert first.ask("POST", "/users", name=f"{name}\\second").status == 201
    assert first.ask("POST", "/users", name=f"{name}\\third").status == 507
    assert first.ask("PATCH", f"/quotas/buckets/{one}", quotas={"files": 5}).status == 200
    other = Member(rig, f"{new_tenant(rig)}\\first", "administrator")
    assert other.ask("PATCH", f"/quotas/buckets/{other.bucket(('a',))}", quotas={"files": 5}).status == 200
    mine = {(each["scope"], each["name"]) for each in first.ask("GET", "/quotas").json["owners"]}
    assert mine == {("bucket", one), ("tenant", name)}


def test_the_audit_of_a_tenant_has_no_one_elses_events(rig: S3Rig, acme: str, boss: Member, olga: Person) -> None:
    """What its accounts did, and what was done to them, without the name of who did it from outside."""
    name = f"{acme}\\audited-{next(_numbers)}"
    Member(rig, name)
    events = boss.ask("GET", "/audit?limit=1000").json["events"]
    assert ("account made", "", name) in {(one["kind"], one["account"], one.get("subject", "")) for one in events}
    assert {one["account"].partition("\\")[0] for one in events} <= {acme, ""}


ASKED = """
    GET /files/{bucket}
    GET /files/{bucket}/f
    PUT /files/{bucket}/new
    DELETE /files/{bucket}/f
    GET /files/{bucket}/f/manifest
    GET /versions/{bucket}/f
    GET /buckets/{bucket}
    PATCH /buckets/{bucket}
    DELETE /buckets/{bucket}
    GET /access/{bucket}
    PUT /access/{bucket}
    GET /trash/{bucket}
    GET /share-rules/{bucket}
    GET /shares?bucket={bucket}
    POST /shares
    GET /search?q=f&bucket={bucket}
    GET /changes?bucket={bucket}&cursor=0
    POST /locks
    GET /quotas/buckets/{bucket}
    POST /folders
    DELETE /folders/{bucket}/f/
    POST /folders/move
"""
BODIES: dict[str, dict[str, Any]] = {
    "PATCH /buckets/{bucket}": {"shared": True},
    "PUT /access/{bucket}": {"path": "f"},
    "POST /shares": {"bucket": "{bucket}", "path": "f"},
    "POST /locks": {"paths": ["{bucket}/f"]},
    "POST /folders": {"bucket": "{bucket}", "path": "x/"},
    "POST /folders/move": {"bucket": "{bucket}", "path": "f/", "to_path": "g/"},
}


@pytest.mark.parametrize("request_line", ASKED.split("\n")[1:-1])
def test_a_tenants_bucket_is_none_to_those_without_a_tenant(boss: Member, olga: Person, request_line: str) -> None:
    """The matrix asks the other way round. Shared or not: all accounts are the tenant's accounts."""
    method, target = request_line.split()

    def asked(bucket: str) -> Answer:
        body = json.dumps(BODIES.get(f"{method} {target}", {})).replace("{bucket}", bucket).encode()
        return olga.ask(method, target.replace("{bucket}", bucket), body if body != b"{}" else b"")

    bucket = boss.bucket()
    boss.ask("PATCH", f"/buckets/{bucket}", shared=True)
    found, missing = asked(bucket), asked("no-such-bucket")
    assert comparable(found, bucket) == comparable(missing, "no-such-bucket")
    assert found.status in (403, 404)


def test_settings_of_a_hidden_bucket_show_in_no_answer(rig: S3Rig, boss: Member, rival: Member) -> None:
    """Neither what it encrypts with, nor its rules for other sites, nor its object lock."""
    bucket, key = boss.bucket(), f"key-{next(_numbers)}"
    assert admin(rig, "POST", "/kms/keys", name=key).status == 201
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    boss.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert admin(rig, "POST", f"/kms/keys/{key}/disable").status == 200
    readable = statement("Allow", "*", "s3:GetObject", f"{bucket}/open/*")
    boss.s3.put_bucket_policy(Bucket=bucket, Policy=document(readable))
    for name in (bucket, "no-such-bucket"):
        with pytest.raises(ClientError) as refused:
            rival.s3.put_object(Bucket=name, Key="x", Body=b"x")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
        with pytest.raises(ClientError) as refused:
            rival.s3.create_multipart_upload(Bucket=name, Key="x")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
    asking = {"Origin": "https://elsewhere.test", "Access-Control-Request-Method": "PUT"}
    answers = [rig.ask("OPTIONS", f"{ENDPOINT}/{name}/f", dict(asking), b"") for name in (bucket, "no-such-bucket")]
    assert answers[0][0] == answers[1][0]


def test_no_other_tenants_file_gets_into_the_audit(rig: S3Rig, acme: str, boss: Member, rival: Member) -> None:
    """A visitor's path is the subject of an event, and may be written like the name of an account."""
    bucket = rival.bucket((quote(boss.name, safe=""),))
    link = rival.ask("POST", "/shares", bucket=bucket, path=boss.name).json
    assert Visitor(rig).get(f"/s/{link['token']}/f").status == 200
    used = [one for one in admin(rig, "GET", "/audit?limit=1000").json["events"] if one["kind"] == "link used"]
    assert boss.name in {one["subject"] for one in used}
    assert "link used" not in {one["kind"] for one in boss.ask("GET", "/audit?limit=1000").json["events"]}


def test_a_tenants_administrator_lifts_no_bound_of_the_cluster(rig: S3Rig, boss: Member, ann: Member) -> None:
    """The built-in bounds keep an account from taking what tenants share; up to them, it is the tenant's matter."""
    for name in (boss.name, ann.name):
        target = f"/quotas/accounts/{quote(name, safe='')}"
        bounds = {one["resource"]: one["allowed"] for one in boss.ask("GET", target).json["quotas"] if one["built_in"]}
        assert set(bounds) == {"locks", "waiters", "followers", "keys"}
        for resource, bound in bounds.items():
            refused = boss.ask("PATCH", target, quotas={resource: bound + 1})
            assert refused.status == 403, refused.body
            assert boss.ask("PATCH", target, quotas={resource: bound}).status == 200
            assert admin(rig, "PATCH", target, quotas={resource: bound + 1}).status == 200
            assert boss.ask("PATCH", target, quotas={resource: None}).status == 200
