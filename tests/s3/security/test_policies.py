"""Bucket policies through boto3: two accounts, nobody, and the other doors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client_proxy.core.requests import Write
from lockstep_store.wire.errors import Forbidden, TicketRefused
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.writes import BeginItem
from tests.s3.calls import read, refused
from tests.s3.people import document, statement, token_of
from tests.s3.rig import S3Rig

DENIED = (403, "AccessDenied")
Allow, Deny = "Allow", "Deny"


@pytest.fixture
def bucket(owned_bucket: str) -> str:
    """A bucket of the owner's, with the object `k`."""
    return owned_bucket


# ---------------------------------------------------------------- the document


def test_a_policy_is_put_told_and_deleted(owner: Any, eve: Any, bucket: str) -> None:
    """It comes back as the very text that was put."""
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    text = document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*"))
    assert owner.put_bucket_policy(Bucket=bucket, Policy=text)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert owner.delete_bucket_policy(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(owner.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    owner.delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        '{"Version":"2000-01-01","Statement":[]}',
        document(statement("Maybe", "*", "s3:GetObject", "{}/*")),
        document(statement(Allow, "*", "ec2:Run", "{}/*")),
        document(statement(Allow, "*", "s3:GetObject", "elsewhere/*")),
        document(statement(Allow, "*", "s3:GetObject", "{}/*", Condition={"StringSounds": {"aws:Referer": "x"}})),
        document(statement(Allow, "*", "s3:GetObject", "{}/*", Sid="x" * 21_000)),
        document(statement(Allow, "\ud800", "s3:GetObject", "{}/*")),
        document(statement(Allow, "*", "s3:\ud800", "{}/*")),
    ],
)
def test_a_malformed_policy_is_refused(owner: Any, make_bucket: Callable[..., str], s3: Any, text: str) -> None:
    """Nothing of it is kept."""
    name = make_bucket()
    assert refused(s3.put_bucket_policy, Bucket=name, Policy=text.replace("{}/", f"{name}/")) == (
        400,
        "MalformedPolicy",
    )
    assert refused(s3.get_bucket_policy, Bucket=name) == (404, "NoSuchBucketPolicy")


def test_only_its_owner_touches_a_policy(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Neither others nor nobody read or change it, unless it says so."""
    text = document(statement(Allow, "*", "s3:GetObject", f"{bucket}/*"))
    for other in (eve, nobody):
        assert refused(other.put_bucket_policy, Bucket=bucket, Policy=text) == DENIED
        assert refused(other.get_bucket_policy, Bucket=bucket) == DENIED
        assert refused(other.delete_bucket_policy, Bucket=bucket) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetBucketPolicy", bucket)))
    assert eve.get_bucket_policy(Bucket=bucket)["Policy"]


# ---------------------------------------------------------------- allow


def test_one_action_is_allowed_and_no_other(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Reading is not listing, one account is not another, and none is nobody."""
    owner.put_bucket_policy(
        Bucket=bucket, Policy=document(statement(Allow, "arn:aws:iam::eve:user/eve", "s3:GetObject", f"{bucket}/*"))
    )
    assert read(eve, bucket) == b"content"
    assert eve.head_object(Bucket=bucket, Key="k")["ContentLength"] == 7
    assert refused(eve.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(eve.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
    assert refused(eve.delete_object, Bucket=bucket, Key="k") == DENIED
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED
    assert read(owner, bucket) == b"content"


def test_everybody_may_be_allowed(owner: Any, nobody: Any, bucket: str) -> None:
    """Get, put, list and delete, unsigned; what nobody wrote is the bucket owner's to read."""
    actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"]
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "*", actions, bucket, f"{bucket}/*")))
    assert read(nobody, bucket) == b"content"
    nobody.put_object(Bucket=bucket, Key="left", Body=b"by nobody")
    assert [one["Key"] for one in nobody.list_objects_v2(Bucket=bucket)["Contents"]] == ["k", "left"]
    assert read(owner, bucket, "left") == b"by nobody"
    nobody.delete_object(Bucket=bucket, Key="left")
    assert refused(nobody.get_object, Bucket=bucket, Key="left") == (404, "NoSuchKey")
    assert refused(nobody.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}) == DENIED


