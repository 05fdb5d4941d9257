"""Listings and the journal describe content only for people who may read it now."""

from __future__ import annotations

import pytest

from lockstep_store.wire.messages.files import LIST, VERSIONS, ListRequest, VersionsRequest
from tests.s3.rig import S3Rig
from tests.security.people import Person

SECRET = b"a secret of olga's"
OPEN = b"open to those who may list"


@pytest.fixture
def bucket(olga: Person) -> str:
    """A bucket with versions, in which eve may list everything and read what is below open/."""
    name = olga.bucket()
    olga.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    olga.put(name, "open/a", OPEN)
    olga.put(name, "secret", SECRET, X_Lockstep_Metadata='{"topic": "merger"}')
    return name


def let_list(olga: Person, eve: Person, bucket: str) -> None:
    olga.let_each(bucket, eve, {"": ["s3:ListBucket", "s3:ListBucketVersions"], "/open/*": ["s3:GetObject*"]})


@pytest.mark.parametrize("listing", ["/files/{}", "/versions/{}/secret"])
def test_a_listing_hides_what_may_not_be_read(olga: Person, eve: Person, bucket: str, listing: str) -> None:
    """People who may only list see names, times and authors; the owner, and readers, see digests and sizes."""
    let_list(olga, eve, bucket)
    target = listing.format(bucket)
    for person, whole in ((olga, True), (eve, False)):
        answer = person.ask("GET", target)
        assert answer.status == 200, answer.body
        found = {entry["path"]: entry for entry in answer.json.get("files") or answer.json["versions"]}
        if "open/a" in found:
            assert found["open/a"]["size"] == len(OPEN)
            assert found["open/a"]["digest"] == olga.get(bucket, "open/a").headers["X-Lockstep-Digest"]
        assert (found["secret"]["size"] == len(SECRET)) is whole
        assert ("merger" in str(answer.body)) is whole
        facts = olga.get(bucket, "secret").headers
        for name in ("X-Lockstep-Digest", "X-Lockstep-Version"):
            assert (facts[name] in answer.body.decode()) is whole
        assert found["secret"].get("readable", True) is whole


def test_columns_describe_everything_or_are_not_sent(rig: S3Rig, olga: Person, eve: Person, bucket: str) -> None:
    """Whoever asks for columns, they never describe a version to somebody who may not read it."""

    def listed(person: Person) -> list[tuple[bool, dict[str, int]]]:
        """Of files and of versions: whether there are columns, and what sizes are told."""
        credential = person.headers["Authorization"].removeprefix("Bearer ")
        files = rig.directory.call(LIST, ListRequest(credential, bucket, columns=True, owners=True))
        versions = rig.directory.call(VERSIONS, VersionsRequest(credential, bucket, columns=True))
        return [
            (False, {file.path: file.size for file in messages})
            if columns is None
            else (True, dict(zip(columns.paths, columns.sizes, strict=True)))
            for columns, messages in ((files.columns, files.files), (versions.columns, versions.versions))
        ]

    whole = {"open/a": len(OPEN), "secret": len(SECRET)}
    assert listed(olga) == [(True, whole)] * 2
    let_list(olga, eve, bucket)
    assert listed(olga) == [(False, whole)] * 2  # a policy may deny even the owner
    assert listed(eve) == [(False, whole | {"secret": 0})] * 2


def test_the_journal_hides_what_may_not_be_read(olga: Person, eve: Person, bucket: str) -> None:
    """A change of an unreadable file says that it happened, where, when and by whom."""
    let_list(olga, eve, bucket)
    olga.ask("DELETE", f"/files/{bucket}/secret")
    for person, whole in ((olga, True), (eve, False)):
        answer = person.ask("GET", f"/changes?bucket={bucket}&cursor=0")
        assert answer.status == 200, answer.body
        found = {(change["path"], change["kind"]): change for change in answer.json["changes"]}
        assert found["open/a", "write"]["size"] == len(OPEN)
        written = found["secret", "write"]
        assert written["author"] == "olga"
        assert ("digest" in written, "size" in written, bool(written["version"])) == (whole,) * 3
        assert bool(found["secret", "delete"]["version"]) is whole


def test_s3_lists_its_own_fields(olga: Person, eve: Person, bucket: str) -> None:
    """S3's listing has ETag and Size for everybody who may list, as the protocol says."""
    let_list(olga, eve, bucket)
    found = {entry["Key"]: entry for entry in eve.s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert found["secret"]["Size"] == len(SECRET)
    assert found["secret"]["ETag"]
