"""The routes for the facts of files: what people say about them, and what is stored with them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.file_facts import MAX_DESCRIPTION, MAX_FILE_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE
from lockstep_store.wire.messages.facts import (
    CHANGE_FACTS,
    FACTS,
    MAX_TAG_CHANGES,
    ChangeFactsRequest,
    FactsReply,
    FactsRequest,
)

_operation = partial(Operation, tag="Files", template="/facts/{bucket}/{path}")
_VERSION = Parameter("version", "query", "The facts of this version instead of the current one.")


class FactsBody(JsonBody):
    """What to change; the rest stays. An empty description removes it, and null removes a tag. With `replace_tags`,
    `tags` are all tags that the file has from now on."""

    description: Annotated[str, Meta(max_length=2 * MAX_DESCRIPTION)] | None = None
    tags: Annotated[dict[str, str | None], Meta(max_length=MAX_TAG_CHANGES)] = {}
    replace_tags: bool = False


class FactsRoutes:
    """The route /facts."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="facts",
                method="GET",
                handler=self.show,
                summary="Get a file's description, tags, type and metadata",
                description=(
                    "`metadata` is what the writer sent along. `tags` are S3's object tags; null if you may not read "
                    "them."
                ),
                parameters=(_VERSION,),
                answers={200: Answer("The facts.", Content(FactsReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound),
            ),
            _operation(
                id="change_facts",
                method="PATCH",
                handler=self.change,
                summary="Change a file's description and tags",
                description=(
                    "Makes no new version, and needs no lock, also while somebody else has one: locks are about "
                    "content. For everybody who may write the file. Members that are absent, and tags that are not "
                    f"named, stay. A description has up to {MAX_DESCRIPTION} characters. A file has up to "
                    f"{MAX_FILE_TAGS} tags; a key has 1 to {MAX_TAG_KEY}, a value up to {MAX_TAG_VALUE} letters, "
                    "digits, spaces and `_.:/=+-@`."
                ),
                parameters=(_VERSION,),
                bodies=(Content(FactsBody),),
                answers={200: Answer("The facts now.", Content(FactsReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound),
            ),
        ]

    def show(self, request: RestRequest) -> RawReply:
        """GET /facts."""
        wanted = FactsRequest(request.access(), request.bucket(), request.file_path(), request.version())
        return json_reply(self._directory.call(FACTS, wanted))

    def change(self, request: RestRequest) -> RawReply:
        """PATCH /facts."""
        credential, bucket, path, version = request.access(), request.bucket(), request.file_path(), request.version()
        body = request.message(FactsBody)
        wanted = ChangeFactsRequest(
            credential,
            bucket,
            path,
            version,
            description=body.description,
            tags=body.tags,
            replace_tags=body.replace_tags,
        )
        return json_reply(self._directory.call(CHANGE_FACTS, wanted))
