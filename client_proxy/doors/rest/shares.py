"""Share links over HTTP, for those who make them. Visitors use the door of the links."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.bucket_settings import BucketSetting
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import shares as sm
from lockstep_store.wire.messages.base import MAX_LISTING, Bucket, PathText, Text
from lockstep_store.wire.names import check_bucket, check_path

_operation = partial(Operation, tag="Sharing", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))
_RULE = "/share-rules/{bucket}"


class NewShare(JsonBody):
    """A link to make. A `path` that is empty or ends with a slash is a folder. `max_uses` counts downloads, or files
    that are uploaded; `max_bytes` bounds each of those. The link lasts `expires_in` seconds, by default 30 days; with
    null until it is revoked, where the bucket's rule allows that."""

    bucket: Bucket
    path: PathText = ""
    mode: sm.ShareMode = "read"
    password: sm.SharePassword = ""
    expires_in: sm.ShareSeconds | None = sm.DEFAULT_SHARE_SECONDS
    max_uses: sm.Uses | None = None
    max_bytes: sm.FileBytes | None = None
    note: Text = ""


class ShareRuleBody(JsonBody):
    """The rule for links into a bucket."""

    links: sm.LinkRule


class ShareRoutes:
    """The routes below /shares and /share-rules."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._rule = BucketSetting(directory, sm.SHARE_RULE)

    def operations(self) -> list[Operation]:
        return [*self._links(), *self._rules()]

    def _links(self) -> list[Operation]:
        return [
            _operation(
                id="list_shares",
                method="GET",
                template="/shares",
                handler=self.list_shares,
                summary="List your share links",
                description="With `bucket`, those into it: everybody's for its owner and administrators, else yours.",
                parameters=(
                    Parameter("bucket", "query", "Only links into this bucket.", BUCKET),
                    Parameter("limit", "query", "Maximum number of links in a page.", between(1, MAX_LISTING)),
                    Parameter("cursor", "query", "`next_after` of the previous page."),
                ),
                answers={200: Answer("One page; `next_after` is absent on the last.", Content(sm.SharesReply))},
            ),
            _operation(
                id="create_share",
                method="POST",
                template="/shares",
                handler=self.create,
                summary="Make a share link",
                description=(
                    "People open it without an account, at `/s/` and the `token`, which only this reply contains. The "
                    "link acts with your rights at the time of use."
                ),
                bodies=(Content(NewShare),),
                answers={201: Answer("The link, with its token.", Content(sm.ShareLink))},
                refusals=(errors.BadName, errors.Conflict, errors.Forbidden, errors.NotFound),
            ),
            _operation(
                id="revoke_share",
                method="DELETE",
                template="/shares/{id}",
                handler=self.revoke,
                summary="Revoke a share link",
                description="For its maker, the bucket's owner and administrators. It ends at once, at every proxy.",
                answers={204: Answer("Revoked.")},
                refusals=(errors.NotFound,),
            ),
        ]

    def _rules(self) -> list[Operation]:
        return [
            _operation(
                id="share_rule",
                method="GET",
                template=_RULE,
                handler=self.rule,
                summary="Get the rule for share links into a bucket",
                description=(
                    "`off`: there are none. `owner`: only its owner and administrators make them. `expiring`: whoever "
                    "may read or write there makes links that expire. `any`: those may also last until revoked."
                ),
                answers={200: Answer("The rule.", Content(sm.ShareRuleReply))},
            ),
            _operation(
                id="set_share_rule",
                method="PUT",
                template=_RULE,
                handler=self.set_rule,
                summary="Set the rule for share links into a bucket",
                description="For its owner and administrators. Existing links that it does not allow stop working.",
                bodies=(Content(ShareRuleBody),),
                answers={200: Answer("The rule.", Content(sm.ShareRuleReply))},
            ),
        ]

    def list_shares(self, request: RestRequest) -> RawReply:
        asked = sm.SharesRequest(
            request.access(),
            request.bucket_argument(),
            request.argument("cursor", limit=48),
            request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING),
        )
        return json_reply(self._directory.call(sm.SHARES, asked))

    def create(self, request: RestRequest) -> RawReply:
        credential = request.access()
        body = request.message(NewShare)
        made = sm.CreateShareRequest(
            credential,
            check_bucket(body.bucket),
            check_path(body.path) if body.path else "",
            mode=body.mode,
            password=body.password,
            expires_in=body.expires_in,
            max_uses=body.max_uses,
            max_bytes=body.max_bytes,
            note=body.note,
        )
        return json_reply(self._directory.call(sm.CREATE_SHARE, made), 201)

    def revoke(self, request: RestRequest) -> RawReply:
        asked = sm.RevokeShareRequest(request.access(), request.segment("id")[:48])
        self._directory.call(sm.REVOKE_SHARE, asked)
        return empty_reply()

    def rule(self, request: RestRequest) -> RawReply:
        return json_reply(sm.ShareRuleReply(self._rule.read(request) or sm.DEFAULT_RULE))

    def set_rule(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        links = request.message(ShareRuleBody).links
        self._rule.put(credential, bucket, links)
        return json_reply(sm.ShareRuleReply(links))
