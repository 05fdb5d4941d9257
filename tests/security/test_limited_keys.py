"""Keys with limits: users, roles and sessions may do what their policies and their account allow, however they sign."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from directory_server.files.commits import Commits
from lockstep_store.wire.errors import LockstepError, NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.files import LOOKUP, LookupItem, LookupRequest
from lockstep_store.wire.messages.people import WHO_AM_I
from lockstep_store.wire.messages.s3 import S3_PROOF_PREFIX
from lockstep_store.wire.messages.s3_access import S3Access
from tests.s3.calls import DENIED, code_in, refused
from tests.s3.people import document, statement
from tests.s3.post_forms import ANY_KEY, FORM_TYPE, form
from tests.s3.query.callers import ALL, Caller, account, allow, deny, new_name, policy, stocked_bucket
from tests.s3.rig import ENDPOINT, REGION, S3Rig

Make = Callable[[Caller, str], Caller]


def user(*statements: dict[str, Any]) -> Make:
    """Makes a user of the owner's with these policies; `BUCKET` stands for the bucket."""

    def make(owner: Caller, bucket: str) -> Caller:
        name = new_name("user")
        owner.iam.create_user(UserName=name)
        if statements:
            text = policy(*statements).replace("BUCKET", bucket)
            owner.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=text)
        made = owner.iam.create_access_key(UserName=name)["AccessKey"]
        return Caller(owner.rig, (made["AccessKeyId"], made["SecretAccessKey"]), owner.account)

    return make


def session(*statements: dict[str, Any], of: Make | None = None) -> Make:
    """Makes a session with a policy, of the owner or of what `of` makes."""

    def make(owner: Caller, bucket: str) -> Caller:
        maker = of(owner, bucket) if of is not None else owner
        return maker.assume(
            "arn:aws:iam::" + owner.account + ":role/self", Policy=policy(*statements).replace("BUCKET", bucket)
        )

    return make


def role(*statements: dict[str, Any]) -> Make:
    """Makes a role of the owner's and takes it as the owner."""

    def make(owner: Caller, bucket: str) -> Caller:
        name = new_name("role")
        trust = policy({"Effect": "Allow", "Principal": {"AWS": owner.account}, "Action": "sts:AssumeRole"})
        arn = owner.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if statements:
            text = policy(*statements).replace("BUCKET", bucket)
            owner.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=text)
        return owner.assume(arn)

    return make


READ_IN = allow("s3:GetObject", "BUCKET/in/*")
WRITE_IN = allow("s3:PutObject", "BUCKET/in/*")
NOT_OUT = deny("s3:*", "BUCKET/out/*")
DO: dict[str, Callable[[Caller, str], object]] = {
    "read in": lambda one, bucket: one.s3.get_object(Bucket=bucket, Key="in/k"),
    "read out": lambda one, bucket: one.s3.get_object(Bucket=bucket, Key="out/k"),
    "write in": lambda one, bucket: one.s3.put_object(Bucket=bucket, Key="in/k", Body=b"content"),
    "copy out to in": lambda one, bucket: one.s3.copy_object(Bucket=bucket, Key="in/c", CopySource=f"{bucket}/out/k"),
    "list": lambda one, bucket: one.s3.list_objects_v2(Bucket=bucket),
    "tag": lambda one, bucket: one.s3.put_object_tagging(Bucket=bucket, Key="in/k", Tagging={"TagSet": []}),
    "policy": lambda one, bucket: one.s3.get_bucket_policy_status(Bucket=bucket),
    "buckets": lambda one, bucket: one.s3.list_buckets(),
    "make": lambda one, bucket: one.s3.create_bucket(Bucket=new_name("made")),
    "IAM": lambda one, bucket: one.iam.create_access_key(),
    "token": lambda one, bucket: one.sts.get_session_token(),
}
EVERY = frozenset(DO)
CELLS: dict[str, tuple[Make, frozenset[str]]] = {
    "a user without policies": (user(), frozenset({"token"})),
    "a user that reads": (user(READ_IN), frozenset({"token", "read in"})),
    "a user that writes": (user(WRITE_IN), frozenset({"token", "write in"})),
    "a user that may everything": (user(ALL), EVERY - {"IAM"}),
    "a user that may everything but": (user(ALL, NOT_OUT), EVERY - {"IAM", "read out", "copy out to in"}),
    "a session that reads": (session(READ_IN), frozenset({"read in"})),
    "a session that may everything": (session(ALL), EVERY - {"IAM", "token"}),
    "a wide session of a reader": (session(ALL, of=user(READ_IN)), frozenset({"read in"})),
    "a reading session of a writer": (session(READ_IN, of=user(WRITE_IN)), frozenset()),
    "a role that reads": (role(READ_IN), frozenset({"read in"})),
    "a role without policies": (role(), frozenset()),
    "a wide session of a role that writes": (session(ALL, of=role(WRITE_IN)), frozenset({"write in"})),
}


@pytest.fixture(scope="module")
def owner(rig: S3Rig) -> Caller:
    return account(rig, "olga")


