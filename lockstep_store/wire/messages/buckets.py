"""Buckets: listed, created, changed and deleted by client proxies."""

from __future__ import annotations

from typing import Literal

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Bucket, Credential, Message, Nothing

Versioning = Literal["off", "enabled", "suspended"]


class BucketInfo(Message):
    """A bucket, as shown to its owner and to others who may use it."""

    name: str
    owner: str
    versioning: Versioning
    shared: bool
    created_at: float


class BucketsRequest(Message):
    credential: Credential


class BucketsReply(Message):
    buckets: list[BucketInfo]


class CreateBucketRequest(Message):
    credential: Credential
    bucket: Bucket
    versioning: Versioning = "off"
    shared: bool = False
    object_lock: bool = False
    """Allow its versions to be protected from deletion. Such a bucket keeps versions for good."""
    settings: dict[str, str] = {}
    """The first access settings of the bucket (acl, ownership)."""


class BucketRequest(Message):
    credential: Credential
    bucket: Bucket


class ChangeBucketRequest(Message):
    credential: Credential
    bucket: Bucket
    versioning: Versioning | None = None
    shared: bool | None = None


BUCKETS = Call("/v1/buckets", BucketsRequest, BucketsReply)
CREATE_BUCKET = Call("/v1/buckets/create", CreateBucketRequest, BucketInfo)
GET_BUCKET = Call("/v1/buckets/get", BucketRequest, BucketInfo)
CHANGE_BUCKET = Call("/v1/buckets/change", ChangeBucketRequest, BucketInfo)
DELETE_BUCKET = Call("/v1/buckets/delete", BucketRequest, Nothing)
