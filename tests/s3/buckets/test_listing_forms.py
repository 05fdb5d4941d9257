"""S3's listings, whatever form the directory's reply has: columns, or every version as a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from client_proxy.core.directory_client import DirectoryClient
from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.files import LIST, VERSIONS, ListPage, VersionsPage
from tests.s3.people import token_of
from tests.s3.rig import S3Rig

KEYS = ("a b", "a&<b>", "a/1", "a/2", "b/ä", "b/\U0001f600", 'c"q"', "c\\", "d", "e/f/g", "z")


class Replies:
    """Sees the directory's replies to listings, and may ask as a proxy before columns did."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_old = False
        self.with_columns: list[bool] = []
        call = DirectoryClient.call

        def ask(client: DirectoryClient, declared: Call[Any, Any], request: Any) -> Any:
            if self.is_old and declared in (LIST, VERSIONS):
                request = msgspec.structs.replace(request, columns=False)
            reply = call(client, declared, request)
            if isinstance(reply, (ListPage, VersionsPage)):
                self.with_columns.append(reply.columns is not None)
            return reply

        patch.setattr(DirectoryClient, "call", ask)


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> Replies:
    return Replies(monkeypatch)


OF_VERSIONS = "list_object_versions"
NEXT = {
    "Marker": "NextMarker",
    "ContinuationToken": "NextContinuationToken",
    "KeyMarker": "NextKeyMarker",
    "VersionIdMarker": "NextVersionIdMarker",
}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    (operation, {**prefix, **delimiter, **size})
    for operation in ("list_objects", "list_objects_v2", "list_object_versions")
    for prefix in ({}, {"Prefix": "a"}, {"Prefix": "b/"}, {"Prefix": "nothing"})
    for delimiter in ({}, {"Delimiter": "/"})
    for size in ({}, {"MaxKeys": 3}, {"MaxKeys": 0})
] + [
    ("list_objects_v2", {"FetchOwner": True}),
    ("list_objects_v2", {"StartAfter": "b/"}),
    ("list_objects_v2", {"StartAfter": "b/", "Delimiter": "/"}),
    ("list_objects", {"Marker": "a/1", "Delimiter": "/"}),
    ("list_object_versions", {"KeyMarker": "a b"}),
    ("list_object_versions", {"KeyMarker": "a b", "VersionIdMarker": "null", "MaxKeys": 2}),
]


def pages(s3: Any, operation: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """All pages, without what differs between two equal ones."""
    found: list[dict[str, Any]] = []
    following: dict[str, str] = {}
    while not found or following:
        page = getattr(s3, operation)(**asked | following)
        del page["ResponseMetadata"]
        found.append(page)
        following = {name: page[sent] for name, sent in NEXT.items() if page.get(sent)}
        if page["IsTruncated"] and not following:  # as S3 has it: without a delimiter the last key is the marker
            following = {"Marker": page["Contents"][-1]["Key"]}
    return found


@pytest.fixture(scope="module")
def full(rig: S3Rig) -> str:
    """A bucket with all kinds of versions."""
    s3, name = rig.client(), "listing-forms"
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    s3.put_object(Bucket=name, Key="sum", Body=b"x", ChecksumAlgorithm="SHA256", StorageClass="GLACIER_IR")
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
        for key in KEYS[::2]:
            s3.put_object(Bucket=name, Key=key, Body=status.encode(), Metadata={"own": '"s3:etag":'})
        s3.delete_object(Bucket=name, Key="a/1")
    assert rig.cluster.ask("PUT", f"/files/{name}/by-the-api", b"content").status == 201
    return name


@pytest.mark.parametrize(("operation", "asked"), QUESTIONS)
def test_both_forms_give_the_same_pages(
    s3: Any, full: str, replies: Replies, operation: str, asked: dict[str, Any]
) -> None:
    """A proxy whose directory is older, and the directory of an older proxy, change nothing."""
    new = pages(s3, operation, {"Bucket": full, **asked})
    in_columns, replies.with_columns = replies.with_columns, []
    replies.is_old = True
    assert pages(s3, operation, {"Bucket": full, **asked}) == new
    assert not any(replies.with_columns)
    # Versions below folders, and an empty page that only asks whether there is such a bucket, are rare.
    assert all(in_columns) or asked.get("MaxKeys") == 0 or (operation == OF_VERSIONS and "Delimiter" in asked)
    assert len(new) > 1 or asked.get("MaxKeys") != 3 or "Prefix" in asked


def test_owners_by_ownership_controls(rig: S3Rig, s3: Any, replies: Replies, make_bucket: Callable[..., str]) -> None:
    """With columns where one rule holds for all files, without them where each has its own owner."""
    bob = rig.client(rig.key(token_of(rig, "bob")))
    bucket = make_bucket()
    s3.put_bucket_acl(Bucket=bucket, GrantWrite="id=bob", GrantFullControl="id=admin")
    bob.put_object(Bucket=bucket, Key="bobs", Body=b"")
    s3.put_object(Bucket=bucket, Key="own", Body=b"")

    def owners(operation: str, **asked: Any) -> list[str]:
        page = getattr(s3, operation)(Bucket=bucket, **asked)
        return [line["Owner"]["ID"] for line in page.get("Contents") or page["Versions"]]

    for rule, expected, in_columns in (
        ("ObjectWriter", ["bob", "admin"], True),
        ("BucketOwnerPreferred", ["bob", "admin"], False),
        ("BucketOwnerEnforced", ["admin", "admin"], True),
    ):
        if rule == "BucketOwnerEnforced":
            s3.put_bucket_acl(Bucket=bucket, ACL="private")
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": rule}]})
        replies.with_columns = []
        for operation, asked in (
            ("list_objects", {}),
            ("list_objects_v2", {"FetchOwner": True}),
            ("list_object_versions", {}),
        ):
            assert owners(operation, **asked) == expected
        assert replies.with_columns == [in_columns] * 3
        s3.list_objects_v2(Bucket=bucket)
        assert replies.with_columns[-1]  # nobody asks for owners
