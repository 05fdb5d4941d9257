"""What new buckets are like, who is shown which, and the settings that change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages.buckets import CHANGE_BUCKET, ChangeBucketRequest
from lockstep_store.wire.names import FILES_BUCKET
from tests.s3.calls import refused
from tests.s3.people import anonymous_client, client_of, document, statement, token_of
from tests.s3.rig import S3Rig

BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@pytest.fixture(scope="module")
def private_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    """A cluster with both settings on."""
    folder, certs = tmp_path_factory.mktemp("s3-private"), tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(folder, certs, list_shared=True, private_buckets=True)
    yield rig
    rig.close()


def names_of(client: Any) -> list[str]:
    """The buckets that ListBuckets names."""
    return [one["Name"] for one in client.list_buckets()["Buckets"]]


def share(rig: S3Rig, bucket: str, token: str, *, shared: bool) -> None:
    rig.directory.call(CHANGE_BUCKET, ChangeBucketRequest(token, bucket, shared=shared))


def test_a_new_bucket_has_acls_and_no_block(s3: Any, bucket: str) -> None:
    """By default, as at AWS before April 2023."""
    assert refused(s3.get_bucket_ownership_controls, Bucket=bucket)[1] == "OwnershipControlsNotFoundError"
    assert refused(s3.get_public_access_block, Bucket=bucket)[1] == "NoSuchPublicAccessBlockConfiguration"
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")


def test_new_buckets_can_be_private(private_rig: S3Rig) -> None:
    """No list and no public policy, through any door, unless the request or a later one says so."""
    s3 = private_rig.client()
    s3.create_bucket(Bucket="closed")
    made = s3.get_bucket_ownership_controls(Bucket="closed")["OwnershipControls"]["Rules"]
    assert made == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_public_access_block(Bucket="closed")["PublicAccessBlockConfiguration"] == BLOCKED
    assert refused(s3.put_bucket_acl, Bucket="closed", ACL="public-read")[1] == "AccessControlListNotSupported"
    public = document(statement("Allow", "*", "s3:GetObject", "closed/*"))
    assert refused(s3.put_bucket_policy, Bucket="closed", Policy=public) == (403, "AccessDenied")
    assert refused(s3.create_bucket, Bucket="open-list", ACL="public-read") == (
        400,
        "InvalidBucketAclWithObjectOwnership",
    )
    s3.create_bucket(Bucket="writers", ObjectOwnership="ObjectWriter")
    assert s3.get_public_access_block(Bucket="writers")["PublicAccessBlockConfiguration"] == BLOCKED
    s3.delete_public_access_block(Bucket="writers")
    s3.put_bucket_acl(Bucket="writers", ACL="public-read")
    assert "Contents" not in anonymous_client(private_rig).list_objects_v2(Bucket="writers")


def test_list_buckets_names_ones_own(rig: S3Rig, s3: Any, eve: Any, bucket: str) -> None:
    """Not those that others share, nor all of them to an administrator."""
    eve.create_bucket(Bucket="eves")
    share(rig, "eves", token_of(rig, "eve"), shared=True)
    assert names_of(eve) == ["eves"]
    assert "eves" not in names_of(s3)
    assert bucket in names_of(s3)
    assert FILES_BUCKET in names_of(s3)


def test_list_buckets_can_name_shared_ones(private_rig: S3Rig) -> None:
    """By a setting of the proxy; what is not shared stays unnamed."""
    eve, adam = client_of(private_rig, "eve"), client_of(private_rig, "adam")
    eve.create_bucket(Bucket="eves-shared")
    eve.create_bucket(Bucket="eves-own")
    share(private_rig, "eves-shared", token_of(private_rig, "eve"), shared=True)
    assert names_of(adam) == ["eves-shared", FILES_BUCKET]


def test_an_administrator_may_stop_sharing_the_bucket_files(private_rig: S3Rig) -> None:
    """Nobody else may, and it can be shared again."""
    dora = client_of(private_rig, "dora")
    dora.put_object(Bucket=FILES_BUCKET, Key="k", Body=b"x")
    with pytest.raises(Forbidden):
        share(private_rig, FILES_BUCKET, token_of(private_rig, "dora"), shared=False)
    share(private_rig, FILES_BUCKET, private_rig.cluster.admin_key, shared=False)
    assert FILES_BUCKET not in names_of(dora)
    assert refused(dora.put_object, Bucket=FILES_BUCKET, Key="k", Body=b"y") == (403, "AccessDenied")
    share(private_rig, FILES_BUCKET, private_rig.cluster.admin_key, shared=True)
    dora.put_object(Bucket=FILES_BUCKET, Key="k", Body=b"y")
