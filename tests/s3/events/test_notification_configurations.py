"""Notification configurations through boto3: stored, returned and refused."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.s3 import NOTIFICATION, PUT_BUCKET_SETTING, PutBucketSettingRequest
from tests.s3.calls import refused
from tests.s3.events.room import ALL, Room, filtered, numbers, queue
from tests.s3.people import client_of, document, statement

ARGUMENT = (400, "InvalidArgument")


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
    later = f"later-{next(numbers)}"
    room.put(bucket, [queue(later)], SkipDestinationValidation=True)
    room.s3.put_object(Bucket=bucket, Key="b", Body=b"b")
    room.add(later, f"https://receiver.test/{later}")
    room.s3.put_object(Bucket=bucket, Key="c", Body=b"c")
    assert [one["s3"]["object"]["key"] for one in room.records(later)] == ["c"]
    room.step(target)
    assert room.targets[target].taken == []
