"""The notification configuration of a bucket: checked as in S3, and stored at the directory, which sends.

Events that never happen here (replication, restoring, tiering) are accepted, as nothing is lost by that.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.messages.s3 import NOTIFICATION
from lockstep_store.wire.messages.targets import PUT_NOTIFICATION, PutNotificationRequest, target_of_arn

MAX_CONFIGURATIONS = 100
MAX_ID = 255
MAX_FILTER_BYTES = 1024
_KINDS = (
    ("TopicConfigurations", "TopicArn", "sns"),
    ("QueueConfigurations", "QueueArn", "sqs"),
    ("LambdaFunctionConfigurations", "LambdaFunctionArn", "lambda"),
)
_ARN_PARTS = 6
HAPPENING = {
    "ObjectCreated": ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    "ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
    "LifecycleExpiration": ("Delete", "DeleteMarkerCreated"),
    "ObjectTagging": ("Put", "Delete"),
}
"""Families of events; `*` stands for a whole family."""
_NEVER_HAPPENING = {
    "ObjectRestore": ("Post", "Completed", "Delete"),
    "Replication": (
        "OperationFailedReplication",
        "OperationNotTracked",
        "OperationMissedThreshold",
        "OperationReplicatedAfterThreshold",
    ),
    "ObjectAnnotation": ("Put", "Delete"),
}
_ALONE = ("s3:ObjectAcl:Put", "s3:ObjectRetention:Put")
_ALONE_NEVER_HAPPENING = ("s3:ReducedRedundancyLostObject", "s3:LifecycleTransition", "s3:IntelligentTiering")
EVENTS = frozenset(
    f"s3:{family}:{kind}" for family, kinds in (HAPPENING | _NEVER_HAPPENING).items() for kind in ("*", *kinds)
).union(_ALONE, _ALONE_NEVER_HAPPENING)


class _Rule(NamedTuple):
    """What decides whether two configurations overlap."""

    events: frozenset[str]
    prefix: str
    suffix: str


class NotificationHandlers:
    """Stores notification configurations. Thread-safe; `new_id` names those that were sent without an ID."""

    def __init__(
        self, settings: StoredSettings, directory: Directory, new_id: Callable[[], str] = secrets.token_urlsafe
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._new_id = new_id

    def handlers(self) -> Handlers:
        return {
            "GetBucketNotificationConfiguration": self.get,
            "PutBucketNotificationConfiguration": self.put,
        }

    def get(self, call: S3Call) -> Values:
        value = self._settings.of_bucket(call, NOTIFICATION)
        values: Values = {} if value is None else json.loads(value)
        return values

    def put(self, call: S3Call) -> Values:
        """Store the configuration. InvalidArgument for an unknown target, unless the client skips that check."""
        configuration: Values = call.values["NotificationConfiguration"]
        check_configuration(configuration)
        named = {
            kind: [one if one.get("Id") else {**one, "Id": self._new_id()} for one in configuration[kind]]
            for kind, _, _ in _KINDS
            if configuration.get(kind)
        }
        request = PutNotificationRequest(
            call.credential,
            call.bucket,
            json.dumps(named) if named else None,
            validate=not call.get("SkipDestinationValidation"),
        )
        self._directory.call(PUT_NOTIFICATION, request)
        return {}


# ---------------------------------------------------------------- checks


def check_configuration(configuration: Values) -> None:
    """Raise S3Error for a configuration that S3 would reject, or that this cluster cannot carry out."""
    if "EventBridgeConfiguration" in configuration:
        raise S3Error("NotImplemented", "EventBridge is not supported: name a webhook or an AMQP target")
    found = [(one, arn, service) for kind, arn, service in _KINDS for one in configuration.get(kind) or []]
    if len(found) > MAX_CONFIGURATIONS:
        raise _bad(f"a bucket may have at most {MAX_CONFIGURATIONS} notification configurations")
    ids = [one["Id"] for one, _, _ in found if one.get("Id")]
    if any(len(id) > MAX_ID for id in ids):
        raise _bad(f"an Id may have at most {MAX_ID} characters")
    if len(set(ids)) < len(ids):
        raise _bad("Same ID used for multiple configurations. IDs must be unique")
    for one, arn, service in found:
        _check_arn(one[arn], service)
    if any(_overlap(one, other) for one, other in combinations([_rule(one) for one, _, _ in found], 2)):
        raise _bad(
            "Configurations overlap: where two have the same event, their prefixes or their suffixes must exclude one "
            "another"
        )


def _rule(one: Values) -> _Rule:
    events = one["Events"]
    for event in events:
        if event not in EVENTS:
            raise _bad(f"The event {event[:64]!r} is not supported for notifications")
    values: dict[str, str] = {}
    for rule in ((one.get("Filter") or {}).get("Key") or {}).get("FilterRules") or []:
        name = (rule.get("Name") or "").lower()
        if name not in ("prefix", "suffix"):
            raise _bad("filter rule name must be either prefix or suffix")
        if name in values:
            raise _bad(f"Cannot specify more than one {name} rule in a filter.")
        values[name] = rule.get("Value") or ""
        if len(values[name].encode("utf-8", "surrogatepass")) > MAX_FILTER_BYTES:
            raise _bad(f"a filter rule's value may have at most {MAX_FILTER_BYTES} bytes")
    return _Rule(frozenset(events), values.get("prefix", ""), values.get("suffix", ""))


def _check_arn(arn: str, service: str) -> None:
    parts = arn.split(":")
    if len(parts) < _ARN_PARTS or parts[0] != "arn" or parts[2] != service or not target_of_arn(arn):
        raise _bad(
            f"The ARN is not well formed: {arn[:256]!r} should be arn:lockstep:{service}:us-east-1::NAME with the "
            "name of a target"
        )


def _overlap(one: _Rule, other: _Rule) -> bool:
    return (
        any(_same_event(a, b) for a in one.events for b in other.events)
        and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
        and (one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix))
    )


def _same_event(one: str, other: str) -> bool:
    if one == other:
        return True
    family, _, kind = one.rpartition(":")
    other_family, _, other_kind = other.rpartition(":")
    return family == other_family and "*" in (kind, other_kind)


def _bad(why: str) -> S3Error:
    return S3Error("InvalidArgument", why)
