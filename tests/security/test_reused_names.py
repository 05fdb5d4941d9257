"""Who takes the name of a deleted account or tenant sees nothing that was its predecessor's."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from tests.fakes.wsgi import Answer
from tests.s3.people import document, statement
from tests.s3.query.callers import account
from tests.s3.rig import S3Rig
from tests.security.people import Person

PASSWORD = "correct horse"
_numbers = itertools.count(1)


class Account:
    """An account that administrators made, logged in."""

    def __init__(self, rig: S3Rig, name: str, role: str = "member") -> None:
        self.name = name
        self._cluster = rig.cluster
        made = admin(rig, "POST", "/users", name=name, role=role, password=PASSWORD)
        assert made.status == 201, made.body
        reply = rig.cluster.ask_with({}, "POST", "/auth/login", _json(username=name, password=PASSWORD))
        assert reply.status == 200, reply.body
        self.headers = {"Authorization": f"Bearer {reply.json['token']}"}

    def ask(self, method: str, target: str, **body: Any) -> Answer:
        return self._cluster.ask_with(self.headers, method, target, _json(**body) if body else b"")

    def delete_a_bucket(self, *, shared: bool) -> str:
        """Make a bucket, write and delete a folder in it, and delete the bucket; return its name."""
        name = f"reused-{next(_numbers)}"
        assert self.ask("POST", "/buckets", name=name, shared=shared).status == 201
        wrote = self._cluster.ask_with(self.headers, "PUT", f"/files/{name}/secret/plan", b"x")
        assert wrote.status == 201, wrote.body
        assert self.ask("DELETE", f"/folders/{name}/secret").status == 200
        assert self.ask("DELETE", f"/buckets/{name}").status == 204
        return name

    def buckets_in_journal(self) -> set[str]:
        changes = self.ask("GET", "/changes?cursor=0&limit=1000").json["changes"]
        return {change["bucket"] for change in changes}

    def folder_changes(self) -> Any:
        return self.ask("GET", "/folder-changes").json["changes"]


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()


def admin(rig: S3Rig, method: str, target: str, **body: Any) -> Answer:
    return rig.cluster.ask(method, target, _json(**body) if body else b"")


def delete(rig: S3Rig, name: str) -> None:
    assert admin(rig, "DELETE", f"/users/{quote(name, safe='')}").status == 204


def test_who_takes_an_accounts_name_sees_nothing_of_its_own(rig: S3Rig) -> None:
    """Not the journal of its deleted buckets, nor its changes of folders; others see what was shared, as before."""
    other = Account(rig, "other")
    first = Account(rig, "taken")
    private, shared = first.delete_a_bucket(shared=False), first.delete_a_bucket(shared=True)
    assert first.buckets_in_journal() >= {private, shared}
    assert len(first.folder_changes()) == 2
    before = other.buckets_in_journal()
    delete(rig, first.name)
    again = Account(rig, first.name)
    assert again.folder_changes() == []
    assert again.buckets_in_journal() == other.buckets_in_journal() == before
    assert private not in before
    assert shared in before


def test_a_deleted_accounts_locks_and_places_end_with_it(rig: S3Rig) -> None:
    """Who takes the name can neither renew nor release them, and who waits for them is next at once."""
    holder, waiter, next_one = Account(rig, "holds"), Account(rig, "waits"), Account(rig, "next")

    def acquire(account: Account, path: str, wait: float) -> Any:
        paths = [{"bucket": "files", "path": path}]
        return account.ask(
            "POST",
            "/locks",
            paths=paths,
            request_id=f"request-of-{account.name}-for-{path}",
            wait_seconds=wait,
            queue=True,
        )

    held, own = acquire(holder, "wanted", 0), acquire(waiter, "behind", 0)
    assert (held.status, own.status) == (200, 200), held.body
    assert acquire(waiter, "wanted", 0.01).status == 202
    assert acquire(next_one, "wanted", 0.01).status == 202
    delete(rig, waiter.name)
    delete(rig, holder.name)
    now = next_one.ask("GET", "/locks").json
    assert [(lock["account"], lock["paths"][0]["path"]) for lock in now["locks"]] == [("next", "wanted")]
    assert now["waiters"] == []
    again = Account(rig, holder.name)
    lock = f"/locks/{held.json['lock']['id']}"
    assert again.ask("PUT", lock, lease_seconds=60).json["code"] == "lock_stale"
    assert again.ask("DELETE", lock).status == 204, "it has ended, whoever asks"
    assert [one["account"] for one in again.ask("GET", "/locks").json["locks"]] == ["next"]


def test_who_takes_a_tenants_name_sees_nothing_of_it(rig: S3Rig) -> None:
    """Neither the journal of its deleted buckets, shared or not, nor its audit."""
    tenant = f"reused-{next(_numbers)}"
    assert admin(rig, "POST", "/tenants", name=tenant).status == 201
    first, second = (Account(rig, f"{tenant}\\{own}", role="administrator") for own in ("first", "second"))
    gone = {first.delete_a_bucket(shared=False), first.delete_a_bucket(shared=True)}
    delete(rig, first.name)
    assert second.buckets_in_journal() == gone
    delete(rig, second.name)
    assert admin(rig, "DELETE", f"/tenants/{tenant}").status == 204
    rig.cluster.clock.advance(0.5)
    assert admin(rig, "POST", "/tenants", name=tenant).status == 201
    again = Account(rig, first.name, role="administrator")
    for person in (again, Account(rig, f"{tenant}\\third")):
        assert person.buckets_in_journal() == set()
        assert person.folder_changes() == []
    events = [(one["kind"], one.get("subject", "")) for one in again.ask("GET", "/audit?limit=1000").json["events"]]
    assert events[0] == ("account made", first.name)
    assert "account deleted" not in {kind for kind, _ in events}
    assert ("account deleted", second.name) in {
        (one["kind"], one.get("subject", "")) for one in admin(rig, "GET", "/audit?limit=1000").json["events"]
    }


# ---------------------------------------------------------------- policies and lists that name a deleted account


def made_again(rig: S3Rig, name: str) -> Person:
    """The account that an administrator makes under a name that files have as their author's."""
    made = admin(rig, "POST", "/users", name=name, role="member", password=PASSWORD)
    assert made.status == 201, made.body
    return Person(rig, name)


