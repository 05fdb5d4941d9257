"""Bucket notifications through boto3: what is kept of a configuration, and what is told to whom."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pytest

from directory_server.features.lifecycle import job
from directory_server.features.notifications.addresses import Destination
from directory_server.features.notifications.targets import Targets
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import CLUSTER
from lockstep_store.wire.messages.s3 import NOTIFICATION, PUT_BUCKET_SETTING, PutBucketSettingRequest
from lockstep_store.wire.messages.targets import (
    ADD_TARGET,
    REMOVE_TARGET,
    TARGETS,
    TEST_TARGET,
    AddTargetRequest,
    TargetRequest,
    TryTargetRequest,
)
from tests.fakes.notification_target import KeepingTarget
from tests.s3.calls import refused
from tests.s3.objects.test_post_form import ANY_KEY, BOUNDARY, Signer, form
from tests.s3.people import client_of, document, statement
from tests.s3.rig import ENDPOINT, S3Rig

ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*", "s3:ObjectTagging:*"]
ALL += ["s3:ObjectAcl:Put", "s3:ObjectRetention:Put"]
ARGUMENT = (400, "InvalidArgument")
SECRET = "a-secret-that-nobody-is-shown"
DAY = 10.0
_numbers = itertools.count(1)


class Room:
    """A cluster with targets that only keep what they get."""

    def __init__(self, rig: S3Rig) -> None:
        self.rig = rig
        self.s3 = rig.client()
        self.targets: dict[str, KeepingTarget] = {}

    def target(self, **fields: Any) -> str:
        """A new target's name."""
        name = f"target-{next(_numbers)}"
        self.add(name, f"https://receiver.test/{name}", **fields)
        return name

    def add(self, name: str, url: str, **fields: Any) -> Any:
        return self.rig.directory.call(ADD_TARGET, AddTargetRequest(self.rig.cluster.admin_key, name, url, **fields))

    def make_sender(self, destination: Destination, _: object) -> KeepingTarget:
        """One target for each address, whoever sends to it."""
        return self.targets.setdefault(destination.url.rpartition("/")[2], KeepingTarget())

    def info(self, name: str) -> Any:
        reply = self.rig.directory.call(TARGETS, CredentialRequest(self.rig.cluster.admin_key))
        return next(one for one in reply.targets if one.name == name)

    def bucket(self, versioning: bool = False, **config: Any) -> str:
        name = f"told-{next(_numbers)}"
        self.s3.create_bucket(Bucket=name, **config)
        if versioning:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def tell(self, bucket: str, target: str, *events: str, **more: Any) -> None:
        """Let changes of the bucket be told to the target; the test message is taken away."""
        self.put(bucket, [queue(target, *events, **more)])
        self.step(target)
        self.targets[target].taken.clear()

    def put(self, bucket: str, queues: list[dict[str, Any]], **more: Any) -> None:
        configuration = {"QueueConfigurations": queues} if queues else {}
        self.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration, **more)

    def step(self, target: str) -> float:
        return self.rig.cluster.directory.targets.step(target)

    def records(self, target: str) -> list[dict[str, Any]]:
        """What the target is told now."""
        self.step(target)
        return self.targets[target].records()

    def names(self, target: str) -> list[str]:
        return [record["eventName"] for record in self.records(target)]


def queue(target: str, *events: str, **more: Any) -> dict[str, Any]:
    return {"QueueArn": f"arn:lockstep:sqs:us-east-1::{target}", "Events": list(events or ALL), **more}


