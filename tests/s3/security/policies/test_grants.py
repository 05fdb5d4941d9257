"""What a policy allows other accounts and nobody, and nothing beyond it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockstep_store.wire.errors import TicketRefused
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.writes import BeginItem
from tests.s3.calls import DENIED, read, refused
from tests.s3.people import Allow, Deny, document, statement, token_of
from tests.s3.rig import S3Rig


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


def test_what_nobody_in_particular_wrote_can_be_given_up(rig: S3Rig, owner: Any, bucket: str) -> None:
    """So that an anonymous write, too, is either done or never will be, when it is answered."""
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "*", "s3:PutObject", f"{bucket}/*")))
    access = S3Access(action="s3:PutObject", bucket=bucket, path="late").encode()
    item = BeginItem(credential=access, bucket=bucket, path="late", write_id="a-write-that-nobody-began", size=1)
    assert rig.directory.begin(item).ticket is not None
    assert rig.directory.give_up(item).version is None
    with pytest.raises(TicketRefused, match="given up"):
        rig.directory.begin(item)


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


def test_the_journal_hides_what_may_not_be_listed(rig: S3Rig, owner: Any, bucket: str) -> None:
    """Names of a bucket whose listing is denied are in nobody's journal either; others go on."""
    token = {"Authorization": f"Bearer {token_of(rig, 'olga')}"}

    def seen() -> set[str]:
        status, _, body = rig.ask("GET", "https://127.0.0.1:5000/api/v1/changes?cursor=0&limit=1000", token)
        assert status == 200, body
        return {change["bucket"] for change in json.loads(body)["changes"]}

    other = f"{bucket}-2"
    owner.create_bucket(Bucket=other)
    owner.put_object(Bucket=other, Key="k", Body=b"content")
    assert {bucket, other} <= seen()
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Deny, "olga", "s3:ListBucket", bucket)))
    found = seen()
    assert bucket not in found
    assert other in found


def test_deleting_many_decides_key_by_key(owner: Any, eve: Any, bucket: str) -> None:
    """What is denied is a line of its own in the answer; the others are gone."""
    for key in ("a/1", "b/1"):
        owner.put_object(Bucket=bucket, Key=key, Body=b"x")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement(Allow, "eve", "s3:DeleteObject", f"{bucket}/a/*")))
    answer = eve.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/1"}, {"Key": "b/1"}]})
    assert [one["Key"] for one in answer["Deleted"]] == ["a/1"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("b/1", "AccessDenied")]
    assert [one["Key"] for one in owner.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1", "k"]
