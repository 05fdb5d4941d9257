"""The routes for a bucket's policy: read it, try it out, and set it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.bucket_settings import BucketSetting
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import access as am
from lockstep_store.wire.messages.base import PathText
from lockstep_store.wire.messages.bucket_settings import BucketPolicyReply
from lockstep_store.wire.names import check_path

_operation = partial(Operation, tag="Sharing", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))
_ONE = "/policies/{bucket}"


class BucketPolicyBody(JsonBody):
    """The bucket's policy, a document of AWS's policy language; null: none."""

    policy: dict[str, Any] | None


class BucketPolicyPreviewBody(BucketPolicyBody):
    """A policy to try out, and the file or folder to explain; without a path, the whole bucket."""

    path: PathText = ""


class BucketPolicyRoutes:
    """The routes below /policies."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._setting = BucketSetting(directory, "policy")

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="bucket_policy",
                method="GET",
                template=_ONE,
                handler=self.show,
                summary="Get a bucket's policy",
                description="For its owner, administrators and those whom the policy lets read it.",
                answers={200: Answer("The policy.", Content(BucketPolicyReply))},
            ),
            _operation(
                id="set_bucket_policy",
                method="PUT",
                template=_ONE,
                handler=self.set,
                summary="Set or delete a bucket's policy",
                description="The same policy as at the S3 door: every door decides by it.",
                bodies=(Content(BucketPolicyBody),),
                answers={200: Answer("The policy.", Content(BucketPolicyReply))},
            ),
            _operation(
                id="preview_bucket_policy",
                method="POST",
                template=f"{_ONE}/preview",
                handler=self.preview,
                summary="Who could do what with a file or folder if this were the bucket's policy",
                description=(
                    "Changes nothing. It refuses what setting the policy would refuse, and explains like "
                    "`GET /access/{bucket}` by the function that decides about requests."
                ),
                bodies=(Content(BucketPolicyPreviewBody),),
                answers={200: Answer("The grants, and what each account could do.", Content(am.AccessReply))},
            ),
        ]

    def show(self, request: RestRequest) -> RawReply:
        return json_reply(BucketPolicyReply(self._setting.read(request)))

    def set(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        policy = request.message(BucketPolicyBody).policy
        self._setting.put(credential, bucket, policy)
        return json_reply(BucketPolicyReply(policy))

    def preview(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        body = request.message(BucketPolicyPreviewBody)
        path = check_path(body.path) if body.path else ""
        policy = None if body.policy is None else json.dumps(body.policy)
        asked = am.PreviewPolicyRequest(credential, bucket, path, policy)
        return json_reply(self._directory.call(am.PREVIEW_POLICY, asked))