def test_nobody_takes_a_name_that_files_have_as_their_authors(rig: S3Rig, olga: Person) -> None:
    """Else a stranger could read what a deleted account wrote for others. An administrator may decide otherwise."""
    bucket, first, unused = with_lists(olga), Person(rig, "passing-6"), Person(rig, "passing-7")
    olga.let(bucket, first, "s3:PutObject")
    first.s3.put_object(Bucket=bucket, Key="written", Body=b"for olga")
    for person in (first, unused):
        delete(rig, person.name)
    login = {"username": first.name, "password": PASSWORD}
    for target in ("/auth/login", "/auth/register"):
        answer = rig.cluster.ask_with({}, "POST", target, _json(**login))
        assert (answer.status, answer.json["code"]) == (409, "already_exists"), answer.body
    assert rig.cluster.log_in(unused.name), "it wrote nothing"
    assert made_again(rig, first.name).s3.get_object(Bucket=bucket, Key="written")["ContentLength"] == 8


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return str(raised.value.response["Error"]["Code"])


def with_lists(olga: Person) -> str:
    """A bucket with access control lists, and a file in it."""
    bucket = olga.bucket()
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    olga.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    olga.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    return bucket


def test_a_policy_gives_nothing_to_who_takes_a_deleted_accounts_name(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Others keep what it gives them, and its owner sees what stands there instead of the name."""
    first, bucket = Person(rig, "passing-1"), olga.bucket()
    olga.put(bucket, "k", b"content")
    names = [first.name, eve.name, f"arn:aws:iam::{first.name}:root"]
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", names, "s3:*", bucket, f"{bucket}/*")))
    assert first.get(bucket, "k").status == 200
    delete(rig, first.name)
    again = Person(rig, first.name)
    assert again.get(bucket, "k").status == 403
    assert refused(again.s3.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    assert refused(again.s3.get_bucket_policy, Bucket=bucket) == "AccessDenied"
    assert eve.get(bucket, "k").status == 200
    shown = json.loads(olga.s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Principal"]["AWS"]
    assert shown[0].startswith("deleted:")
    assert shown[1:] == [eve.name]
    events = admin(rig, "GET", "/audit?limit=1000").json["events"]
    details = {one["subject"]: one["detail"] for one in events if one["kind"] == "account deleted"}
    assert shown[0] in details[first.name]
    nobody = document(statement("Allow", shown[0], "s3:*", bucket))
    assert refused(olga.s3.put_bucket_policy, Bucket=bucket, Policy=nobody) == "MalformedPolicy"


def test_what_a_policy_denies_stays_denied_to_who_takes_the_name(rig: S3Rig, olga: Person, eve: Person) -> None:
    """A Deny to the name, an Allow to all but the name; a Deny to all but the name denies now to all."""
    first = Person(rig, "passing-2")
    denied, others, spared = olga.bucket(), olga.bucket(), olga.bucket()
    everybody = [statement("Allow", "*", "s3:GetObject", f"{name}/*") for name in (denied, others, spared)]
    against = {"AWS": first.name}
    others_only = {key: value for key, value in everybody[1].items() if key != "Principal"} | {"NotPrincipal": against}
    spares = statement("Deny", "*", "s3:GetObject", f"{spared}/*")
    del spares["Principal"]
    for bucket, statements in (
        (denied, [everybody[0], statement("Deny", first.name, "s3:GetObject", f"{denied}/*")]),
        (others, [others_only]),
        (spared, [everybody[2], spares | {"NotPrincipal": against}]),
    ):
        olga.put(bucket, "k", b"content")
        olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(*statements))

    def statuses(person: Person) -> list[int]:
        return [person.get(bucket, "k").status for bucket in (denied, others, spared)]

    assert (statuses(first), statuses(eve)) == ([403, 403, 200], [200, 200, 403])
    delete(rig, first.name)
    assert (statuses(Person(rig, first.name)), statuses(eve)) == ([403, 403, 403], [200, 200, 403])


def test_lists_give_nothing_to_who_takes_a_deleted_accounts_name(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Those of the bucket and those of its files; others' grants stay."""
    first, bucket = Person(rig, "passing-3"), with_lists(olga)
    olga.s3.put_object(Bucket=bucket, Key="other", Body=b"content", GrantRead=f"id={eve.name}")
    olga.s3.put_object_acl(
        Bucket=bucket, Key="k", GrantFullControl=f"id={olga.name}", GrantRead=f"id={first.name},id={eve.name}"
    )
    olga.s3.put_bucket_acl(
        Bucket=bucket, GrantFullControl=f"id={olga.name},id={first.name}", GrantRead=f"id={eve.name}"
    )
    assert first.s3.get_object(Bucket=bucket, Key="k")["ContentLength"] == 7
    assert first.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    delete(rig, first.name)
    again = Person(rig, first.name)
    for call, more in (
        (again.s3.get_object, {"Key": "k"}),
        (again.s3.list_objects_v2, {}),
        (again.s3.get_bucket_acl, {}),
        (again.s3.put_object, {"Key": "new"}),
    ):
        assert refused(call, Bucket=bucket, **more) == "AccessDenied"
    assert eve.s3.get_object(Bucket=bucket, Key="k")["ContentLength"] == 7
    assert eve.s3.get_object(Bucket=bucket, Key="other")["ContentLength"] == 7
    assert eve.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    for found in (olga.s3.get_bucket_acl(Bucket=bucket), olga.s3.get_object_acl(Bucket=bucket, Key="k")):
        ids = {grant["Grantee"]["ID"] for grant in found["Grants"]}
        assert {olga.name, eve.name} < ids
        assert [one.startswith("deleted:") for one in ids - {olga.name, eve.name}] == [True]


def test_an_upload_under_way_gives_nothing_to_who_takes_a_deleted_accounts_name(
    rig: S3Rig, olga: Person, eve: Person
) -> None:
    """Not the grants that it was begun with, nor its end to who has the name of who began it; others' grants stay."""
    first, bucket = Person(rig, "passing-uploader"), with_lists(olga)
    grants = {"GrantRead": f"id={first.name},emailaddress={first.name},id={eve.name}"}
    olga.s3.put_bucket_acl(Bucket=bucket, GrantFullControl=f"id={olga.name},id={first.name}")
    given = olga.s3.create_multipart_upload(Bucket=bucket, Key="given", **grants)["UploadId"]
    begun = first.s3.create_multipart_upload(Bucket=bucket, Key="begun", **grants)["UploadId"]
    delete(rig, first.name)
    again = Person(rig, first.name)
    assert refused(again.s3.abort_multipart_upload, Bucket=bucket, Key="begun", UploadId=begun) == "AccessDenied"
    initiators = {
        one["Key"]: one["Initiator"]["ID"] for one in olga.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    }
    assert initiators["given"] == olga.name
    assert initiators["begun"].startswith("deleted:")
    for key, id in (("given", given), ("begun", begun)):
        part = olga.s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=1, Body=b"content")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        olga.s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id, MultipartUpload=parts)
        assert refused(again.s3.get_object, Bucket=bucket, Key=key) == "AccessDenied"
        assert refused(again.s3.get_object_acl, Bucket=bucket, Key=key) == "AccessDenied"
        assert eve.s3.get_object(Bucket=bucket, Key=key)["ContentLength"] == 7


