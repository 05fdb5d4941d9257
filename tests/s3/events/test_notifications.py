"""Notifications of changes: which events, with which members, for which target."""

from __future__ import annotations

import json
from urllib.parse import unquote_plus

import pytest

from directory_server.features.lifecycle import job
from tests.s3.calls import refused
from tests.s3.events.room import DAY, Room, filtered, queue
from tests.s3.post_forms import ANY_KEY, FORM_TYPE, Signer, form
from tests.s3.rig import ENDPOINT


def test_a_record_says_what_s3s_says(room: Room) -> None:
    """Version 2.1 of the structure, in every member."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target, Id="rule one")
    made = room.s3.put_object(Bucket=bucket, Key="red flower/ä+b.jpg", Body=b"12345")
    (record,) = room.records(target)
    sequencer = record["s3"]["object"].pop("sequencer")
    assert len(sequencer) == 16
    assert int(sequencer, 16) > 0
    assert record.pop("eventTime").endswith("Z")
    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "admin"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {
            "x-amz-request-id": made["ResponseMetadata"]["RequestId"],
            "x-amz-id-2": "",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "rule one",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "admin"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": "red+flower/%C3%A4%2Bb.jpg",
                "size": 5,
                "eTag": made["ETag"].strip('"'),
            },
        },
    }
    assert unquote_plus("red+flower/%C3%A4%2Bb.jpg") == "red flower/ä+b.jpg"


def test_every_kind_of_making_has_its_name(room: Room) -> None:
    """Put, copy, multipart; an overwritten object is one event, and it says the new content."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"other")
    room.s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    upload = room.s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    part = room.s3.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"part")
    whole = room.s3.complete_multipart_upload(
        Bucket=bucket,
        Key="c",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    records = room.records(target)
    assert [one["eventName"] for one in records] == [
        "ObjectCreated:Put",
        "ObjectCreated:Put",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
    ]
    objects = [one["s3"]["object"] for one in records]
    assert [one["size"] for one in objects] == [3, 5, 5, 4]
    assert objects[3]["eTag"] == whole["ETag"].strip('"')
    assert sorted(one["sequencer"] for one in objects) == [one["sequencer"] for one in objects]
    assert all("versionId" not in one for one in objects)


def test_a_form_upload_is_a_post(room: Room) -> None:
    """Told with the request that the browser made."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target, "s3:ObjectCreated:Post")
    fields = Signer(room.rig.key(), bucket).fields([ANY_KEY])
    body = form([("key", "from-a-form"), *fields, ("file", b"12345")])
    headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(body))}
    status, answered, _ = room.rig.ask("POST", f"{ENDPOINT}/{bucket}", headers, body)
    assert status == 204
    (record,) = room.records(target)
    assert record["eventName"] == "ObjectCreated:Post"
    assert record["s3"]["object"]["key"] == "from-a-form"
    assert record["responseElements"]["x-amz-request-id"] == dict(answered)["x-amz-request-id"]


def test_removals_say_which_version_where_versions_are_kept(room: Room) -> None:
    """A delete marker, a version, the marker itself; and without versioning the object."""
    bucket, target = room.bucket(versioning=True), room.target()
    room.tell(bucket, target)
    made = room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")["VersionId"]
    marker = room.s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    room.s3.delete_object(Bucket=bucket, Key="a", VersionId=made)
    room.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "VersionId": marker}]})
    records = room.records(target)
    assert [(one["eventName"], one["s3"]["object"]["versionId"]) for one in records] == [
        ("ObjectCreated:Put", made),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", made),
        ("ObjectRemoved:Delete", marker),
    ]
    assert "size" not in records[1]["s3"]["object"]
    plain = room.bucket()
    room.tell(plain, target)
    room.s3.put_object(Bucket=plain, Key="b", Body=b"one")
    room.s3.delete_object(Bucket=plain, Key="b")
    room.s3.delete_object(Bucket=plain, Key="never-there")
    assert room.names(target) == ["ObjectCreated:Put", "ObjectRemoved:Delete"]
    room.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    room.s3.put_object(Bucket=bucket, Key="c", Body=b"one")
    assert room.records(target)[0]["s3"]["object"]["versionId"] == "null"


def test_tags_lists_and_retentions_are_told(room: Room) -> None:
    """Put and deleted; an access control list that changes nothing is no event."""
    bucket, target = room.bucket(ObjectLockEnabledForBucket=True), room.target()
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    room.tell(bucket, target)
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    room.s3.put_object_tagging(Bucket=bucket, Key="a", Tagging=tags)
    room.s3.delete_object_tagging(Bucket=bucket, Key="a")
    room.s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    for _ in range(2):
        room.s3.put_object_acl(Bucket=bucket, Key="a", ACL="authenticated-read")
    until = 4_000_000_000
    room.s3.put_object_retention(
        Bucket=bucket,
        Key="a",
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )
    records = room.records(target)
    assert [one["eventName"] for one in records] == [
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
        "ObjectAcl:Put",
        "ObjectRetention:Put",
    ]
    assert all(one["s3"]["object"]["size"] == 3 for one in records)


def test_what_a_lifecycle_removes_is_an_expiration(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own names, not those of a removal."""
    monkeypatch.setattr(job, "PAUSE_SECONDS", 0.0)
    bucket, target = room.bucket(), room.target()
    kept = room.bucket(versioning=True)
    for name in (bucket, kept):
        room.tell(name, target)
        room.s3.put_object(Bucket=name, Key="a", Body=b"one")
        rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
        room.s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    room.rig.cluster.pass_time(3 * DAY)
    for _ in range(10):
        room.rig.cluster.directory.lifecycle.step()
    records = [one for one in room.records(target) if not one["eventName"].startswith("ObjectCreated")]
    assert sorted((one["s3"]["bucket"]["name"], one["eventName"]) for one in records) == sorted(
        [(bucket, "LifecycleExpiration:Delete"), (kept, "LifecycleExpiration:DeleteMarkerCreated")]
    )
    assert {one["userIdentity"]["principalId"] for one in records} == {"lifecycle"}


def test_filters_choose_by_the_name_of_the_file(room: Room) -> None:
    """Prefix and suffix together; what fits none is not told."""
    bucket, target, other = room.bucket(), room.target(), room.target()
    images = queue(target, "s3:ObjectCreated:*", **filtered(prefix="images/", suffix=".jpg"))
    room.put(bucket, [images, queue(other, "s3:ObjectRemoved:Delete", **filtered(Suffix=".jpg"))])
    for one in (target, other):
        room.step(one)
        room.targets[one].taken.clear()
    for key in ("images/a.jpg", "images/a.png", "a.jpg", "images/b/c.jpg"):
        room.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        room.s3.delete_object(Bucket=bucket, Key=key)
    assert [one["s3"]["object"]["key"] for one in room.records(target)] == ["images/a.jpg", "images/b/c.jpg"]
    assert [one["s3"]["object"]["key"] for one in room.records(other)] == ["images/a.jpg", "a.jpg", "images/b/c.jpg"]


def test_changes_through_other_doors_are_told(room: Room) -> None:
    """A file written, moved and deleted by the HTTPS API: with the account, without what that door does not say."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    ask = room.rig.cluster.ask
    assert ask("PUT", f"/files/{bucket}/a.txt", b"plain").status == 201
    move = {"source": {"bucket": bucket, "path": "a.txt"}, "bucket": bucket, "path": "b.txt", "move": True}
    assert ask("POST", "/copy", json.dumps(move).encode()).status == 201
    assert ask("DELETE", f"/files/{bucket}/b.txt").status in (200, 204)
    records = room.records(target)
    assert [(one["eventName"], one["s3"]["object"]["key"]) for one in records] == [
        ("ObjectCreated:Put", "a.txt"),
        ("ObjectCreated:Copy", "b.txt"),
        ("ObjectRemoved:Delete", "a.txt"),
        ("ObjectRemoved:Delete", "b.txt"),
    ]
    first = records[0]
    assert first["userIdentity"]["principalId"] == "admin"
    assert first["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    assert first["s3"]["object"]["size"] == 5
    assert first["s3"]["object"]["eTag"].endswith("-1")


def test_each_target_is_told_what_it_was_asked_for(room: Room) -> None:
    """The last configuration counts, and a refused write is no event."""
    bucket, target, other = room.bucket(), room.target(), room.target()
    room.put(bucket, [queue(target, "s3:ObjectCreated:*"), queue(other, "s3:ObjectTagging:*")])
    room.put(bucket, [queue(target, "s3:ObjectCreated:Put"), queue(other, "s3:ObjectCreated:Copy")])
    for one in (target, other):
        room.step(one)
        room.targets[one].taken.clear()
    assert refused(room.s3.put_object, Bucket=bucket, Key="a", Body=b"x", IfMatch='"0123"')[0] in (404, 412)
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    room.s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    assert [one["s3"]["object"]["key"] for one in room.records(target)] == ["a"]
    assert [one["s3"]["object"]["key"] for one in room.records(other)] == ["b"]


def test_what_waits_is_told_as_the_bucket_said_when_it_happened(room: Room) -> None:
    """Also when the configuration, the object and the bucket are gone meanwhile; a later bucket begins anew."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    room.s3.delete_object(Bucket=bucket, Key="a")
    room.s3.delete_bucket(Bucket=bucket)
    room.s3.create_bucket(Bucket=bucket)
    room.s3.put_object(Bucket=bucket, Key="b", Body=b"two")
    assert room.names(target) == ["ObjectCreated:Put", "ObjectRemoved:Delete"]