@pytest.fixture
def bucket(owner: Caller) -> str:
    return stocked_bucket(owner, "olgas")


def _may(act: Callable[[Caller, str], object], one: Caller, bucket: str) -> bool:
    try:
        act(one, bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


@pytest.mark.parametrize("who", CELLS)
def test_a_key_does_what_its_limits_allow(owner: Caller, bucket: str, who: str) -> None:
    """Each action that the cell names, and none of the others."""
    make, may = CELLS[who]
    one = make(owner, bucket)
    assert {name for name, act in DO.items() if _may(act, one, bucket)} == may


@pytest.mark.parametrize("who", [name for name, (_, may) in CELLS.items() if may == EVERY - {"IAM"}])
def test_limits_of_others_give_nothing_here(rig: S3Rig, bucket: str, who: str) -> None:
    """Whatever a stranger's user may do by its own policies, this bucket is the owner's."""
    stranger = account(rig, "mallory")
    one = CELLS[who][0](stranger, bucket)
    assert refused(one.s3.get_object, Bucket=bucket, Key="in/k") == DENIED
    assert refused(one.s3.put_object, Bucket=bucket, Key="in/k", Body=b"") == DENIED


def test_limits_hold_in_presigned_addresses(owner: Caller, bucket: str) -> None:
    """Which carry the session token; one without it is void."""
    one = session(READ_IN)(owner, bucket)
    client = owner.rig.client(one.key, signature_version="s3v4")
    for key, status in (("in/k", 200), ("out/k", 403)):
        address = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        assert owner.rig.ask("GET", address, {})[0] == status
    bare = owner.rig.client(one.key[:2], signature_version="s3v4")
    address = bare.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "in/k"})
    assert owner.rig.ask("GET", address, {})[0] == 403


def test_the_api_takes_no_key_with_limits(owner: Caller, bucket: str) -> None:
    """Neither its secret, nor its name with it, nor a signature: what only the S3 door can judge is void there."""
    one = user(ALL)(owner, bucket)
    signed = _signed(one, "s3", "", "/api/v1/locks")
    proof = S3Access(credential=S3_PROOF_PREFIX + "{}").encode()
    id, secret = one.key
    for headers in (
        *({"Authorization": f"Bearer {text}"} for text in (id, secret, f"{id}:{secret}", proof)),
        *({"X-Api-Key": text} for text in (id, secret, proof)),
        dict(signed.headers.items()),
    ):
        for method, target, body in (
            ("GET", f"/files/{bucket}/in/k", b""),
            ("GET", "/locks", b""),
            ("POST", "/locks", json.dumps({"paths": [f"{bucket}/in/k"]}).encode()),
            ("GET", "/auth/keys", b""),
            ("POST", "/auth/keys", b'{"name": "wider"}'),
            ("POST", "/auth/s3-keys", b'{"name": "wider"}'),
            ("GET", "/changes?cursor=0", b""),
        ):
            answer = owner.rig.cluster.ask_with(headers | {"Content-Type": "application/json"}, method, target, body)
            assert answer.status == 401, (headers, target, answer.body)


def test_limits_hold_in_forms(owner: Caller, bucket: str) -> None:
    """Which carry the session token, too."""
    one = session(WRITE_IN)(owner, bucket)
    client = owner.rig.client(one.key, signature_version="s3v4")
    for key, status in (("in/form", 204), ("out/form", 403)):
        signed = client.generate_presigned_post(bucket, key, Conditions=[ANY_KEY])
        for fields, expected in (
            (signed["fields"], status),
            ({k: v for k, v in signed["fields"].items() if k != "x-amz-security-token"}, 403),
        ):
            body = form([*fields.items(), ("file", b"content")])
            headers = {
                "Content-Type": FORM_TYPE,
                "Content-Length": str(len(body)),
            }
            assert owner.rig.ask("POST", f"{ENDPOINT}/{bucket}", headers, body)[0] == expected