def test_a_missing_key_is_told_to_those_who_may_list(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """To others it looks like one that they may not read."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "*", "s3:GetObject", f"{bucket}/*")))
    for other in (eve, nobody):
        assert refused(other.get_object, Bucket=bucket, Key="none") == DENIED
        assert refused(other.head_object, Bucket=bucket, Key="none")[0] == 403
    assert refused(owner.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    owner.put_bucket_policy(
        Bucket=bucket, Policy=document(statement(Allow, "*", ["s3:GetObject", "s3:ListBucket"], bucket, f"{bucket}/*"))
    )
    assert refused(eve.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert refused(nobody.get_object, Bucket="none-of-that-name", Key="none") == (404, "NoSuchBucket")


def test_versions_are_an_action_of_their_own(owner: Any, eve: Any, bucket: str) -> None:
    """GetObject is the current version, GetObjectVersion any that is named; the same for deleting."""
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = owner.put_object(Bucket=bucket, Key="k", Body=b"second")["VersionId"]
    actions = ["s3:GetObject", "s3:DeleteObject", "s3:ListBucketVersions"]
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", actions, bucket, f"{bucket}/*")))
    assert read(eve, bucket) == b"second"
    assert refused(eve.get_object, Bucket=bucket, Key="k", VersionId=version) == DENIED
    assert refused(eve.delete_object, Bucket=bucket, Key="k", VersionId=version) == DENIED
    assert len(eve.list_object_versions(Bucket=bucket)["Versions"]) == 2
    eve.delete_object(Bucket=bucket, Key="k")
    assert read(owner, bucket, VersionId=version) == b"second"


def test_a_copy_reads_and_writes(owner: Any, eve: Any, bucket: str) -> None:
    """Both buckets are asked: the one that is read from and the one that is written to."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    source = {"Bucket": bucket, "Key": "k"}
    assert refused(eve.copy_object, Bucket=mine, Key="copy", CopySource=source) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")))
    eve.copy_object(Bucket=mine, Key="copy", CopySource=source)
    assert read(eve, mine, "copy") == b"content"
    assert refused(eve.copy_object, Bucket=bucket, Key="back", CopySource={"Bucket": mine, "Key": "copy"}) == DENIED


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_onto_itself_reads_too(owner: Any, eve: Any, bucket: str, old: bool) -> None:
    """Who may only write does not come by what is there by writing it anew under a key of their own."""
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = owner.put_object(Bucket=bucket, Key="k", Body=b"secret")["VersionId"]
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    source = {"Bucket": bucket, "Key": "k", **({"VersionId": version} if old else {})}
    own_key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"e" * 32}
    for key in ({}, own_key):
        call = {"Bucket": bucket, "Key": "k", "CopySource": source, "MetadataDirective": "REPLACE", **key}
        assert refused(eve.copy_object, **call) == DENIED
    upload = {"Bucket": bucket, "Key": "k", "PartNumber": 1}
    upload["UploadId"] = eve.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for part in ({}, {"CopySourceRange": "bytes=0-1"}):
        assert refused(eve.upload_part_copy, **upload, CopySource=source, **part) == DENIED
    assert read(owner, bucket) == b"secret"
    reads = statement(Allow, "eve", ["s3:PutObject", "s3:GetObjectVersion" if old else "s3:GetObject"], f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads))
    eve.upload_part_copy(**upload, CopySource=source)
    eve.copy_object(Bucket=bucket, Key="k", CopySource=source, **own_key)
    assert read(eve, bucket, **own_key) == b"secret"


