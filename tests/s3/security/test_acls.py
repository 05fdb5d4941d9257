"""Access control lists through boto3: canned, by header, by body, and what they let others do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.calls import read, refused
from tests.s3.people import client_of, document, statement, token_of
from tests.s3.rig import S3Rig

DENIED = (403, "AccessDenied")
ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
SIGNED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture
def bucket(owned_bucket: str) -> str:
    """A bucket of the owner's, with the object `k`."""
    return owned_bucket


def grants(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """(grantee, permission), sorted."""
    return sorted(
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"].rsplit("/", 1)[1], grant["Permission"])
        for grant in answer["Grants"]
    )


OWN = ("olga", "FULL_CONTROL")
READ, WRITE = ("AllUsers", "READ"), ("AllUsers", "WRITE")


def test_what_is_not_said_is_its_owners(owner: Any, bucket: str) -> None:
    """Bucket and object begin with one grant, all to the owner."""
    for answer in (owner.get_bucket_acl(Bucket=bucket), owner.get_object_acl(Bucket=bucket, Key="k")):
        assert answer["Owner"]["ID"] == "olga"
        assert grants(answer) == [OWN]
        assert answer["Grants"][0]["Grantee"]["Type"] == "CanonicalUser"


@pytest.mark.parametrize(
    ("canned", "expected"),
    [
        ("private", [OWN]),
        ("public-read", [READ, OWN]),
        ("public-read-write", [READ, WRITE, OWN]),
        ("authenticated-read", [("AuthenticatedUsers", "READ"), OWN]),
    ],
)
def test_canned_lists(owner: Any, bucket: str, canned: str, expected: list[Any]) -> None:
    """Put on a bucket, on an object, with a write, with a copy and with a new bucket, they mean the same."""
    owner.put_bucket_acl(Bucket=bucket, ACL=canned)
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == expected
    owner.put_object_acl(Bucket=bucket, Key="k", ACL=canned)
    assert grants(owner.get_object_acl(Bucket=bucket, Key="k")) == expected
    owner.put_object(Bucket=bucket, Key="new", Body=b"x", ACL=canned)
    assert grants(owner.get_object_acl(Bucket=bucket, Key="new")) == expected
    owner.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/new", ACL=canned)
    assert grants(owner.get_object_acl(Bucket=bucket, Key="copy")) == expected
    upload = owner.create_multipart_upload(Bucket=bucket, Key="m", ACL=canned)["UploadId"]
    part = owner.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    owner.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    assert grants(owner.get_object_acl(Bucket=bucket, Key="m")) == expected
    other = f"{bucket}-new"
    owner.create_bucket(Bucket=other, ACL=canned)
    assert grants(owner.get_bucket_acl(Bucket=other)) == expected


def test_a_copy_begins_with_a_list_of_its_own(owner: Any, bucket: str) -> None:
    """The source's list is never taken over."""
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    owner.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert grants(owner.get_object_acl(Bucket=bucket, Key="copy")) == [OWN]


def test_a_public_object_is_everybodys_to_read(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """To read, and nothing else."""
    for other in (eve, nobody):
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    for other in (eve, nobody):
        assert read(other, bucket) == b"content"
        assert other.head_object(Bucket=bucket, Key="k")["ContentLength"] == 7
        assert refused(other.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
        assert refused(other.delete_object, Bucket=bucket, Key="k") == DENIED
        assert refused(other.get_object_acl, Bucket=bucket, Key="k") == DENIED
        assert refused(other.list_objects_v2, Bucket=bucket) == DENIED
        assert refused(other.get_object, Bucket=bucket, Key="none") == DENIED
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="authenticated-read")
    assert read(eve, bucket) == b"content"
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED


def test_a_public_bucket_is_listed_and_its_objects_are_not_read(owner: Any, nobody: Any, bucket: str) -> None:
    """The bucket's list is about the bucket."""
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert [one["Key"] for one in nobody.list_objects(Bucket=bucket)["Contents"]] == ["k"]
    assert nobody.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(nobody.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert refused(nobody.put_object, Bucket=bucket, Key="new", Body=b"x") == DENIED


def test_a_writable_bucket_takes_anybodys_objects(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Who wrote an object owns it; the bucket's owner reads it too."""
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    eve.put_object(Bucket=bucket, Key="eves", Body=b"by eve")
    assert read(eve, bucket, "eves") == b"by eve"
    assert eve.get_object_acl(Bucket=bucket, Key="eves")["Owner"]["ID"] == "eve"
    assert read(owner, bucket, "eves") == b"by eve"
    assert refused(nobody.get_object, Bucket=bucket, Key="eves") == DENIED
    nobody.put_object(Bucket=bucket, Key="open", Body=b"by nobody", ACL="public-read")
    assert read(eve, bucket, "open") == b"by nobody"
    nobody.delete_object(Bucket=bucket, Key="eves")
    eve.put_object(Bucket=bucket, Key="given", Body=b"x", ACL="bucket-owner-full-control")
    assert grants(owner.get_object_acl(Bucket=bucket, Key="given")) == [("eve", "FULL_CONTROL"), OWN]
    eve.put_object(Bucket=bucket, Key="shown", Body=b"x", ACL="bucket-owner-read")
    assert grants(owner.get_object_acl(Bucket=bucket, Key="shown")) == [("eve", "FULL_CONTROL"), ("olga", "READ")]


def test_who_may_write_a_bucket_destroys_no_version_of_it(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """Others' deletions hide an object; taking a version away for good is the owner's."""
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    version = owner.put_object(Bucket=bucket, Key="k", Body=b"kept")["VersionId"]
    for other in (eve, nobody):
        assert refused(other.delete_object, Bucket=bucket, Key="k", VersionId=version) == DENIED
    marker = nobody.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert refused(nobody.delete_object, Bucket=bucket, Key="k", VersionId=marker) == DENIED
    owner.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    assert read(owner, bucket) == b"kept"


@pytest.mark.parametrize(
    ("permission", "can"),
    [
        ("READ", {"list"}),
        ("WRITE", {"put"}),
        ("READ_ACP", {"get-acl"}),
        ("WRITE_ACP", {"put-acl"}),
        ("FULL_CONTROL", {"list", "put", "get-acl", "put-acl"}),
    ],
)
def test_each_permission_of_a_bucket(owner: Any, eve: Any, bucket: str, permission: str, can: set[str]) -> None:
    """One account is granted one thing, and gets just that."""
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "eve"}, "Permission": permission}
    wanted = owner.get_bucket_acl(Bucket=bucket)
    wanted = {"Owner": wanted["Owner"], "Grants": [*wanted["Grants"], grant]}
    owner.put_bucket_acl(Bucket=bucket, AccessControlPolicy=wanted)
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [("eve", permission), OWN]
    calls: dict[str, Any] = {
        "list": lambda: eve.list_objects_v2(Bucket=bucket),
        "put": lambda: eve.put_object(Bucket=bucket, Key="by-eve", Body=b"x"),
        "get-acl": lambda: eve.get_bucket_acl(Bucket=bucket),
        "put-acl": lambda: eve.put_bucket_acl(Bucket=bucket, AccessControlPolicy=wanted),
    }
    for name, call in calls.items():
        if name in can:
            call()
        else:
            assert refused(call) == DENIED


@pytest.mark.parametrize(
    ("permission", "can"),
    [("READ", {"get"}), ("READ_ACP", {"get-acl"}), ("WRITE_ACP", {"put-acl"}), ("WRITE", set())],
)
def test_each_permission_of_an_object(owner: Any, eve: Any, bucket: str, permission: str, can: set[str]) -> None:
    """The same for objects, granted by header."""
    member = {"READ": "GrantRead", "READ_ACP": "GrantReadACP", "WRITE_ACP": "GrantWriteACP", "WRITE": "GrantWrite"}
    owner.put_object_acl(Bucket=bucket, Key="k", GrantFullControl='id="olga"', **{member[permission]: 'id="eve"'})
    calls: dict[str, Any] = {
        "get": lambda: eve.get_object(Bucket=bucket, Key="k"),
        "get-acl": lambda: eve.get_object_acl(Bucket=bucket, Key="k"),
        "put-acl": lambda: eve.put_object_acl(Bucket=bucket, Key="k", ACL="private"),
        "put": lambda: eve.put_object(Bucket=bucket, Key="k", Body=b"x"),
    }
    for name, call in calls.items():
        if name in can:
            call()
        else:
            assert refused(call) == DENIED


def test_grants_by_header_with_a_write(owner: Any, eve: Any, bucket: str) -> None:
    """Several grantees in one header, groups among them."""
    owner.put_object(
        Bucket=bucket, Key="new", Body=b"x", GrantRead=f'id="eve", uri="{SIGNED}"', GrantFullControl="id=olga"
    )
    found = grants(owner.get_object_acl(Bucket=bucket, Key="new"))
    assert found == [("AuthenticatedUsers", "READ"), ("eve", "READ"), OWN]
    assert read(eve, bucket, "new") == b"x"


def test_lists_that_cannot_be_are_refused(owner: Any, bucket: str) -> None:
    """Unknown accounts, e-mail addresses, another owner, two ways at once, nothing at all."""

    def put(**asked: Any) -> tuple[int, str]:
        return refused(owner.put_bucket_acl, Bucket=bucket, **asked)

    by_id = {"Grantee": {"Type": "CanonicalUser", "ID": "no-such-account"}, "Permission": "READ"}
    by_mail = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": "a@b.c"}, "Permission": "READ"}
    assert put(AccessControlPolicy={"Owner": {"ID": "olga"}, "Grants": [by_id]}) == (400, "InvalidArgument")
    assert put(AccessControlPolicy={"Owner": {"ID": "olga"}, "Grants": [by_mail]}) == (
        400,
        "UnresolvableGrantByEmailAddress",
    )
    assert put(AccessControlPolicy={"Owner": {"ID": "eve"}, "Grants": []}) == DENIED
    assert put(ACL="public-read", GrantRead='id="eve"') == (400, "InvalidRequest")
    assert put(GrantRead="nonsense") == (400, "InvalidArgument")
    assert put(ACL="for-my-friends") == (400, "InvalidArgument")
    assert put() == (400, "MissingSecurityHeader")
    malformed = (400, "MalformedACLError")
    assert put(AccessControlPolicy={"Owner": {"DisplayName": "olga"}, "Grants": []}) == malformed
    assert put(AccessControlPolicy={"Owner": {"ID": "olga"}}) == malformed
    assert put(AccessControlPolicy={}) == malformed
    by_olga = {"Grantee": {"Type": "CanonicalUser", "ID": "olga"}, "Permission": "EVERYTHING"}
    assert put(AccessControlPolicy={"Owner": {"ID": "olga"}, "Grants": [by_olga]}) == malformed
    assert refused(owner.create_bucket, Bucket=f"{bucket}-x", GrantRead='id="no-such-account"')[0] == 400
    assert refused(owner.head_bucket, Bucket=f"{bucket}-x")[0] == 404
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [OWN]


def test_an_address_is_an_account_of_that_name(rig: S3Rig, owner: Any, owned_bucket: str) -> None:
    """Where people log in by their e-mail address, it grants like any other name."""
    zoe = client_of(rig, "zoe@example.com")
    owner.put_object_acl(Bucket=owned_bucket, Key="k", GrantRead='emailAddress="zoe@example.com"')
    assert grants(owner.get_object_acl(Bucket=owned_bucket, Key="k")) == [("zoe@example.com", "READ")]
    assert read(zoe, owned_bucket) == b"content"


def test_an_empty_list_still_leaves_its_owner_in(owner: Any, bucket: str) -> None:
    """All grants can be revoked, and given back."""
    owner.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": {"ID": "olga"}, "Grants": []})
    assert owner.get_bucket_acl(Bucket=bucket).get("Grants", []) == []
    owner.put_bucket_acl(Bucket=bucket, ACL="private")
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [OWN]


def test_versions_have_lists_of_their_own(owner: Any, nobody: Any, bucket: str) -> None:
    """Opening one version opens no other; a delete marker has none."""
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = owner.put_object(Bucket=bucket, Key="v", Body=b"old", ACL="public-read")["VersionId"]
    new = owner.put_object(Bucket=bucket, Key="v", Body=b"new")["VersionId"]
    assert refused(nobody.get_object, Bucket=bucket, Key="v") == DENIED
    assert read(nobody, bucket, "v", VersionId=old) == b"old"
    owner.put_object_acl(Bucket=bucket, Key="v", VersionId=new, ACL="public-read")
    owner.put_object_acl(Bucket=bucket, Key="v", VersionId=old, ACL="private")
    assert read(nobody, bucket, "v") == b"new"
    assert refused(nobody.get_object, Bucket=bucket, Key="v", VersionId=old) == DENIED
    marker = owner.delete_object(Bucket=bucket, Key="v")["VersionId"]
    assert refused(owner.get_object_acl, Bucket=bucket, Key="v") == (404, "NoSuchKey")
    assert refused(owner.put_object_acl, Bucket=bucket, Key="v", VersionId=marker, ACL="private")[0] == 405


# ---------------------------------------------------------------- blocks and ownership


def block(owner: Any, bucket: str, *names: str) -> None:
    all_names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    configuration = {name: name in names for name in all_names}
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=configuration)


@pytest.mark.usefixtures("eve")
def test_public_lists_can_be_blocked(owner: Any, bucket: str) -> None:
    """By any way to put one; lists that grant accounts something are none of that."""
    block(owner, bucket, "BlockPublicAcls")
    for canned in ("public-read", "public-read-write", "authenticated-read"):
        assert refused(owner.put_bucket_acl, Bucket=bucket, ACL=canned) == DENIED
        assert refused(owner.put_object, Bucket=bucket, Key="new", Body=b"x", ACL=canned) == DENIED
        assert refused(owner.put_object_acl, Bucket=bucket, Key="k", ACL=canned) == DENIED
        assert refused(owner.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ACL=canned) == DENIED
        assert refused(owner.create_multipart_upload, Bucket=bucket, Key="m", ACL=canned) == DENIED
    owner.put_object(Bucket=bucket, Key="new", Body=b"x", GrantRead='id="eve"')


def test_public_lists_can_be_ignored(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """They stay as they are, and let nobody in while the block stands."""
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read")
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    block(owner, bucket, "IgnorePublicAcls")
    for other in (eve, nobody):
        assert refused(other.list_objects, Bucket=bucket) == DENIED
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [READ, OWN]
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    owner.delete_public_access_block(Bucket=bucket)
    assert read(nobody, bucket) == b"content"


def test_lists_can_be_turned_off(owner: Any, eve: Any, nobody: Any, bucket: str) -> None:
    """With BucketOwnerEnforced lists are refused, shown as private, and looked at by nobody."""
    assert refused(owner.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert refused(owner.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=enforced) == (
        400,
        "InvalidBucketAclWithObjectOwnership",
    )
    owner.put_bucket_acl(Bucket=bucket, ACL="private")
    owner.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    assert owner.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == enforced
    not_supported = (400, "AccessControlListNotSupported")
    assert refused(owner.put_bucket_acl, Bucket=bucket, ACL="public-read") == not_supported
    assert refused(owner.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == not_supported
    assert refused(owner.put_object, Bucket=bucket, Key="n", Body=b"x", ACL="public-read") == not_supported
    assert refused(owner.put_object, Bucket=bucket, Key="n", Body=b"x", ACL="private") == not_supported
    owner.put_object(Bucket=bucket, Key="n", Body=b"x", ACL="bucket-owner-full-control")
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED
    assert grants(owner.get_object_acl(Bucket=bucket, Key="k")) == [OWN]
    owner.delete_bucket_ownership_controls(Bucket=bucket)
    assert read(nobody, bucket) == b"content"


def test_a_bucket_can_begin_without_lists(owner: Any, bucket: str) -> None:
    """And then with no list that lets others in."""
    name = f"{bucket}-enforced"
    begin = {"Bucket": name, "ObjectOwnership": "BucketOwnerEnforced"}
    assert refused(owner.create_bucket, **begin, ACL="public-read") == (400, "InvalidBucketAclWithObjectOwnership")
    assert refused(owner.create_bucket, **begin, GrantRead="id=eve") == (400, "InvalidBucketAclWithObjectOwnership")
    assert refused(owner.head_bucket, Bucket=name)[0] == 404
    owner.create_bucket(**begin, ACL="private")
    assert grants(owner.get_bucket_acl(Bucket=name)) == [OWN]


def test_the_preferred_owner_is_the_buckets(owner: Any, eve: Any, bucket: str) -> None:
    """Who gives the bucket's owner full control gives them the object."""
    name = f"{bucket}-preferred"
    owner.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred", ACL="public-read-write")
    eve.put_object(Bucket=name, Key="given", Body=b"x", ACL="bucket-owner-full-control")
    eve.put_object(Bucket=name, Key="kept", Body=b"x")
    assert owner.get_object_acl(Bucket=name, Key="given")["Owner"]["ID"] == "olga"
    assert owner.get_object_acl(Bucket=name, Key="kept")["Owner"]["ID"] == "eve"
    assert listed_owners(owner, name) == {"given": "olga", "kept": "eve"}
    owner.put_bucket_acl(Bucket=name, ACL="private")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    owner.put_bucket_ownership_controls(Bucket=name, OwnershipControls=enforced)
    assert listed_owners(owner, name) == {"given": "olga", "kept": "olga"}
    owner.put_bucket_ownership_controls(
        Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    assert listed_owners(owner, name) == {"given": "olga", "kept": "eve"}


def listed_owners(client: Any, bucket: str) -> dict[str, str]:
    """Whose objects every kind of listing says they are."""
    found = [
        client.list_objects(Bucket=bucket)["Contents"],
        client.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"],
        client.list_object_versions(Bucket=bucket)["Versions"],
    ]
    one, *others = [{line["Key"]: line["Owner"]["ID"] for line in lines} for lines in found]
    assert others == [one, one]
    return one


def test_a_deny_outweighs_a_list(owner: Any, nobody: Any, bucket: str) -> None:
    """What is open by its list stays shut by the policy."""
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(statement("Deny", "*", "s3:GetObject", f"{bucket}/*")))
    assert refused(nobody.get_object, Bucket=bucket, Key="k") == DENIED


def test_other_doors_read_what_a_list_opens(rig: S3Rig, owner: Any, bucket: str) -> None:
    """An account that is granted an object reads it through the REST API; nobody does not."""
    address = f"https://127.0.0.1:5000/api/v1/files/{bucket}/k"
    eve = {"Authorization": f"Bearer {token_of(rig, 'eve')}"}
    assert rig.ask("GET", address, eve)[0] == 403
    owner.put_object_acl(Bucket=bucket, Key="k", GrantRead='id="eve"')
    assert rig.ask("GET", address, eve)[0] == 200
    owner.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert rig.ask("GET", address, {})[0] == 401
