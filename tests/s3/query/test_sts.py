"""STS through boto3: who the caller is, and sessions that are limited, end, and give nothing that nobody had."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.s3.calls import DENIED, read, refused
from tests.s3.people import document, statement, token_of
from tests.s3.query.callers import ALL, Caller, account, allow, deny, new_name, policy, self_role
from tests.s3.rig import S3Rig

STS_DENIED = (403, "AccessDenied")


def lasts(caller: Caller, credentials: dict[str, Any]) -> float:
    """Seconds from now to the end of the credentials."""
    expires: datetime = credentials["Expiration"]
    return round(expires.timestamp() - caller.rig.cluster.clock.wall())


def test_the_caller_is_told_who_it_is(ann: Caller) -> None:
    """With the ARN that bucket policies name it by."""
    found = ann.sts.get_caller_identity()
    assert (found["Account"], found["Arn"]) == ("ann", "arn:aws:iam::ann:user/ann")
    session = ann.assume(self_role("ann"), "deploy")
    assert session.arn == "arn:aws:sts::ann:assumed-role/self/deploy"
    plain = ann.of(ann.sts.get_session_token()["Credentials"])
    assert plain.arn == "arn:aws:iam::ann:user/ann"


def test_a_session_token_has_the_rights_of_its_maker(ann: Caller, anns: str) -> None:
    """For the time asked for, with the session token only."""
    answer = ann.sts.get_session_token(DurationSeconds=900)["Credentials"]
    assert lasts(ann, answer) == 900
    assert read(ann.of(answer).s3, anns, "in/k") == b"content"
    bare = ann.rig.client((answer["AccessKeyId"], answer["SecretAccessKey"]))
    assert refused(bare.get_object, Bucket=anns, Key="in/k")[0] == 403
    wrong = ann.rig.client((answer["AccessKeyId"], answer["SecretAccessKey"], "other"), service="sts")
    assert refused(wrong.get_caller_identity) == (403, "InvalidClientTokenId")


def test_a_session_policy_narrows(ann: Caller, anns: str) -> None:
    """To actions and prefixes, for reads, writes and lists; what it does not name is refused."""
    narrow = ann.narrowed(
        allow(["s3:GetObject", "s3:PutObject"], f"{anns}/in/*"),
        allow("s3:ListBucket", anns, Condition={"StringLike": {"s3:prefix": "in/*"}}),
    )
    assert read(narrow.s3, anns, "in/k") == b"content"
    narrow.s3.put_object(Bucket=anns, Key="in/new", Body=b"x" * 200_000)
    assert [o["Key"] for o in narrow.s3.list_objects_v2(Bucket=anns, Prefix="in/")["Contents"]] == ["in/k", "in/new"]
    for call, more in (
        (narrow.s3.get_object, {"Key": "out/k"}),
        (narrow.s3.put_object, {"Key": "out/k", "Body": b""}),
        (narrow.s3.delete_object, {"Key": "in/k"}),
        (narrow.s3.list_objects_v2, {}),
        (narrow.s3.delete_bucket, {}),
        (narrow.s3.get_bucket_policy, {}),
        (narrow.s3.put_bucket_policy, {"Policy": document(statement("Allow", "*", "s3:*", anns))}),
        (narrow.s3.put_object_tagging, {"Key": "in/k", "Tagging": {"TagSet": []}}),
        (narrow.s3.copy_object, {"Key": "in/copy", "CopySource": f"{anns}/out/k"}),
    ):
        assert refused(call, Bucket=anns, **more) == DENIED, call.__name__
    assert refused(narrow.s3.create_bucket, Bucket=new_name("more")) == DENIED
    assert refused(narrow.s3.list_buckets) == DENIED


def test_an_explicit_deny_wins(ann: Caller, anns: str) -> None:
    """In the session policy, whatever else it allows."""
    narrow = ann.narrowed(ALL, deny("s3:*", f"{anns}/out/*"))
    assert read(narrow.s3, anns, "in/k") == b"content"
    assert refused(narrow.s3.get_object, Bucket=anns, Key="out/k") == DENIED


def test_a_session_policy_gives_nothing(ann: Caller, carol: Caller, anns: str) -> None:
    """Whatever it allows, the account's own rights bound it; and a bucket's policy still denies."""
    wide = carol.narrowed(ALL)
    assert refused(wide.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(statement("Allow", "carol", "s3:GetObject", f"{anns}/*")))
    assert read(wide.s3, anns, "in/k") == b"content"
    denied = statement("Deny", "ann", "s3:GetObject", f"{anns}/in/*")
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(denied))
    assert refused(ann.narrowed(ALL).s3.get_object, Bucket=anns, Key="in/k") == DENIED


def test_a_narrowed_owner_cannot_bypass_the_policy(ann: Caller, anns: str) -> None:
    """Only the account itself can change a policy that denies just that."""
    denied = statement("Deny", "*", "s3:PutBucketPolicy", anns)
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(denied))
    narrow = ann.narrowed(ALL)
    assert refused(narrow.s3.put_bucket_policy, Bucket=anns, Policy=document(denied)) == DENIED
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(denied))


def test_a_session_cannot_widen_itself(ann: Caller, anns: str) -> None:
    """A further session keeps every policy of the first, and lives no longer."""
    narrow = ann.narrowed(allow("s3:GetObject", f"{anns}/in/*"), DurationSeconds=900)
    again = narrow.narrowed(ALL)
    assert read(again.s3, anns, "in/k") == b"content"
    assert refused(again.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    answer = narrow.sts.assume_role(RoleArn=self_role("ann"), RoleSessionName="x2", DurationSeconds=3600)
    assert lasts(ann, answer["Credentials"]) == 900
    long = {"RoleArn": self_role("ann"), "RoleSessionName": "x2", "DurationSeconds": 3601}
    assert refused(narrow.sts.assume_role, **long) == (400, "ValidationError")
    assert refused(narrow.sts.get_session_token) == STS_DENIED


def test_nobody_takes_the_role_self_of_another(ann: Caller, carol: Caller) -> None:
    """Nor a role that does not exist; both refusals are one."""
    for role in (self_role("ann"), "arn:aws:iam::ann:role/missing", "arn:aws:iam::nobody:role/missing"):
        assert refused(carol.sts.assume_role, RoleArn=role, RoleSessionName="work") == STS_DENIED


def test_a_session_ends_with_its_time(rig: S3Rig, ann: Caller, anns: str) -> None:
    """To the second, at S3 and at STS."""
    session = ann.of(ann.sts.get_session_token(DurationSeconds=900)["Credentials"])
    assert read(session.s3, anns, "in/k") == b"content"
    rig.cluster.pass_time(901)
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (400, "ExpiredToken")
    assert refused(session.sts.get_caller_identity) == (403, "ExpiredToken")


def test_a_session_ends_with_its_key(rig: S3Rig) -> None:
    """Also one that was made with another session; revoking by the person and by an administrator."""
    dora = account(rig, "dora")
    bucket = new_name("doras")
    dora.s3.create_bucket(Bucket=bucket)
    first = dora.narrowed(ALL)
    second = first.narrowed(ALL)
    second.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    headers = {"Authorization": f"Bearer {token_of(rig, 'dora')}"}
    assert rig.cluster.ask_with(headers, "DELETE", f"/auth/s3-keys/{dora.key[0]}").status == 204
    for session in (first, second):
        assert refused(session.s3.get_object, Bucket=bucket, Key="k") == (403, "InvalidAccessKeyId")
        assert refused(session.sts.get_caller_identity) == (403, "InvalidClientTokenId")


@pytest.mark.parametrize("end", ["disable", "revoke", "delete"])
def test_a_session_ends_with_its_account(rig: S3Rig, end: str) -> None:
    """At once, however the account ends."""
    name = new_name("erin")
    session = account(rig, name).narrowed(ALL)
    bucket = new_name("erins")
    session.s3.create_bucket(Bucket=bucket)
    session.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    if end == "disable":
        rig.cluster.ask("PATCH", f"/users/{name}", b'{"disabled": true}')
    elif end == "revoke":
        assert rig.cluster.ask("DELETE", f"/users/{name}/access").status == 200
    else:
        assert rig.cluster.ask("DELETE", f"/users/{name}?buckets_to=admin").status == 204
    assert refused(session.s3.get_object, Bucket=bucket, Key="k")[0] == 403
    assert refused(session.sts.get_caller_identity) == (403, "InvalidClientTokenId")


def test_sessions_are_not_listed_among_the_keys(rig: S3Rig) -> None:
    """A program makes one every hour; people look for the keys that they made. Administrators see all."""
    fay = account(rig, "fay")
    session = fay.narrowed(ALL)
    headers = {"Authorization": f"Bearer {token_of(rig, 'fay')}"}
    listed = rig.cluster.ask_with(headers, "GET", "/auth/s3-keys").json["keys"]
    assert [key["access_key_id"] for key in listed] == [fay.key[0]]
    every = rig.cluster.ask("GET", "/users/fay/access").json["s3_keys"]
    assert set(every) == {fay.key[0], session.key[0]}


def test_administrators_sessions_are_bound_by_their_policy_alone(rig: S3Rig, anns: str) -> None:
    """An administrator may read everything; a session of one only what its policy allows."""
    admin = Caller(rig, rig.key(), "admin")
    narrow = admin.narrowed(allow("s3:GetObject", f"{anns}/in/*"))
    assert read(narrow.s3, anns, "in/k") == b"content"
    assert refused(narrow.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    assert refused(narrow.s3.list_objects_v2, Bucket=anns) == DENIED


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": policy(allow("s3:Fly", "b"))}, "MalformedPolicyDocument"),
        ({"Policy": document(statement("Allow", "*", "s3:*", "b"))}, "MalformedPolicyDocument"),
        ({"DurationSeconds": 899}, "ValidationError"),
        ({"DurationSeconds": 43_201}, "ValidationError"),
        ({"RoleSessionName": "a b"}, "ValidationError"),
        ({"RoleArn": "arn:aws:iam::ann:user/nothing"}, "ValidationError"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "NotImplemented"),
    ],
)
def test_bad_requests_are_named(ann: Caller, arguments: dict[str, object], code: str) -> None:
    """With AWS's code."""
    whole = {"RoleArn": self_role("ann"), "RoleSessionName": "work"} | arguments
    client = ann.rig.client(ann.key, service="sts", parameter_validation=False)
    assert refused(client.assume_role, **whole)[1] == code