def test_a_copied_part_needs_no_right_to_read_its_target(owner: Any, eve: Any, bucket: str) -> None:
    """Who may write here and read there may copy from there to here."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    eve.put_object(Bucket=mine, Key="source", Body=b"eve's")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = {"Bucket": bucket, "Key": "k"}
    upload["UploadId"] = eve.create_multipart_upload(**upload)["UploadId"]
    part = eve.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": mine, "Key": "source"})["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(owner, bucket) == b"eve's"


def test_uploads_in_parts_follow_the_policy(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Creating, sending, completing are PutObject; aborting and listing have actions of their own. Who began an upload
    may abort it, too, unless that is denied."""
    assert refused(eve.create_multipart_upload, Bucket=bucket, Key="m") == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = eve.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = eve.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    assert refused(nobody.upload_part, Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x") == DENIED
    assert refused(eve.list_parts, Bucket=bucket, Key="m", UploadId=upload) == DENIED
    owners = owner.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    assert refused(eve.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=owners) == DENIED
    assert refused(nobody.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=owners) == DENIED
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    eve.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    assert read(owner, bucket, "m") == b"part"
    for denied in (False, True):
        put = statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")
        never = statement(Deny, "eve", "s3:AbortMultipartUpload", f"{bucket}/*")
        owner.put_bucket_policy(Bucket=bucket, Policy=document(put, *([never] if denied else [])))
        own = {"Bucket": bucket, "Key": "m"}
        own["UploadId"] = eve.create_multipart_upload(**own)["UploadId"]
        if denied:
            assert refused(eve.abort_multipart_upload, **own) == DENIED
        else:
            eve.abort_multipart_upload(**own)
            assert refused(eve.upload_part, **own, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("s3:x-amz-server-side-encryption", "aws:kms", {"ServerSideEncryption": "aws:kms"}),
        ("s3:x-amz-server-side-encryption", "AES256", {"ServerSideEncryption": "AES256"}),
        ("s3:x-amz-acl", "bucket-owner-full-control", {"ACL": "bucket-owner-full-control"}),
        ("s3:x-amz-storage-class", "STANDARD_IA", {"StorageClass": "STANDARD_IA"}),
        ("s3:RequestObjectTag/env", "test", {"Tagging": "env=test"}),
    ],
)
def test_parts_are_judged_by_what_their_upload_was_begun_with(
    owner: Any, eve: Any, bucket: str, key: str, value: str, said: dict[str, str]
) -> None:
    """The demand that everything be written so and so is one that clients' uploads in parts can meet, and must."""
    owner.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            statement(Allow, "eve", ["s3:PutObject", "s3:GetObject"], f"{bucket}/*"),
            statement(Deny, "*", "s3:PutObject", f"{bucket}/*", Condition={"StringNotEquals": {key: value}}),
        ),
    )
    assert refused(eve.create_multipart_upload, Bucket=bucket, Key="m") == DENIED
    upload = {"Bucket": bucket, "Key": "m"}
    upload["UploadId"] = eve.create_multipart_upload(**upload, **said)["UploadId"]
    first = eve.upload_part(**upload, PartNumber=1, Body=bytes(5 << 20))
    second = eve.upload_part_copy(**upload, PartNumber=2, CopySource=f"{bucket}/k")["CopyPartResult"]
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert read(owner, bucket, "m")[5 << 20 :] == b"content"


# ---------------------------------------------------------------- deny, and conditions


