"""The routes for buckets: list, create, get, change, delete. The directory authorises them."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import Bucket
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CHANGE_BUCKET,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketInfo,
    BucketRequest,
    BucketsReply,
    BucketsRequest,
    ChangeBucketRequest,
    CreateBucketRequest,
    Versioning,
)
from lockstep_store.wire.names import check_bucket

_operation = partial(Operation, tag="Buckets")


class NewBucket(JsonBody):
    """A bucket to create. `shared`: every account may use it; otherwise only its owner."""

    name: Bucket
    versioning: Versioning = "off"
    shared: bool = False


class BucketChange(JsonBody):
    """The settings to change. Absent ones stay."""

    versioning: Versioning | None = None
    shared: bool | None = None


class BucketRoutes:
    """The routes below /buckets."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._of_all(), *self._of_one()]

    def _of_all(self) -> list[Operation]:
        return [
            _operation(
                id="list_buckets",
                method="GET",
                template="/buckets",
                handler=self.list_buckets,
                summary="List the buckets you may use",
                description="Your own buckets and the shared ones.",
                answers={200: Answer("The buckets.", Content(BucketsReply))},
            ),
            _operation(
                id="create_bucket",
                method="POST",
                template="/buckets",
                handler=self.create,
                summary="Create a bucket",
                description="You become its owner. With `shared` every account may use it.",
                bodies=(Content(NewBucket),),
                answers={201: Answer("The new bucket.", Content(BucketInfo))},
                refusals=(errors.BadName, errors.Forbidden, errors.AlreadyExists, errors.QuotaExceeded),
            ),
        ]

    def _of_one(self) -> list[Operation]:
        one = "/buckets/{bucket}"
        info = Content(BucketInfo)
        usual = (errors.BadName, errors.Forbidden, errors.NotFound)
        return [
            _operation(
                id="get_bucket",
                method="GET",
                template=one,
                handler=self.get,
                summary="Get a bucket",
                description="Its owner, whether it is shared, and whether it keeps versions.",
                answers={200: Answer("The bucket.", info)},
                refusals=usual,
            ),
            _operation(
                id="change_bucket",
                method="PATCH",
                template=one,
                handler=self.change,
                summary="Change a bucket's versioning, or who may use it",
                description="For its owner and administrators. Settings that the body omits stay.",
                bodies=(Content(BucketChange),),
                answers={200: Answer("The changed bucket.", info)},
                refusals=(*usual, errors.Conflict),
            ),
            _operation(
                id="delete_bucket",
                method="DELETE",
                template=one,
                handler=self.delete,
                summary="Delete an empty bucket",
                description=(
                    "For its owner and administrators. The bucket must have no files and no old versions. Its locks "
                    "end with it."
                ),
                answers={204: Answer("Deleted.")},
                refusals=(*usual, errors.BucketNotEmpty),
            ),
        ]

    def list_buckets(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(BUCKETS, BucketsRequest(request.access())))

    def create(self, request: RestRequest) -> RawReply:
        credential = request.access()
        body = request.message(NewBucket)
        wanted = CreateBucketRequest(credential, check_bucket(body.name), body.versioning, body.shared)
        return json_reply(self._directory.call(CREATE_BUCKET, wanted), 201)

    def get(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(GET_BUCKET, BucketRequest(request.access(), request.bucket())))

    def change(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        body = request.message(BucketChange)
        wanted = ChangeBucketRequest(credential, bucket, body.versioning, body.shared)
        return json_reply(self._directory.call(CHANGE_BUCKET, wanted))

    def delete(self, request: RestRequest) -> RawReply:
        self._directory.call(DELETE_BUCKET, BucketRequest(request.access(), request.bucket()))
        return empty_reply()