def test_the_list_of_a_deleted_accounts_bucket_is_its_heirs(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Who takes the name does not own it again; the heir can change it as the owner."""
    first = Person(rig, "passing-4")
    bucket = with_lists(first)
    first.s3.put_bucket_acl(Bucket=bucket, GrantFullControl=f"id={first.name}", GrantRead=f"id={eve.name}")
    assert admin(rig, "DELETE", f"/users/{first.name}?buckets_to={olga.name}").status == 204
    again = made_again(rig, first.name)
    assert refused(again.s3.get_bucket_acl, Bucket=bucket) == "AccessDenied"
    found = olga.s3.get_bucket_acl(Bucket=bucket)
    assert found["Owner"]["ID"] == olga.name
    assert {grant["Grantee"]["ID"] for grant in found["Grants"]} == {olga.name, eve.name}
    olga.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": found["Owner"], "Grants": found["Grants"]})


def test_a_role_does_not_trust_who_takes_a_deleted_accounts_name(rig: S3Rig) -> None:
    owner, trusted, other = (account(rig, name) for name in ("trusting", "passing-5", "trusted"))
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam::passing-5:root", "arn:aws:iam::trusted:root"]},
        "Action": "sts:AssumeRole",
    }
    made = owner.iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    arn = made["Role"]["Arn"]
    assert trusted.assume(arn).key
    delete(rig, "passing-5")
    assert refused(account(rig, "passing-5").sts.assume_role, RoleArn=arn, RoleSessionName="work") == "AccessDenied"
    assert other.assume(arn).key
    shown = owner.iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"]
    assert [one.partition(":")[0] for one in shown] == ["deleted", "arn"]


def test_rules_of_another_tenant_stay(rig: S3Rig) -> None:
    """An account of a tenant is another one than the cluster's of the same name."""
    tenant = f"reused-{next(_numbers)}"
    assert admin(rig, "POST", "/tenants", name=tenant).status == 201
    owner, reader = Account(rig, f"{tenant}\\owner"), Account(rig, f"{tenant}\\passing-6")
    Person(rig, "passing-6")
    bucket = f"reused-{next(_numbers)}"
    assert owner.ask("POST", "/buckets", name=bucket, shared=False).status == 201
    s3 = rig.client(rig.key(owner.headers["Authorization"].removeprefix("Bearer ")))
    s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", reader.name, "s3:ListBucket", bucket)))
    listing = f"/files/{bucket}"
    delete(rig, "passing-6")
    assert reader.ask("GET", listing).status == 200
    delete(rig, reader.name)
    assert Account(rig, reader.name).ask("GET", listing).status == 403