def test_a_deny_outweighs_everything(owner: Any, s3: Any, bucket: str) -> None:
    """Also the owner and administrators; but the owner always reaches the policy."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Deny, "*", "s3:*", bucket, f"{bucket}/*")))
    for client in (owner, s3):
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
        assert refused(client.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
        assert refused(client.list_objects_v2, Bucket=bucket) == DENIED
        assert refused(client.delete_bucket, Bucket=bucket) == DENIED
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"]
    owner.delete_bucket_policy(Bucket=bucket)
    assert read(owner, bucket) == b"content"


def test_other_doors_obey(rig: S3Rig, owner: Any, eve: Any, bucket: str) -> None:
    """What the policy denies is denied through the REST API too; what it allows another account is allowed there."""
    token = {"Authorization": f"Bearer {token_of(rig, 'olga')}"}
    address = f"https://127.0.0.1:5000/api/v1/files/{bucket}/k"
    assert rig.ask("GET", address, token)[0] == 200
    owner.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            statement(Deny, "olga", ["s3:PutObject", "s3:DeleteObject"], f"{bucket}/k"),
            statement(Allow, "eve", "s3:GetObject", f"{bucket}/*"),
        ),
    )
    assert rig.ask("GET", address, token)[0] == 200
    assert rig.ask("PUT", address, {**token, "Content-Length": "1"}, b"x")[0] == 403
    assert rig.ask("DELETE", address, token)[0] == 403
    assert rig.ask("GET", address, {"Authorization": f"Bearer {token_of(rig, 'eve')}"})[0] == 200
    assert rig.ask("GET", address, {"Authorization": f"Bearer {token_of(rig, 'fay')}"})[0] == 403


def test_other_doors_know_no_anonymous_people(rig: S3Rig, owner: Any, bucket: str) -> None:
    """A bucket that is open to everybody still needs a log-in there, and a signature is no log-in."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "*", "s3:*", bucket, f"{bucket}/*")))
    address = f"https://127.0.0.1:5000/api/v1/files/{bucket}/k"
    for headers in ({}, {"Authorization": "Bearer lsa_{}"}, {"X-Api-Key": "lsa_{}"}, {"X-Api-Key": "lss_a/b/c/d/e/f"}):
        assert rig.ask("GET", address, headers)[0] == 401


def test_nobody_gets_no_further_than_policies_reach(rig: S3Rig, nobody: Any) -> None:
    """What no policy can be about is closed to anonymous requests: buckets as such, and a shared bucket's files."""
    assert refused(nobody.list_buckets) == DENIED
    assert refused(nobody.create_bucket, Bucket="nobodys-own")[0] == 403
    assert refused(nobody.list_objects_v2, Bucket="files") == DENIED
    assert refused(nobody.put_object, Bucket="files", Key="k", Body=b"x") == DENIED


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"StringLike": {"aws:UserAgent": "*oto*"}}, True),
        ({"StringLike": {"aws:Referer": "http://example.com/*"}}, False),
        ({"StringEquals": {"aws:username": "eve"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/e*"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/Team": "red"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/Team": "blue"}}, False),
        ({"Null": {"s3:ExistingObjectTag/Other": "true"}}, True),
    ],
)
def test_conditions_on_reading(
    rig: S3Rig, eve: Any, make_bucket: Callable[..., str], s3: Any, condition: dict[str, Any], allowed: bool
) -> None:
    """Each key says of this very request what S3's says."""
    name = make_bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"content", Tagging="Team=red")
    s3.put_bucket_policy(
        Bucket=name, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{name}/*", Condition=condition))
    )
    if allowed:
        assert read(eve, name) == b"content"
    else:
        assert refused(eve.get_object, Bucket=name, Key="k") == DENIED


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, {"ACL": "public-read"}, {"ACL": "private"}),
        ({"StringEquals": {"s3:RequestObjectTag/a": "1"}}, {"Tagging": "a=1"}, {"Tagging": "a=2"}),
        ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}}, {"Tagging": "a=1"}, {"Tagging": "c="}),
        ({"StringEquals": {"s3:if-none-match": "*"}}, {"IfNoneMatch": "*"}, {}),
        ({"Null": {"s3:x-amz-grant-full-control": "false"}}, {"GrantFullControl": 'id="olga"'}, {}),
    ],
)
def test_conditions_on_writing(
    eve: Any, owner: Any, make_bucket: Callable[..., str], s3: Any, condition: Any, good: Any, bad: Any
) -> None:
    """Headers are judged as they were sent."""
    name = make_bucket()
    s3.put_bucket_policy(
        Bucket=name, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{name}/*", Condition=condition))
    )
    eve.put_object(Bucket=name, Key="good", Body=b"x", **good)
    assert refused(eve.put_object, Bucket=name, Key="bad", Body=b"x", **bad) == DENIED


def test_listing_is_bounded_by_prefix(owner: Any, eve: Any, bucket: str) -> None:
    """Everybody their own folder, by a variable."""
    condition = {"StringLike": {"s3:prefix": "home/${aws:username}/*"}, "NumericLessThanEquals": {"s3:max-keys": "5"}}
    owner.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            statement(Allow, "*", "s3:ListBucket", bucket, Condition=condition),
            statement(Allow, "*", "s3:PutObject", bucket + "/home/${aws:username}/*"),
        ),
    )
    eve.put_object(Bucket=bucket, Key="home/eve/a", Body=b"x")
    assert refused(eve.put_object, Bucket=bucket, Key="home/fay/a", Body=b"x") == DENIED
    assert eve.list_objects_v2(Bucket=bucket, Prefix="home/eve/", MaxKeys=5)["KeyCount"] == 1
    assert refused(eve.list_objects_v2, Bucket=bucket, Prefix="home/eve/", MaxKeys=6) == DENIED
    assert refused(eve.list_objects_v2, Bucket=bucket, Prefix="home/", MaxKeys=5) == DENIED
    assert refused(eve.list_objects_v2, Bucket=bucket) == DENIED


def test_a_missing_key_is_404_where_its_prefix_may_be_listed(owner: Any, eve: Any, bucket: str) -> None:
    """The key is the prefix of that question: missing in one's own folder, hidden elsewhere."""
    condition = {"StringLike": {"s3:prefix": "home/${aws:username}/*"}}
    owner.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            statement(Allow, "*", "s3:ListBucket", bucket, Condition=condition),
            statement(Allow, "*", ["s3:GetObject", "s3:GetObjectTagging"], f"{bucket}/*"),
        ),
    )
    assert refused(eve.get_object, Bucket=bucket, Key="home/eve/none") == (404, "NoSuchKey")
    assert refused(eve.head_object, Bucket=bucket, Key="home/eve/none")[0] == 404
    assert refused(eve.get_object_tagging, Bucket=bucket, Key="home/eve/none") == (404, "NoSuchKey")
    assert refused(eve.get_object, Bucket=bucket, Key="home/fay/none") == DENIED
    assert refused(eve.head_object, Bucket=bucket, Key="home/fay/none")[0] == 403


def test_a_deny_put_between_begin_and_commit_holds(rig: S3Rig, owner: Any, eve: Any, bucket: str) -> None:
    """The decision is made in the transaction that makes the version, not when the bytes were announced."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))

    def body() -> Iterator[bytes]:
        yield b"x" * 50
        owner.delete_bucket_policy(Bucket=bucket)
        yield b"x" * 50

    access = S3Access(credential=token_of(rig, "eve"), action="s3:PutObject", bucket=bucket, path="late")
    with pytest.raises(Forbidden):
        rig.cluster.proxies["1"].files.write(Write(access.encode(), bucket, "late", size=100), body())
    assert refused(owner.head_object, Bucket=bucket, Key="late")[0] == 404


def test_what_nobody_in_particular_wrote_can_be_given_up(rig: S3Rig, owner: Any, bucket: str) -> None:
    """So that an anonymous write, too, is either done or never will be, when it is answered."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "*", "s3:PutObject", f"{bucket}/*")))
    access = S3Access(action="s3:PutObject", bucket=bucket, path="late").encode()
    item = BeginItem(credential=access, bucket=bucket, path="late", write_id="a-write-that-nobody-began", size=1)
    assert rig.directory.begin(item).ticket is not None
    assert rig.directory.give_up(item).version is None
    with pytest.raises(TicketRefused, match="given up"):
        rig.directory.begin(item)


# ---------------------------------------------------------------- public access


def test_status_and_blocks(owner: Any, nobody: Any, eve: Any, bucket: str) -> None:
    """A public policy is told as such, can be forbidden, and can be cut back to the owner's own people."""
    public = document(statement(Allow, "*", "s3:GetObject", f"{bucket}/*"))
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    owner.put_bucket_policy(Bucket=bucket, Policy=public)
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    assert refused(owner.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    block = {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert owner.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    assert refused(owner.put_bucket_policy, Bucket=bucket, Policy=public) == DENIED
    for other in (nobody, eve):
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    assert read(owner, bucket) == b"content"
    narrow = document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*"))
    owner.put_bucket_policy(Bucket=bucket, Policy=narrow)
    assert read(eve, bucket) == b"content"
    owner.delete_public_access_block(Bucket=bucket)
    owner.put_bucket_policy(Bucket=bucket, Policy=public)
    assert read(nobody, bucket) == b"content"


def test_the_expected_owner_is_checked(owner: Any, bucket: str) -> None:
    """With every kind of operation, and for a copy's source."""
    wrong = {"Bucket": bucket, "ExpectedBucketOwner": "eve"}
    right = {"Bucket": bucket, "ExpectedBucketOwner": "olga"}
    for more, call in (
        ({"Key": "k"}, owner.get_object),
        ({"Key": "k"}, owner.head_object),
        ({"Key": "new", "Body": b"x"}, owner.put_object),
        ({"Key": "new"}, owner.delete_object),
        ({}, owner.list_objects_v2),
        ({}, owner.get_bucket_acl),
        ({}, owner.get_bucket_versioning),
        ({"Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}, owner.copy_object),
    ):
        assert refused(call, **wrong, **more)[0] == 403
        call(**right, **more)
    source = {"Bucket": bucket, "Key": "k"}
    for expected, good in (("eve", False), ("olga", True)):
        asked = {"Bucket": bucket, "Key": "c", "CopySource": source, "ExpectedSourceBucketOwner": expected}
        own_key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"o" * 32}
        upload = {"UploadId": owner.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"], "PartNumber": 1}
        for call, more in ((owner.copy_object, {}), (owner.copy_object, own_key), (owner.upload_part_copy, upload)):
            if good:
                call(**asked, **more)
            else:
                assert refused(call, **asked, **more) == DENIED


def test_a_copy_brings_no_tags_that_may_not_be_read(owner: Any, eve: Any, bucket: str) -> None:
    """Who is denied an object's tags does not read them off a copy; a copy that replaces them takes none."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    owner.put_object(Bucket=bucket, Key="k", Body=b"content", Tagging="secret=1")
    copy = {"Bucket": mine, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}
    reads = statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads))
    eve.copy_object(**copy)
    assert eve.get_object_tagging(Bucket=mine, Key="copy")["TagSet"] == [{"Key": "secret", "Value": "1"}]
    never = statement(Deny, "eve", "s3:GetObjectTagging", f"{bucket}/*")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(reads, never))
    assert refused(eve.copy_object, **copy) == DENIED
    eve.copy_object(**copy, TaggingDirective="REPLACE", Tagging="own=2")
    assert eve.get_object_tagging(Bucket=mine, Key="copy")["TagSet"] == [{"Key": "own", "Value": "2"}]
    owner.put_object(Bucket=bucket, Key="k", Body=b"content")
    eve.copy_object(**copy)


def test_the_status_is_json_on_disk_and_back(owner: Any, eve: Any, bucket: str) -> None:
    """A policy survives as text with every character of it."""
    text = json.dumps(
        {"Id": "zoë", "Statement": statement(Deny, "eve", "s3:GetObject", f"{bucket}/é\u2028*")}, ensure_ascii=False
    )
    owner.put_bucket_policy(Bucket=bucket, Policy=text)
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text


def test_the_journal_hides_what_may_not_be_listed(rig: S3Rig, owner: Any, bucket: str) -> None:
    """Names of a bucket whose listing is denied are in nobody's journal either; others go on."""
    token = {"Authorization": f"Bearer {token_of(rig, 'olga')}"}

    def seen() -> set[str]:
        status, _, body = rig.ask("GET", "https://127.0.0.1:5000/api/v1/changes?cursor=0&limit=1000", token)
        assert status == 200, body
        return {change["bucket"] for change in json.loads(body)["changes"]}

    assert bucket in seen()
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Deny, "olga", "s3:ListBucket", bucket)))
    found = seen()
    assert bucket not in found
    assert found


def test_deleting_many_decides_key_by_key(owner: Any, eve: Any, bucket: str) -> None:
    """What is denied is a line of its own in the answer; the others are gone."""
    for key in ("a/1", "b/1"):
        owner.put_object(Bucket=bucket, Key=key, Body=b"x")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:DeleteObject", f"{bucket}/a/*")))
    answer = eve.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/1"}, {"Key": "b/1"}]})
    assert [one["Key"] for one in answer["Deleted"]] == ["a/1"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("b/1", "AccessDenied")]
    assert [one["Key"] for one in owner.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1", "k"]


def test_a_copied_part_reads_and_writes(owner: Any, eve: Any, bucket: str) -> None:
    """A part that is a copy asks the source's bucket for reading, the upload's for writing."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    upload = {"Bucket": mine, "Key": "m", "UploadId": eve.create_multipart_upload(Bucket=mine, Key="m")["UploadId"]}
    asked = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "k"}}
    assert refused(eve.upload_part_copy, **asked) == DENIED
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:GetObject", f"{bucket}/*")))
    part = eve.upload_part_copy(**asked)["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(eve, mine, "m") == b"content"


def test_a_part_is_copied_to_where_one_may_only_write(owner: Any, eve: Any, bucket: str) -> None:
    """Looking at the upload is part of writing to it, also when the bytes come from elsewhere."""
    mine = f"{bucket[:50]}-eve"
    eve.create_bucket(Bucket=mine)
    eve.put_object(Bucket=mine, Key="source", Body=b"hers")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    upload = {"Bucket": bucket, "Key": "m", "UploadId": eve.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]}
    part = eve.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": mine, "Key": "source"})["CopyPartResult"]
    eve.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(owner, bucket, "m") == b"hers"


def test_who_may_only_write_copies_nothing_onto_itself(owner: Any, eve: Any, bucket: str) -> None:
    """A copy reads its source, also when that is the key it writes: else its copy would be the writer's to read."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:PutObject", f"{bucket}/*")))
    assert refused(eve.get_object, Bucket=bucket, Key="k") == DENIED
    itself: dict[str, Any] = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "k"}}
    sealed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    assert refused(eve.copy_object, **itself, MetadataDirective="REPLACE") == DENIED
    assert refused(eve.copy_object, **itself, **sealed) == DENIED
    upload = eve.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    assert refused(eve.upload_part_copy, **itself, UploadId=upload, PartNumber=1) == DENIED
    itself["CopySource"]["VersionId"] = "null"
    assert refused(eve.upload_part_copy, **itself, UploadId=upload, PartNumber=1) == DENIED
    assert read(owner, bucket) == b"content"
