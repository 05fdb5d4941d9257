"""Refusals of identities, sessions and their keys that take a certain moment or state to reach."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.auth
import botocore.compat
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from directory_server.access.decisions import standing
from directory_server.metadata.statements import people, s3_keys
from directory_server.people.accounts import Accounts
from directory_server.people.limits import Limits, limits_of, limits_of_key
from directory_server.people.person import Person
from lockstep_store.wire.errors import Forbidden, NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.identities import CALLER
from lockstep_store.wire.messages.people import WHO_AM_I
from tests.fakes.directory_rig import DirectoryRig
from tests.s3.calls import DENIED, refused
from tests.s3.people import document, statement
from tests.s3.query.callers import ALL, Caller, account, allow, new_name, passed_on, policy, stocked_bucket
from tests.s3.rig import ENDPOINT, REGION, S3Rig

WRONG_KEY = (403, "InvalidClientTokenId")


@pytest.fixture(scope="module")
def owner(rig: S3Rig) -> Caller:
    return account(rig, "otto")


@pytest.fixture(scope="module")
def stranger(rig: S3Rig) -> Caller:
    return account(rig, "mallory")


@pytest.fixture
def bucket(owner: Caller) -> str:
    return stocked_bucket(owner, "ottos")


@pytest.fixture
def state(rig: S3Rig) -> Any:
    """Sets whether an account is disabled, behind the back of what the directory remembers of it."""
    changed: set[str] = set()

    def set_state(name: str, disabled: bool) -> None:
        rig.cluster.directory.store.write(
            lambda tx: people.set_state(tx, name, administrator=False, read_only=False, disabled=disabled)
        )
        changed.add(name)

    yield set_state
    for name in tuple(changed):
        set_state(name, False)


def new_user(owner: Caller, *statements: dict[str, Any], name: str = "") -> tuple[str, Caller]:
    """A user of the owner's with a lasting key."""
    name = name or new_name("user")
    owner.iam.create_user(UserName=name)
    if statements:
        owner.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    made = owner.iam.create_access_key(UserName=name)["AccessKey"]
    return name, Caller(owner.rig, (made["AccessKeyId"], made["SecretAccessKey"]), owner.account)


def new_role(owner: Caller, taker: str) -> tuple[str, str]:
    """A role of the owner's that `taker` may take, and may do everything with; its name and its ARN."""
    name = new_name("role")
    trust = policy({"Effect": "Allow", "Principal": {"AWS": taker}, "Action": "sts:AssumeRole"})
    arn = owner.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    owner.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(ALL))
    return name, arn


def test_a_wrong_secret_is_nobody_to_iam(owner: Caller) -> None:
    """Neither for what only owners may do, nor for GetUser."""
    wrong = Caller(owner.rig, (owner.key[0], "x" * 40), owner.account)
    for call in (wrong.iam.list_users, wrong.iam.get_user):
        assert refused(call) == (403, "SignatureDoesNotMatch")
    ended = Caller(owner.rig, ("LSN" + "A" * 17, owner.key[1]), owner.account)
    for call in (ended.iam.list_users, ended.iam.get_user):
        assert refused(call) == WRONG_KEY


def test_the_proof_of_a_signed_request_is_no_token(owner: Caller, bucket: str) -> None:
    """It is valid for one request only, which the API does not have."""
    found = passed_on(owner, lambda: owner.s3.list_objects_v2(Bucket=bucket))
    assert found
    for proof in found:
        for header, value in (("Authorization", f"Bearer {proof}"), ("X-Api-Key", proof)):
            status, _, body = owner.rig.ask("GET", f"{ENDPOINT}/api/v1/files/{bucket}", {header: value})
            assert (status, b"a signature is not accepted" in body) == (401, True), body


def test_a_user_cannot_call_iam_whatever_its_policies(owner: Caller) -> None:
    """Or it would give itself what it lacks."""
    name, user = new_user(owner, ALL)
    for call, more in (
        (user.iam.list_users, {}),
        (user.iam.create_user, {"UserName": new_name("made")}),
        (user.iam.put_user_policy, {"UserName": name, "PolicyName": "q", "PolicyDocument": policy(ALL)}),
    ):
        assert refused(call, **more) == DENIED


