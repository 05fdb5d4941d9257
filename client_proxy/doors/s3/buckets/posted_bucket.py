"""`POST /` with `{"bucket_name": "photos"}`: CreateBucket in the form of older stores. It is not an operation of S3."""

from __future__ import annotations

import msgspec

from client_proxy.doors.s3.auth.gate import Gate
from client_proxy.doors.s3.call import Handler, new_call
from client_proxy.doors.s3.objects.body_checks import read_body_checks
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.parameters import read_parameters
from client_proxy.doors.s3.protocol.replies import write_reply
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.names import check_bucket

MAX_BODY_BYTES = 16 * 1024


class _PostedBucket(msgspec.Struct, forbid_unknown_fields=True):
    bucket_name: str


_decoder = decoder(_PostedBucket)


class PostedBuckets:
    """`create` handles CreateBucket. Its headers, such as x-amz-acl, mean the same here."""

    def __init__(self, gate: Gate, create: Handler) -> None:
        self._gate = gate
        self._create = create

    def answer(self, request: S3Request) -> RawReply:
        """The reply to one request, whose body may be signed as any other."""
        principal = self._gate.identify(request)
        request.check_text()
        body = UploadBody(request.read, read_body_checks(request, principal)).read_all(MAX_BODY_BYTES)
        try:
            request.bucket = check_bucket(_decoder.decode(body).bucket_name)
        except msgspec.DecodeError as error:
            message = f'the body must be JSON such as {{"bucket_name": "photos"}}: {error}'
            raise S3Error("InvalidRequest", message) from error
        operation = operations()["CreateBucket"]
        values = read_parameters(operation, request.bucket, "", {}, request.get, request.metadata)
        call = new_call(operation, request, principal, values)
        made = self._create(call)
        if isinstance(made, RawReply):
            return made
        headers, _ = write_reply(operation, made)
        return RawReply(operation.status, [*headers, *call.headers, ("Content-Length", "0")], [])
