"""Notification targets: where messages about changes in buckets go. See lockstep_store/wire/messages/files.py."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.files import Bucket, Credential, CredentialRequest, Message, Nothing

TARGET_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_NAME = re.compile(TARGET_NAME)
TargetName = Annotated[str, Meta(pattern=TARGET_NAME)]
Address = Annotated[str, Meta(min_length=1, max_length=2048)]
Secret = Annotated[str, Meta(max_length=512)]


class TargetInfo(Message):
    """A target, and how delivery to it goes. `url` is without passwords."""

    name: str
    kind: Literal["webhook", "amqp"]
    url: str
    created_at: float
    signed: bool = False
    """A secret signs what a webhook is sent."""
    has_token: bool = False
    has_ca: bool = False
    waiting: int = 0
    """Messages that it does not have yet."""
    oldest_seconds: float = 0.0
    """How long the first of them waits."""
    delivered: int = 0
    """Since the directory started."""
    dropped: int = 0
    """Messages that were given up because too many waited, or for too long; never counted back."""
    problem: str = ""
    """Why the last attempt failed; empty when it did not."""


class TargetsReply(Message):
    targets: list[TargetInfo]


class AddTargetRequest(Message):
    """An administrator names a target; in the place of one of that name if there is one."""

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
    """`wait_seconds` is how long a receiver may take over everything until it has a message."""

    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 30.0


class RemovedTarget(Message):
    dropped: int
    """Messages that waited for it."""


class PutNotificationRequest(Message):
    """`value` is the configuration as JSON; None switches notifications off. Without `validate` no target needs to be
    there, and none is sent a test message."""

    credential: Credential
    bucket: Bucket
    value: Annotated[str, Meta(max_length=256 * 1024)] | None = None
    validate: bool = True


def target_of_arn(arn: str) -> str:
    """The name of the target that an ARN means: its last part, if that can be one; else empty."""
    name = arn.rpartition(":")[2]
    return name if _NAME.fullmatch(name) else ""


TARGETS = Call("/v1/targets", CredentialRequest, TargetsReply)
ADD_TARGET = Call("/v1/targets/add", AddTargetRequest, TargetInfo)
REMOVE_TARGET = Call("/v1/targets/remove", TargetRequest, RemovedTarget)
TEST_TARGET = Call("/v1/targets/test", TryTargetRequest, Nothing)
PUT_NOTIFICATION = Call("/v1/bucket-notification/put", PutNotificationRequest, Nothing)