def test_an_old_request_to_sts_is_refused(owner: Caller) -> None:
    """An eavesdropper may have kept it."""
    body = b"Action=GetCallerIdentity"
    now = botocore.compat.get_current_datetime()
    for made, status in ((now, 200), (now - timedelta(hours=1), 403)):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest(method="POST", url=f"{ENDPOINT}/", data=body, headers=form)
        with mock.patch.object(botocore.auth, "get_current_datetime", return_value=made):
            botocore.auth.SigV4Auth(Credentials(*owner.key), "sts", REGION).add_auth(request)
        sent = dict(request.headers.items()) | {"Content-Length": str(len(body))}
        assert owner.rig.ask("POST", request.url, sent, body)[0] == status


def test_a_key_that_ends_at_that_moment_makes_no_session(
    owner: Caller, rig: S3Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was known; when the session is written the key is gone."""
    _, user = new_user(owner, ALL)
    signer = Accounts.signer

    def late(accounts: Accounts, credential: str, service: str) -> Person:
        person = signer(accounts, credential, service)
        rig.cluster.directory.store.write(lambda tx: s3_keys.drop_key(tx, user.key[0], owner.account))
        return person

    monkeypatch.setattr(Accounts, "signer", late)
    assert refused(user.sts.get_session_token) == WRONG_KEY


def test_a_key_that_is_about_to_end_makes_no_session(owner: Caller, rig: S3Rig) -> None:
    """A session may not outlast it, and would be of no use."""
    _, user = new_user(owner, ALL)
    session = user.of(user.sts.get_session_token(DurationSeconds=900)["Credentials"])
    rig.cluster.pass_time(870)
    role = f"arn:aws:iam::{owner.account}:role/self"
    assert refused(session.sts.assume_role, RoleArn=role, RoleSessionName="late") == (403, "ExpiredToken")


def test_a_role_of_a_disabled_account_cannot_be_taken(owner: Caller, stranger: Caller, state: Any) -> None:
    """No matter whom its trust policy names."""
    _, arn = new_role(owner, stranger.account)
    assert stranger.assume(arn).account
    state(owner.account, True)
    assert refused(stranger.sts.assume_role, RoleArn=arn, RoleSessionName="work") == DENIED


def test_a_session_of_a_deleted_role_is_nobody(owner: Caller, bucket: str) -> None:
    """Its key is still there."""
    name, arn = new_role(owner, owner.account)
    session = owner.assume(arn)
    assert session.s3.get_object(Bucket=bucket, Key="in/k")["ContentLength"] == 7
    owner.iam.delete_role_policy(RoleName=name, PolicyName="p")
    owner.iam.delete_role(RoleName=name)
    assert refused(session.s3.get_object, Bucket=bucket, Key="in/k")[0] == 403


def test_limits_are_those_of_living_keys(owner: Caller, rig: S3Rig, state: Any) -> None:
    """Commits ask by the key's id: one that is unknown, inactive or of a disabled account has no right any more."""
    name, user = new_user(owner, ALL)
    session = user.of(user.sts.get_session_token()["Credentials"])
    store = rig.cluster.directory.store

    def ask(key: str) -> Limits | None:
        with store.read() as reader:
            return limits_of_key(reader, key)

    def ask_of_session() -> Limits | None:
        with store.read() as reader:
            found = s3_keys.find_key(reader, session.key[0])
            assert found is not None
            return limits_of(reader, session.key[0], found)

    assert ask(user.key[0]) is not None
    assert ask_of_session() is not None
    with pytest.raises(NotLoggedIn):
        ask("LSNONE")
    state(owner.account, True)
    for refused_now in (lambda: ask(user.key[0]), ask_of_session):
        with pytest.raises(NotLoggedIn):
            refused_now()
    state(owner.account, False)
    store.write(lambda tx: s3_keys.set_active(tx, user.key[0], owner.account, f"user/{name}", active=False))
    for refused_now in (lambda: ask(user.key[0]), ask_of_session):
        with pytest.raises(NotLoggedIn):
            refused_now()


def test_a_role_that_is_gone_limits_to_nothing(owner: Caller, rig: S3Rig) -> None:
    """The row of its session may outlive it."""
    name, arn = new_role(owner, owner.account)
    session = owner.assume(arn)
    with rig.cluster.directory.store.read() as reader:
        found = s3_keys.find_key(reader, session.key[0])
    owner.iam.delete_role_policy(RoleName=name, PolicyName="p")
    owner.iam.delete_role(RoleName=name)
    assert found is not None
    with rig.cluster.directory.store.read() as reader, pytest.raises(NotLoggedIn, match="was deleted"):
        limits_of(reader, session.key[0], found)


def test_a_policy_of_another_account_alone_gives_a_user_nothing(owner: Caller, stranger: Caller, bucket: str) -> None:
    """As at AWS: its own account must allow it, too. In its own account's bucket the bucket's policy is enough."""
    name, user = new_user(stranger, allow("s3:ListAllMyBuckets", "*"))
    arn = f"arn:aws:iam::{stranger.account}:user/{name}"
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", arn, "s3:GetObject", f"{bucket}/*")))
    assert refused(user.s3.get_object, Bucket=bucket, Key="in/k") == DENIED
    allowed = policy(allow("s3:GetObject", f"{bucket}/*"))
    stranger.iam.put_user_policy(UserName=name, PolicyName="q", PolicyDocument=allowed)
    assert user.s3.get_object(Bucket=bucket, Key="in/k")["ContentLength"] == 7


def test_a_denied_stranger_cannot_see_the_policy_of_a_shared_bucket(rig: S3Rig, owner: Caller, bucket: str) -> None:
    """Only the owner can always see and change it."""
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Deny", "*", "s3:*", bucket, f"{bucket}/*")))
    with rig.cluster.directory.store.read() as reader:
        place = standing(reader, bucket, Person("mallory", False, "session"), 0.0)
        place.ground = place.ground.__class__(place.ground.bucket._replace(shared=True), place.ground.rules)
        assert not place.may("s3:GetBucketPolicy")
        assert standing(reader, bucket, Person(owner.account, False, "session"), 0.0).may("s3:GetBucketPolicy")


def test_a_session_of_a_member_lists_what_members_see(tmp_path: Path) -> None:
    """Others' private buckets are in the list of an administrator's session only."""
    rig = DirectoryRig(tmp_path)
    try:
        rig.bucket("private", who="ann")
        for admin in (False, True):
            limits = Limits("ben", admin, "key", session=(policy(ALL),))
            seen = rig.buckets.all(Person("ben", False, "session", limits=limits)).buckets
            assert ("private" in {one.name for one in seen}) is admin
    finally:
        rig.close()


def test_a_bucket_is_not_made_with_settings_that_the_key_may_not_give(owner: Caller) -> None:
    """The right to make one is not the right to open it to everybody."""
    _, user = new_user(owner, allow(["s3:CreateBucket", "s3:ListBucket"], "*"))
    name = new_name("open")
    more = {"Bucket": name, "ObjectOwnership": "ObjectWriter", "ACL": "public-read"}
    assert refused(user.s3.create_bucket, **more) == DENIED
    assert refused(owner.s3.head_bucket, Bucket=name)[0] == 404
    user.s3.create_bucket(Bucket=name)


def test_a_key_with_limits_is_no_log_in(owner: Caller, bucket: str) -> None:
    """Calls for a person with all of the account's rights refuse it."""
    _, user = new_user(owner, ALL)
    credential = passed_on(user, lambda: user.s3.list_buckets())[0]
    with pytest.raises(Forbidden, match="cannot do this"):
        owner.rig.cluster.directory.accounts.authenticate(credential)
    credential = passed_on(owner, lambda: owner.s3.list_buckets())[0]
    assert owner.rig.directory.call(WHO_AM_I, CredentialRequest(credential)).name == owner.account


def test_a_proof_for_s3_is_nobody_to_sts(owner: Caller) -> None:
    """At the directory, too: a proxy could pass on any proof that it has seen."""
    credential = passed_on(owner, lambda: owner.s3.list_buckets())[0]
    for proof in (credential, owner.rig.cluster.admin_key):
        with pytest.raises(NotLoggedIn):
            owner.rig.directory.call(CALLER, CredentialRequest(proof))