def filtered(**rules: str) -> dict[str, Any]:
    return {"Filter": {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder, certs = tmp_path_factory.mktemp("told"), tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(folder, certs, lifecycle_day_seconds=DAY)
    room = Room(rig)
    rig.cluster.directory.targets._make_sender = room.make_sender
    yield room
    rig.close()


# ---------------------------------------------------------------- configurations


def test_a_configuration_comes_back_as_it_was_put(room: Room) -> None:
    """With an Id where it had none; an empty one switches off, and a bucket without one has nothing to say."""
    bucket, target = room.bucket(), room.target()
    arn = f"arn:aws:sns:us-east-1:123456789012:{target}"
    by_prefix = {
        "Filter": {"Key": {"FilterRules": [{"Name": "PREFIX", "Value": "a/"}, {"Name": "suffix", "Value": ""}]}}
    }
    wanted = {
        "TopicConfigurations": [{"Id": "first", "TopicArn": arn, "Events": ["s3:ObjectCreated:Put"], **by_prefix}],
        "QueueConfigurations": [queue(target, "s3:ObjectRemoved:*", "s3:Replication:*")],
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": f"arn:aws:lambda:eu-west-1:1:function:{target}", "Events": ["s3:ObjectAcl:Put"]}
        ],
    }
    room.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    told = room.s3.get_bucket_notification_configuration(Bucket=bucket)
    del told["ResponseMetadata"]
    assert told["TopicConfigurations"] == wanted["TopicConfigurations"]
    for kind in ("QueueConfigurations", "LambdaFunctionConfigurations"):
        assert told[kind][0].pop("Id")
        assert told[kind] == wanted[kind]
    room.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    assert set(room.s3.get_bucket_notification_configuration(Bucket=bucket)) == {"ResponseMetadata"}


@pytest.mark.parametrize(
    ("queues", "code"),
    [
        ([queue("nobody")], ARGUMENT),
        ([{"QueueArn": "arn:aws:sns:us-east-1:1:known", "Events": ALL}], ARGUMENT),
        ([{"QueueArn": "known", "Events": ALL}], ARGUMENT),
        ([{"QueueArn": "arn:aws:sqs:us-east-1:1:a/b", "Events": ALL}], ARGUMENT),
        ([queue("known", "s3:TestEvent")], ARGUMENT),
        ([queue("known", "s3:ObjectCreated:Replace")], ARGUMENT),
        ([queue("known", **filtered(infix="a"))], ARGUMENT),
        ([queue("known", **filtered(prefix="a", PREFIX="b"))], ARGUMENT),
        ([queue("known", **filtered(prefix="a" * 1025))], ARGUMENT),
        ([queue("known", Id="x" * 256)], ARGUMENT),
        ([queue("known", "s3:ObjectCreated:Put", Id="x"), queue("known", "s3:ObjectAcl:Put", Id="x")], ARGUMENT),
        ([queue("known", "s3:ObjectCreated:Put"), queue("known", "s3:ObjectCreated:*")], ARGUMENT),
        ([queue("known", **filtered(prefix="a")), queue("known", **filtered(prefix="ab"))], ARGUMENT),
        ([queue("known", **filtered(prefix="a")), queue("known", **filtered(suffix="b"))], ARGUMENT),
        ([queue("known", Events=[]) | {"Events": []}], (400, "MalformedXML")),
    ],
)
def test_what_would_not_be_told_as_it_says_is_refused(room: Room, queues: list[dict[str, Any]], code: Any) -> None:
    """With S3's codes; and what the bucket had stays."""
    bucket = room.bucket()
    room.add("known", "https://receiver.test/known")
    room.put(bucket, [queue("known", Id="before")])
    assert refused(room.put, bucket=bucket, queues=queues) == code
    assert room.s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"][0]["Id"] == "before"


def test_rules_that_exclude_one_another_stand_beside_each_other(room: Room) -> None:
    """By event, by prefix or by suffix."""
    bucket, target = room.bucket(), room.target()
    rules = [
        queue(target, "s3:ObjectCreated:*", **filtered(prefix="a/")),
        queue(target, "s3:ObjectCreated:*", **filtered(prefix="b/", suffix=".jpg")),
        queue(target, "s3:ObjectCreated:*", **filtered(prefix="b/", suffix=".png")),
        queue(target, "s3:ObjectRemoved:Delete"),
        queue(target, "s3:ObjectRemoved:DeleteMarkerCreated"),
    ]
    room.put(bucket, rules)
    assert len(room.s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]) == 5


