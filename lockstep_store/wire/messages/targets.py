"""Notification targets: where messages about changes in buckets go."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Bucket, Credential, CredentialRequest, Message, Nothing

TARGET_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_NAME = re.compile(TARGET_NAME)
TargetName = Annotated[str, Meta(pattern=TARGET_NAME)]
Address = Annotated[str, Meta(min_length=1, max_length=2048)]
Secret = Annotated[str, Meta(max_length=512)]


class TargetInfo(Message):
    """A target, and the state of delivery to it. `url` is without passwords."""

    name: str
    kind: Literal["webhook", "amqp"]
    url: str
    created_at: float
    signed: bool = False
    """Messages to this webhook are signed with a secret."""
    has_token: bool = False
    has_ca: bool = False
    waiting: int = 0
    """Messages not yet delivered."""
    oldest_seconds: float = 0.0
    """How long the oldest of them has waited."""
    delivered: int = 0
    """Messages delivered since the directory started."""
    dropped: int = 0
    """Messages given up because too many were waiting or because they waited too long. The count is never reset."""
    problem: str = ""
    """Why the last attempt failed; empty if it succeeded."""


class TargetsReply(Message):
    targets: list[TargetInfo]


class AddTargetRequest(Message):
    """Administrator: add a target, or replace the one of that name."""

    credential: Credential
    name: TargetName
    url: Address
    secret: Secret = ""
    token: Secret = ""
    ca_pem: Annotated[str, Meta(max_length=64 * 1024)] = ""


class TargetRequest(Message):
    credential: Credential
    name: TargetName


class TryTargetRequest(TargetRequest):
    """Send a test message. `wait_seconds` limits the whole delivery."""

    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 30.0


class RemovedTarget(Message):
    dropped: int
    """Messages that were waiting for it."""


class PutNotificationRequest(Message):
    """Set a bucket's notifications. `value` is the configuration as JSON; None switches notifications off.

    Without `validate`, targets need not exist, and no test message is sent.
    """

    credential: Credential
    bucket: Bucket
    value: Annotated[str, Meta(max_length=256 * 1024)] | None = None
    validate: bool = True


def target_of_arn(arn: str) -> str:
    """Return the target's name in an ARN: its last part; empty if that is not a valid name."""
    name = arn.rpartition(":")[2]
    return name if _NAME.fullmatch(name) else ""


TARGETS = Call("/v1/targets", CredentialRequest, TargetsReply)
ADD_TARGET = Call("/v1/targets/add", AddTargetRequest, TargetInfo)
REMOVE_TARGET = Call("/v1/targets/remove", TargetRequest, RemovedTarget)
TEST_TARGET = Call("/v1/targets/test", TryTargetRequest, Nothing)
PUT_NOTIFICATION = Call("/v1/bucket-notification/put", PutNotificationRequest, Nothing)
