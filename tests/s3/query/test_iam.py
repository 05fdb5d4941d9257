"""IAM through boto3: users with keys and policies, roles and groups; what each may do, and that none widens itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.s3.calls import DENIED, read, refused
from tests.s3.people import document, statement
from tests.s3.query.callers import ALL, Caller, account, allow, deny, new_name, policy
from tests.s3.rig import S3Rig

IAM_DENIED = (403, "AccessDenied")
MISSING = (404, "NoSuchEntity")


def new_user(owner: Caller, *statements: dict[str, Any]) -> tuple[str, Caller]:
    """A user of that account with one policy, and a key of it."""
    name = new_name("user")
    owner.iam.create_user(UserName=name)
    if statements:
        owner.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return name, with_key(owner, name)


def with_key(owner: Caller, user: str) -> Caller:
    made = owner.iam.create_access_key(UserName=user)["AccessKey"]
    return Caller(owner.rig, (made["AccessKeyId"], made["SecretAccessKey"]), owner.account)


def new_role(owner: Caller, who: str, *statements: dict[str, Any], **more: Any) -> str:
    """The ARN of a new role that `who` may take."""
    name = new_name("role")
    trust = {"Effect": "Allow", "Principal": {"AWS": who}, "Action": "sts:AssumeRole", **more}
    arn: str = owner.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    if statements:
        owner.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return arn


# ---------------------------------------------------------------- users


def test_a_user_has_the_rights_of_its_policies(ann: Caller, anns: str) -> None:
    """None without any; a change holds at once."""
    name, bob = new_user(ann)
    assert bob.arn == f"arn:aws:iam::ann:user/{name}"
    assert refused(bob.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    assert refused(bob.s3.list_buckets) == DENIED
    ann.iam.put_user_policy(
        UserName=name, PolicyName="read", PolicyDocument=policy(allow("s3:GetObject", f"{anns}/in/*"))
    )
    assert read(bob.s3, anns, "in/k") == b"content"
    assert refused(bob.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    ann.iam.put_user_policy(
        UserName=name, PolicyName="write", PolicyDocument=policy(allow("s3:PutObject", f"{anns}/*"))
    )
    bob.s3.put_object(Bucket=anns, Key="out/new", Body=b"x" * 300_000)
    assert ann.s3.head_object(Bucket=anns, Key="out/new")["ContentLength"] == 300_000
    ann.iam.put_user_policy(UserName=name, PolicyName="deny", PolicyDocument=policy(deny("s3:*", f"{anns}/in/*")))
    assert refused(bob.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    for one in ("read", "write", "deny"):
        ann.iam.delete_user_policy(UserName=name, PolicyName=one)
    assert refused(bob.s3.put_object, Bucket=anns, Key="out/new", Body=b"") == DENIED


def test_a_user_makes_buckets_and_uploads_in_parts(ann: Caller) -> None:
    """They belong to the account, as do the objects."""
    bucket = new_name("made")
    _, bob = new_user(ann, allow("s3:*", bucket, f"{bucket}/*"), allow("s3:ListAllMyBuckets", "*"))
    bob.s3.create_bucket(Bucket=bucket)
    assert bucket in [one["Name"] for one in bob.s3.list_buckets()["Buckets"]]
    upload = {"Bucket": bucket, "Key": "k"} | {
        "UploadId": bob.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    }
    etag = bob.s3.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    bob.s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert read(ann.s3, bucket) == b"part"
    assert ann.s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == "ann"
    assert refused(bob.s3.create_bucket, Bucket=new_name("other")) == DENIED


def test_a_bucket_policy_names_users(ann: Caller, carol: Caller, anns: str) -> None:
    """Of the owner's account, whom it then needs no policy of their own; of another, whom it does. A Deny names one."""
    bob_name, bob = new_user(ann)
    dan_name, dan = new_user(carol)
    both = [f"arn:aws:iam::ann:user/{bob_name}", f"arn:aws:iam::carol:user/{dan_name}"]
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(statement("Allow", both, "s3:GetObject", f"{anns}/*")))
    assert read(bob.s3, anns, "in/k") == b"content"
    assert refused(dan.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    carol.iam.put_user_policy(UserName=dan_name, PolicyName="p", PolicyDocument=policy(ALL))
    assert read(dan.s3, anns, "in/k") == b"content"
    assert refused(carol.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    ann.iam.put_user_policy(UserName=bob_name, PolicyName="p", PolicyDocument=policy(ALL))
    denied = statement("Deny", both[0], "s3:GetObject", f"{anns}/*")
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(denied))
    assert refused(bob.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    assert read(ann.s3, anns, "in/k") == b"content"
    missing = statement("Allow", "arn:aws:iam::ann:user/nobody", "s3:GetObject", f"{anns}/*")
    assert refused(ann.s3.put_bucket_policy, Bucket=anns, Policy=document(missing)) == (400, "MalformedPolicy")


def test_a_policy_that_denies_an_account_denies_its_users(ann: Caller, carol: Caller, anns: str) -> None:
    """And one that allows an account lets its users in as far as their own policies do."""
    name, dan = new_user(carol, ALL)
    ann.s3.put_bucket_policy(Bucket=anns, Policy=document(statement("Allow", "carol", "s3:GetObject", f"{anns}/*")))
    assert read(dan.s3, anns, "in/k") == b"content"
    carol.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("s3:PutObject", "*")))
    assert refused(dan.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    assert refused(dan.s3.put_object, Bucket=anns, Key="in/k", Body=b"") == DENIED


def test_policies_have_conditions_and_variables(ann: Caller, anns: str) -> None:
    """On the address, and with the user's own name."""
    here = {"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}
    away = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    name, bob = new_user(
        ann,
        allow("s3:GetObject", f"{anns}/in/*", Condition=here),
        allow("s3:GetObject", f"{anns}/out/*", Condition=away),
        allow("s3:*", anns + "/home/${aws:username}/*"),
    )
    assert read(bob.s3, anns, "in/k") == b"content"
    assert refused(bob.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    bob.s3.put_object(Bucket=anns, Key=f"home/{name}/k", Body=b"")
    assert refused(bob.s3.put_object, Bucket=anns, Key="home/ann/k", Body=b"") == DENIED


def test_a_missing_key_shows_only_to_who_may_list(ann: Caller, anns: str) -> None:
    """As at S3: 404 with the right to list, 403 without."""
    _, reader = new_user(ann, allow("s3:GetObject", f"{anns}/*"))
    _, lister = new_user(ann, allow("s3:GetObject", f"{anns}/*"), allow("s3:ListBucket", anns))
    assert refused(reader.s3.get_object, Bucket=anns, Key="missing") == DENIED
    assert refused(lister.s3.get_object, Bucket=anns, Key="missing") == (404, "NoSuchKey")


def test_a_user_with_every_policy_cannot_call_iam(ann: Caller) -> None:
    """So it cannot widen itself; it may ask who it is."""
    name, bob = new_user(ann, ALL)
    assert bob.iam.get_user()["User"]["UserName"] == name
    for call, more in (
        (bob.iam.create_user, {"UserName": "more"}),
        (bob.iam.put_user_policy, {"UserName": name, "PolicyName": "p", "PolicyDocument": policy(ALL)}),
        (bob.iam.create_access_key, {"UserName": name}),
        (bob.iam.create_access_key, {}),
        (bob.iam.list_access_keys, {}),
        (bob.iam.list_users, {}),
        (bob.iam.get_user, {"UserName": name}),
        (bob.iam.delete_user_policy, {"UserName": name, "PolicyName": "p"}),
    ):
        assert refused(call, **more) == IAM_DENIED, call.__name__
    session = bob.assume("arn:aws:iam::ann:role/self")
    assert refused(session.iam.create_access_key) == IAM_DENIED


def test_temporary_keys_cannot_call_iam(ann: Caller) -> None:
    """They would make lasting ones of themselves."""
    session = ann.of(ann.sts.get_session_token()["Credentials"])
    assert refused(session.iam.create_access_key) == IAM_DENIED
    assert refused(ann.narrowed(ALL).iam.create_user, UserName="more") == IAM_DENIED


def test_the_users_of_others_are_not_there(ann: Caller, carol: Caller) -> None:
    """Each account has its own; nobody reads or changes those of another."""
    name, _ = new_user(ann)
    for call, more in (
        (carol.iam.get_user, {}),
        (carol.iam.create_access_key, {}),
        (carol.iam.list_access_keys, {}),
        (carol.iam.delete_user, {}),
        (carol.iam.put_user_policy, {"PolicyName": "p", "PolicyDocument": policy(ALL)}),
    ):
        assert refused(call, UserName=name, **more) == MISSING, call.__name__
    assert name not in [one["UserName"] for one in carol.iam.list_users()["Users"]]
    carol.iam.create_user(UserName=name)
    assert carol.iam.get_user(UserName=name)["User"]["Arn"] == f"arn:aws:iam::carol:user/{name}"


def test_keys_are_listed_deactivated_and_deleted(ann: Caller, anns: str) -> None:
    """An inactive key signs nothing, nor do its sessions; a deleted one is gone."""
    name, bob = new_user(ann, ALL)
    session = bob.narrowed(ALL)
    key = {"UserName": name, "AccessKeyId": bob.key[0]}
    listed = ann.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert [(one["AccessKeyId"], one["Status"], one["UserName"]) for one in listed] == [(bob.key[0], "Active", name)]
    ann.iam.update_access_key(**key, Status="Inactive")
    for caller in (bob, session):
        assert refused(caller.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
        assert refused(caller.sts.get_caller_identity) == (403, "InvalidClientTokenId")
    assert ann.iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    ann.iam.update_access_key(**key, Status="Active")
    assert read(bob.s3, anns, "in/k") == read(session.s3, anns, "in/k") == b"content"
    ann.iam.delete_access_key(**key)
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    assert refused(ann.iam.delete_access_key, **key) == MISSING
    assert refused(ann.iam.update_access_key, UserName="ann", AccessKeyId=bob.key[0], Status="Active") == MISSING


def test_an_account_is_a_user_of_its_own_name(ann: Caller) -> None:
    """Whose keys IAM lists, makes and deletes too, but that has no policies."""
    made = ann.iam.create_access_key()["AccessKey"]
    assert made["UserName"] == "ann"
    assert made["AccessKeyId"] in [one["AccessKeyId"] for one in ann.iam.list_access_keys()["AccessKeyMetadata"]]
    ann.iam.delete_access_key(AccessKeyId=made["AccessKeyId"])
    assert ann.iam.get_user()["User"]["Arn"] == "arn:aws:iam::ann:user/ann"
    assert refused(ann.iam.create_user, UserName="Ann") == (409, "EntityAlreadyExists")
    assert refused(ann.iam.list_user_policies, UserName="ann") == MISSING


def test_a_user_is_deleted_last(ann: Caller) -> None:
    """After its keys, policies and groups, as at AWS."""
    name, bob = new_user(ann, ALL)
    group = new_name("group")
    ann.iam.create_group(GroupName=group)
    ann.iam.add_user_to_group(GroupName=group, UserName=name)
    conflict = (409, "DeleteConflict")
    assert refused(ann.iam.delete_user, UserName=name) == conflict
    ann.iam.delete_user_policy(UserName=name, PolicyName="p")
    assert refused(ann.iam.delete_user, UserName=name) == conflict
    ann.iam.delete_access_key(UserName=name, AccessKeyId=bob.key[0])
    assert refused(ann.iam.delete_user, UserName=name) == conflict
    ann.iam.remove_user_from_group(GroupName=group, UserName=name)
    ann.iam.delete_user(UserName=name)
    assert refused(ann.iam.get_user, UserName=name) == MISSING


def test_policies_are_kept_as_they_were_put(ann: Caller) -> None:
    """And bad ones are refused by name."""
    name, _ = new_user(ann)
    text = policy(allow("s3:GetObject", "b/é/*"), {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"})
    ann.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=text)
    assert ann.iam.get_user_policy(UserName=name, PolicyName="p")["PolicyDocument"] == json.loads(text)
    assert ann.iam.list_user_policies(UserName=name)["PolicyNames"] == ["p"]
    assert refused(ann.iam.get_user_policy, UserName=name, PolicyName="q") == MISSING
    bad = (
        "[]",
        policy(allow("s3:Fly", "b")),
        policy(allow("s3:GetObject", "arn:aws:s3")),
        policy(allow("s3:GetObject", "b", Condition={"StringEquals": {"s3:colour": "red"}})),
        document(statement("Allow", "*", "s3:*", "b")),
    )
    for one in bad:
        given = {"UserName": name, "PolicyName": "p", "PolicyDocument": one}
        assert refused(ann.iam.put_user_policy, **given) == (400, "MalformedPolicyDocument"), one
    long = policy(*(allow("s3:GetObject", f"b/{number:05}/*") for number in range(400)))
    assert refused(ann.iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=long) == (
        409,
        "LimitExceeded",
    )


def test_users_are_listed_in_pages(rig: S3Rig, carol: Caller) -> None:
    """By name, below a path."""
    names = sorted(new_name("page") for _ in range(5))
    for name in names:
        carol.iam.create_user(UserName=name, Path="/team/")
    pages = carol.iam.get_paginator("list_users").paginate(PathPrefix="/team/", PaginationConfig={"PageSize": 2})
    assert [[one["UserName"] for one in page["Users"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    found = carol.iam.get_user(UserName=names[0])["User"]
    assert found["Arn"] == f"arn:aws:iam::carol:user/team/{names[0]}"
    with_other_case = names[0].upper()
    assert refused(carol.iam.create_user, UserName=with_other_case) == (409, "EntityAlreadyExists")


# ---------------------------------------------------------------- roles


def test_a_role_lends_its_rights(ann: Caller, carol: Caller, anns: str) -> None:
    """To those whom its trust policy names, as far as its policies go, and to nobody else."""
    role = new_role(ann, "carol", allow("s3:GetObject", f"{anns}/in/*"))
    reader = carol.assume(role, "audit")
    assert reader.arn == role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/audit"
    assert read(reader.s3, anns, "in/k") == b"content"
    assert refused(reader.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    assert refused(ann.sts.assume_role, RoleArn=role, RoleSessionName="mine") == IAM_DENIED
    narrow = carol.assume(role, Policy=policy(allow("s3:GetObject", f"{anns}/in/other")))
    assert refused(narrow.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    name = role.rpartition("/")[2]
    ann.iam.delete_role_policy(RoleName=name, PolicyName="p")
    assert refused(reader.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    ann.iam.delete_role(RoleName=name)
    assert refused(reader.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")


def test_a_role_of_another_ends_with_its_taker(rig: S3Rig, ann: Caller, anns: str) -> None:
    """When its account is disabled or deleted, or its access revoked; a new account of its name changes nothing."""
    gus = account(rig, new_name("gus"))
    role = new_role(ann, gus.account, ALL)
    session = gus.assume(role)
    assert read(session.s3, anns, "in/k") == b"content"
    rig.cluster.ask("PATCH", f"/users/{gus.account}", b'{"disabled": true}')
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    rig.cluster.ask("PATCH", f"/users/{gus.account}", b'{"disabled": false}')
    assert read(session.s3, anns, "in/k") == b"content"
    assert rig.cluster.ask("DELETE", f"/users/{gus.account}/access").status == 200
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    session = account(rig, gus.account).assume(role)
    assert rig.cluster.ask("DELETE", f"/users/{gus.account}").status == 204
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    account(rig, gus.account)
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize("end", ["disable", "delete", "delete the role"])
def test_a_role_ends_with_the_role_that_it_was_taken_with(rig: S3Rig, ann: Caller, anns: str, end: str) -> None:
    """A chain of roles: the last session has none of its rights left once one before it has ended."""
    gus, hal = account(rig, new_name("gus")), account(rig, new_name("hal"))
    between = new_role(gus, hal.account, ALL)
    last = new_role(ann, between, ALL)
    session = hal.assume(between).assume(last)
    assert read(session.s3, anns, "in/k") == b"content"
    if end == "disable":
        rig.cluster.ask("PATCH", f"/users/{gus.account}", b'{"disabled": true}')
    elif end == "delete":
        assert rig.cluster.ask("DELETE", f"/users/{gus.account}").status == 204
    else:
        name = between.rpartition("/")[2]
        gus.iam.delete_role_policy(RoleName=name, PolicyName="p")
        gus.iam.delete_role(RoleName=name)
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")


def test_a_read_only_account_writes_with_no_role(rig: S3Rig, ann: Caller, anns: str) -> None:
    """Its session of another's role reads, and changes nothing; nor does one that was made before."""
    ida = account(rig, new_name("ida"))
    role = new_role(ann, ida.account, ALL)
    before = ida.assume(role)
    before.s3.put_object(Bucket=anns, Key="out/by-ida", Body=b"1")
    rig.cluster.ask("PATCH", f"/users/{ida.account}", b'{"role": "read-only"}')
    for session in (before, ida.assume(role)):
        assert read(session.s3, anns, "in/k") == b"content"
        assert refused(session.s3.put_object, Bucket=anns, Key="out/by-ida", Body=b"2")[0] == 403
        assert refused(session.s3.delete_object, Bucket=anns, Key="out/by-ida")[0] == 403


def test_nobody_takes_a_role_of_a_disabled_account(rig: S3Rig, carol: Caller) -> None:
    """Its trust policy counts again once the account is enabled."""
    gus = account(rig, new_name("gus"))
    role = new_role(gus, "carol", ALL)
    rig.cluster.ask("PATCH", f"/users/{gus.account}", b'{"disabled": true}')
    assert refused(carol.sts.assume_role, RoleArn=role, RoleSessionName="job") == IAM_DENIED
    rig.cluster.ask("PATCH", f"/users/{gus.account}", b'{"disabled": false}')
    assert carol.assume(role)


def test_a_users_policy_or_a_roles_trust_lets_it_take_a_role(ann: Caller, anns: str) -> None:
    """As at AWS: a trust policy that names the account leaves it to the user's own policies."""
    name, bob = new_user(ann)
    by_account = new_role(ann, "ann", allow("s3:GetObject", f"{anns}/*"))
    by_name = new_role(ann, f"arn:aws:iam::ann:user/{name}", allow("s3:GetObject", f"{anns}/*"))
    assert refused(bob.sts.assume_role, RoleArn=by_account, RoleSessionName="work") == IAM_DENIED
    assert read(bob.assume(by_name).s3, anns, "in/k") == b"content"
    ann.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole", by_account)))
    assert read(bob.assume(by_account).s3, anns, "in/k") == b"content"
    narrow = bob.narrowed(allow("s3:GetObject", "*"))
    assert refused(narrow.sts.assume_role, RoleArn=by_account, RoleSessionName="work") == IAM_DENIED


def test_a_trust_policy_has_conditions(ann: Caller, carol: Caller, anns: str) -> None:
    """On the external id that a third party must give, and on the caller's address."""
    role = new_role(ann, "carol", ALL, Condition={"StringEquals": {"sts:ExternalId": "secret-id"}})
    assert refused(carol.sts.assume_role, RoleArn=role, RoleSessionName="work") == IAM_DENIED
    assert read(carol.assume(role, ExternalId="secret-id").s3, anns, "in/k") == b"content"


def test_a_role_bounds_its_sessions(ann: Caller) -> None:
    """By the longest time that it allows."""
    role = new_role(ann, "ann", ALL)
    asked = {"RoleArn": role, "RoleSessionName": "work", "DurationSeconds": 7200}
    assert refused(ann.sts.assume_role, **asked) == (400, "ValidationError")
    name = role.rpartition("/")[2]
    ann.iam.update_role(RoleName=name, MaxSessionDuration=7200, Description="longer")
    assert ann.sts.assume_role(**asked)["AssumedRoleUser"]["Arn"].endswith("/work")
    found = ann.iam.get_role(RoleName=name)["Role"]
    assert (found["MaxSessionDuration"], found["Description"]) == (7200, "longer")
    nobody = policy({"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"})
    ann.iam.update_assume_role_policy(RoleName=name, PolicyDocument=nobody)
    assert ann.iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == json.loads(nobody)
    assert refused(ann.sts.assume_role, **asked) == IAM_DENIED


# ---------------------------------------------------------------- groups


def test_a_group_gives_its_policies_to_its_users(ann: Caller, anns: str) -> None:
    """As long as they are in it."""
    name, bob = new_user(ann)
    group = new_name("group")
    ann.iam.create_group(GroupName=group)
    ann.iam.put_group_policy(
        GroupName=group, PolicyName="p", PolicyDocument=policy(allow("s3:GetObject", f"{anns}/in/*"))
    )
    assert refused(bob.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    ann.iam.add_user_to_group(GroupName=group, UserName=name)
    assert read(bob.s3, anns, "in/k") == b"content"
    assert [one["UserName"] for one in ann.iam.get_group(GroupName=group)["Users"]] == [name]
    assert [one["GroupName"] for one in ann.iam.list_groups_for_user(UserName=name)["Groups"]] == [group]
    assert group in [one["GroupName"] for one in ann.iam.list_groups()["Groups"]]
    assert ann.iam.list_group_policies(GroupName=group)["PolicyNames"] == ["p"]
    assert refused(ann.iam.delete_group, GroupName=group) == (409, "DeleteConflict")
    ann.iam.remove_user_from_group(GroupName=group, UserName=name)
    assert refused(bob.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    assert refused(ann.iam.remove_user_from_group, GroupName=group, UserName=name) == MISSING
    ann.iam.delete_group_policy(GroupName=group, PolicyName="p")
    ann.iam.delete_group(GroupName=group)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [("create_login_profile", {"UserName": "x", "Password": "correct horse"}), ("list_mfa_devices", {})],
)
def test_what_is_not_there_says_so(ann: Caller, operation: str, arguments: dict[str, str]) -> None:
    """With a code that clients do not retry for."""
    assert refused(getattr(ann.iam, operation), **arguments) == (501, "NotImplemented")
    given = {"UserName": "x", "Tags": [{"Key": "a", "Value": "b"}]}
    assert refused(ann.iam.create_user, **given) == (501, "NotImplemented")


def test_an_account_that_is_deleted_leaves_nothing(rig: S3Rig) -> None:
    """Its users and their keys end, and a later account of its name has none of them."""
    name = new_name("hal")
    hal = account(rig, name)
    user, bob = new_user(hal, ALL)
    assert rig.cluster.ask("DELETE", f"/users/{name}").status == 204
    assert refused(bob.sts.get_caller_identity) == (403, "InvalidClientTokenId")
    again = account(rig, name)
    assert again.iam.list_users()["Users"] == []
    assert refused(again.iam.get_user, UserName=user) == MISSING