def test_event_bridge_is_refused(room: Room) -> None:
    """There is none, so nothing would be sent."""
    bridge: dict[str, Any] = {"EventBridgeConfiguration": {}}
    put = room.s3.put_bucket_notification_configuration
    assert refused(put, Bucket=room.bucket(), NotificationConfiguration=bridge) == (501, "NotImplemented")


def test_only_the_owner_or_whom_the_policy_lets_may_configure(room: Room) -> None:
    """As for the other settings of a bucket, and past the S3 door there is no other way."""
    bucket, target = room.bucket(), room.target()
    eve = client_of(room.rig, "eve-who-listens")
    configuration = {"QueueConfigurations": [queue(target)]}
    put, get = eve.put_bucket_notification_configuration, eve.get_bucket_notification_configuration
    assert refused(put, Bucket=bucket, NotificationConfiguration=configuration) == (403, "AccessDenied")
    assert refused(get, Bucket=bucket) == (403, "AccessDenied")
    allowed = ["s3:PutBucketNotification", "s3:GetBucketNotification"]
    room.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement("Allow", "*", allowed, bucket)))
    put(Bucket=bucket, NotificationConfiguration=configuration)
    assert get(Bucket=bucket)["QueueConfigurations"]
    unchecked = PutBucketSettingRequest(room.rig.cluster.admin_key, bucket, NOTIFICATION, "{}")
    with pytest.raises(BadRequest):
        room.rig.directory.call(PUT_BUCKET_SETTING, unchecked)


def test_a_test_message_goes_out_first_unless_that_is_not_wanted(room: Room) -> None:
    """And a target that nobody looks for may be made later: what happens before is not told."""
    bucket, target = room.bucket(), room.target()
    room.put(bucket, [queue(target)])
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    room.step(target)
    test, event = (body for _, body in room.targets[target].taken)
    assert test["Event"] == "s3:TestEvent"
    assert (test["Service"], test["Bucket"]) == ("Amazon S3", bucket)
    assert test["RequestId"]
    assert event["Records"][0]["eventName"] == "ObjectCreated:Put"
    room.targets[target].taken.clear()
    later = f"later-{next(_numbers)}"
    room.put(bucket, [queue(later)], SkipDestinationValidation=True)
    room.s3.put_object(Bucket=bucket, Key="b", Body=b"b")
    room.add(later, f"https://receiver.test/{later}")
    room.s3.put_object(Bucket=bucket, Key="c", Body=b"c")
    assert [one["s3"]["object"]["key"] for one in room.records(later)] == ["c"]
    room.step(target)
    assert room.targets[target].taken == []


# ---------------------------------------------------------------- what is told


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
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(len(body))}
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
    assert first["requestParameters"]["sourceIPAddress"] == ""
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


# ---------------------------------------------------------------- targets


def test_only_administrators_see_and_change_targets(room: Room) -> None:
    """A target makes the cluster send requests, so nobody else may name one, nor see where the others are."""
    credential = room.rig.cluster.log_in("somebody-else")["Authorization"].removeprefix("Bearer ")
    target = room.target()
    call = room.rig.directory.call
    for asked in (
        lambda: call(ADD_TARGET, AddTargetRequest(credential, "mine", "https://inside.test/")),
        lambda: call(TARGETS, CredentialRequest(credential)),
        lambda: call(REMOVE_TARGET, TargetRequest(credential, target)),
        lambda: call(TEST_TARGET, TryTargetRequest(credential, target)),
    ):
        with pytest.raises(Forbidden):
            asked()
    assert call(CLUSTER, CredentialRequest(credential)).targets == []
    assert target in {one.name for one in call(CLUSTER, CredentialRequest(room.rig.cluster.admin_key)).targets}