def test_a_right_that_ends_during_a_write_ends_the_write(
    owner: Caller, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit asks for the limits again: a policy is gone, then the key."""
    one = user(WRITE_IN)(owner, bucket)
    name = one.iam.get_user()["User"]["UserName"]
    ends = [
        lambda: owner.iam.delete_user_policy(UserName=name, PolicyName="p"),
        lambda: owner.iam.delete_access_key(UserName=name, AccessKeyId=one.key[0]),
    ]
    commit = Commits.commit
    for end in ends:
        text = policy(WRITE_IN).replace("BUCKET", bucket)
        owner.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=text)

        def late(commits: Commits, items: Any, server_id: str, end: Callable[[], object] = end) -> Any:
            monkeypatch.setattr(Commits, "commit", commit)
            end()
            return commit(commits, items, server_id)

        monkeypatch.setattr(Commits, "commit", late)
        assert refused(one.s3.put_object, Bucket=bucket, Key="in/late", Body=b"x" * 200_000)[0] == 403
        assert refused(owner.s3.get_object, Bucket=bucket, Key="in/late") == (404, "NoSuchKey")


def test_an_upload_keeps_asking(owner: Caller, bucket: str) -> None:
    """Its parts and its completion are refused when the right to write has gone."""
    one = user(WRITE_IN)(owner, bucket)
    name = one.iam.get_user()["User"]["UserName"]
    upload = {"Bucket": bucket, "Key": "in/parts"}
    upload["UploadId"] = one.s3.create_multipart_upload(**upload)["UploadId"]
    etag = one.s3.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]
    owner.iam.delete_user_policy(UserName=name, PolicyName="p")
    assert refused(one.s3.upload_part, **upload, PartNumber=2, Body=b"part") == DENIED
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    assert refused(one.s3.complete_multipart_upload, **upload, MultipartUpload=parts) == DENIED
    assert refused(one.s3.abort_multipart_upload, **upload) == DENIED
    owner.s3.abort_multipart_upload(**upload)


def _signed(caller: Caller, service: str, body: str, path: str = "/") -> AWSRequest:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest(method="POST" if body else "GET", url=ENDPOINT + path, data=body, headers=headers)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(*caller.key), service, REGION).add_auth(request)
    return request


def _sent(caller: Caller, request: AWSRequest, body: str) -> tuple[int, str]:
    headers = dict(request.headers.items()) | {"Content-Length": str(len(body))}
    status, _, content = caller.rig.ask(request.method, request.url, headers, body.encode())
    return status, code_in(content)


def test_a_signature_is_good_for_its_service_and_body(owner: Caller, bucket: str) -> None:
    """Not for another service, another form, or without one."""
    identity, session_token = "Action=GetCallerIdentity", "Action=GetSessionToken"
    assert _sent(owner, _signed(owner, "sts", identity), identity)[0] == 200
    assert _sent(owner, _signed(owner, "sts", identity), session_token) == (403, "SignatureDoesNotMatch")
    assert _sent(owner, _signed(owner, "s3", identity), identity) == (400, "IncompleteSignature")
    assert _sent(owner, _signed(owner, "iam", identity), identity) == (400, "InvalidAction")
    form_type = {"Content-Type": "application/x-www-form-urlencoded"}
    unsigned = AWSRequest(method="POST", url=f"{ENDPOINT}/", headers=form_type)
    assert _sent(owner, unsigned, identity) == (403, "MissingAuthenticationToken")
    status, code = _sent(owner, _signed(owner, "iam", "", f"/{bucket}/in/k"), "")
    assert (status, code) == (400, "AuthorizationHeaderMalformed")


def test_the_directory_keeps_the_services_apart(owner: Caller, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof for STS reads no file, and one for S3 makes no session; only S3's signing keys leave the directory."""
    proofs = []
    directory = owner.rig.directory
    call = directory.call

    def listen(what: Any, request: Any) -> Any:
        proofs.append((what.path, getattr(request, "credential", "")))
        return call(what, request)

    monkeypatch.setattr(directory, "call", listen)
    owner.sts.get_caller_identity()
    assert [path for path, _ in proofs] == ["/v1/identities/caller"]
    proof = proofs[0][1]
    with pytest.raises(NotLoggedIn):
        call(LOOKUP, LookupRequest([LookupItem(proof, bucket, "in/k")])).results[0].unwrap()
    with pytest.raises(LockstepError):
        call(WHO_AM_I, CredentialRequest(proof))


def test_a_policy_of_the_bucket_that_names_a_user_is_for_that_one(rig: S3Rig, owner: Caller, bucket: str) -> None:
    """An account of the user's name, or the same user of another account, is somebody else."""
    name = new_name("named")
    mallory, namesake = account(rig, "mallory"), account(rig, name)
    made = {}
    for one in (owner, mallory):
        one.iam.create_user(UserName=name)
        one.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("s3:ListAllMyBuckets", "*")))
        made[one.account] = one.iam.create_access_key(UserName=name)["AccessKey"]
    arn = f"arn:aws:iam::{owner.account}:user/{name}"
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", arn, "s3:GetObject", f"{bucket}/*")))
    right, wrong = (Caller(rig, (key["AccessKeyId"], key["SecretAccessKey"]), who) for who, key in made.items())
    assert right.s3.get_object(Bucket=bucket, Key="in/k")["ContentLength"] == 7
    for other in (wrong, namesake):
        assert refused(other.s3.get_object, Bucket=bucket, Key="in/k") == DENIED


def test_what_everybody_may_read_a_user_may_read(rig: S3Rig, owner: Caller, bucket: str) -> None:
    """Of its own account's bucket, as at AWS; a session policy still narrows that, and so do other accounts' users."""
    everybody = statement("Allow", "*", "s3:GetObject", f"{bucket}/in/*")
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=document(everybody))
    get = {"Bucket": bucket, "Key": "in/k"}
    assert user()(owner, bucket).s3.get_object(**get)["ContentLength"] == 7
    assert refused(session(WRITE_IN, of=user())(owner, bucket).s3.get_object, **get) == DENIED
    assert refused(user()(account(rig, "mallory"), bucket).s3.get_object, **get) == DENIED
