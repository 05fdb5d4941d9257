"""A cluster with notification targets, and the parts of bucket configurations."""

from __future__ import annotations

import itertools
from typing import Any

from directory_server.features.notifications.addresses import Destination
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.targets import (
    ADD_TARGET,
    TARGETS,
    AddTargetRequest,
)
from tests.fakes.notification_target import KeepingTarget
from tests.s3.rig import S3Rig

ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*", "s3:ObjectTagging:*"]
ALL += ["s3:ObjectAcl:Put", "s3:ObjectRetention:Put"]
DAY = 10.0
numbers = itertools.count(1)


class Room:
    """A cluster with targets that only keep what they get."""

    def __init__(self, rig: S3Rig) -> None:
        self.rig = rig
        self.s3 = rig.client()
        self.targets: dict[str, KeepingTarget] = {}

    def target(self, **fields: Any) -> str:
        """A new target's name."""
        name = f"target-{next(numbers)}"
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
        name = f"told-{next(numbers)}"
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