def test_secrets_are_shown_to_nobody_and_sealed_where_they_are_kept(room: Room) -> None:
    """Neither an answer nor the metadata file has them, and the next directory can still use them."""
    name = "sealed-broker"
    made = room.add(name, f"amqps://user:{SECRET}@broker.test/?routing_key=q")
    assert SECRET not in repr(made)
    assert made.kind == "amqp"
    hook = room.target(secret=SECRET, token=SECRET)
    info = room.info(hook)
    assert (info.signed, info.has_token) == (True, True)
    folder = room.rig.cluster.settings.data
    assert all(SECRET.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    directory = room.rig.cluster.directory
    known: list[Destination] = []

    def keep(destination: Destination, _: object) -> KeepingTarget:
        known.append(destination)
        return KeepingTarget()

    keys = room.rig.cluster._certs / "storage-keys.json"
    Targets(directory.store, directory.clock, keys, keep)
    assert SECRET in {one.secret for one in known} & {one.token for one in known}
    assert any(SECRET in one.url for one in known)


def test_targets_are_operated_over_the_https_api(room: Room) -> None:
    """Named, listed, tried and forgotten; a bad name or address is a 400, and nobody else may."""
    ask, name = room.rig.cluster.ask, f"by-api-{next(_numbers)}"
    body = json.dumps({"url": f"https://receiver.test/{name}", "secret": SECRET, "token": SECRET}).encode()
    made = ask("PUT", f"/cluster/targets/{name}", body)
    assert (made.status, made.json["url"], made.json["signed"]) == (200, f"https://receiver.test/{name}", True)
    assert SECRET.encode() not in made.body
    assert name in {one["name"] for one in ask("GET", "/cluster/targets").json["targets"]}
    assert ask("POST", f"/cluster/targets/{name}/test").status == 204
    room.targets[name].refuse = "no"
    assert ask("POST", f"/cluster/targets/{name}/test").status == 503
    somebody = room.rig.cluster.log_in("somebody-with-a-hook")
    assert room.rig.cluster.ask_with(somebody, "PUT", f"/cluster/targets/{name}", body).status == 403
    assert ask("DELETE", f"/cluster/targets/{name}").json == {"dropped": 0}
    assert ask("DELETE", f"/cluster/targets/{name}").status == 404
    assert ask("PUT", "/cluster/targets/no%20name", body).status == 400
    assert ask("PUT", f"/cluster/targets/{name}", b'{"url": "file:///etc/passwd"}').status == 400
    assert ask("PUT", f"/cluster/targets/{name}", b'{"url": "http://a/", "ca_pem": "none"}').status == 400


def test_a_target_in_use_is_not_removed_and_names_who_uses_it(room: Room) -> None:
    """Afterwards it is, with what waited; and is not found any more."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    call, key = room.rig.directory.call, room.rig.cluster.admin_key
    with pytest.raises(Conflict, match=bucket):
        call(REMOVE_TARGET, TargetRequest(key, target))
    room.put(bucket, [])
    assert call(REMOVE_TARGET, TargetRequest(key, target)).dropped == 1
    with pytest.raises(NotFound):
        call(REMOVE_TARGET, TargetRequest(key, target))
    with pytest.raises(NotFound):
        call(TEST_TARGET, TryTargetRequest(key, target))


def test_a_target_can_be_tried(room: Room) -> None:
    """A test message goes out at once, and a refusal says why."""
    target = room.target()
    call, asked = room.rig.directory.call, TryTargetRequest(room.rig.cluster.admin_key, target)
    call(TEST_TARGET, asked)
    assert room.targets[target].taken[0][1]["Event"] == "s3:TestEvent"
    room.targets[target].refuse = "it answered with status 500"
    with pytest.raises(Unavailable, match="status 500"):
        call(TEST_TARGET, asked)


def test_another_address_for_a_target_keeps_what_waits(room: Room) -> None:
    """What the old address did not take goes to the new one."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.targets[target].refuse = "gone"
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    room.step(target)
    assert room.info(target).problem == "gone"
    room.add(target, f"https://elsewhere.test/new-{target}")
    room.step(target)
    assert [one["s3"]["object"]["key"] for one in room.targets[f"new-{target}"].records()] == ["a"]
    assert room.info(target).waiting == 0
