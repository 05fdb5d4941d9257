"""Groups of accounts over HTTP: administrators make and delete them, and with their managers change who is in them."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import groups as gm
from lockstep_store.wire.messages.base import CredentialRequest, Description, Text

_operation = partial(Operation, tag="People", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))
_ONE = "/groups/{group}"


class NewGroupBody(JsonBody):
    """A group to create, with its first `accounts`: each a `member` or a `manager`."""

    name: Text
    description: Description = ""
    accounts: gm.GroupChanges = {}


class GroupChangeBody(JsonBody):
    """What to change; the rest stays. An account with null leaves the group."""

    description: Description | None = None
    accounts: gm.GroupChanges = {}


class GroupRoutes:
    """The routes below /groups."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        one = Content(gm.AccountGroup)
        return [
            _operation(
                id="list_groups",
                method="GET",
                template="/groups",
                handler=self.list,
                summary="List groups of accounts",
                description="All for administrators, for others those that they are in. Without the members.",
                answers={200: Answer("The groups, by name.", Content(gm.GroupsReply))},
                refusals=(),
            ),
            _operation(
                id="create_group",
                method="POST",
                template="/groups",
                handler=self.create,
                summary="Create a group of accounts (administrators)",
                description="Grants and bucket policies name it as `group:NAME`. Its name is stored in small letters.",
                bodies=(Content(NewGroupBody),),
                answers={201: Answer("The group.", one)},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound, errors.AlreadyExists, errors.Conflict),
            ),
            _operation(
                id="get_group",
                method="GET",
                template=_ONE,
                handler=self.show,
                summary="Get a group with its members",
                description="For administrators and its members; for others it does not exist.",
                answers={200: Answer("The group.", one)},
                refusals=(errors.NotFound,),
            ),
            _operation(
                id="change_group",
                method="PATCH",
                template=_ONE,
                handler=self.change,
                summary="Change who is in a group, and who manages it",
                description=(
                    "For administrators and the group's managers. What its grants give begins and ends at once, at "
                    "every proxy."
                ),
                bodies=(Content(GroupChangeBody),),
                answers={200: Answer("The group.", one)},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
            _operation(
                id="delete_group",
                method="DELETE",
                template=_ONE,
                handler=self.delete,
                summary="Delete a group with the grants to it (administrators)",
                description="Refused while the policy of a bucket names it.",
                answers={204: Answer("Deleted.")},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
        ]

    def list(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(gm.GROUPS, CredentialRequest(request.credential())))

    def create(self, request: RestRequest) -> RawReply:
        credential, body = request.credential(), request.message(NewGroupBody)
        wanted = gm.CreateGroupRequest(credential, body.name, body.description, body.accounts)
        return json_reply(self._directory.call(gm.CREATE_GROUP, wanted), status=201)

    def show(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(gm.GROUP, _named(request)))

    def change(self, request: RestRequest) -> RawReply:
        named, body = _named(request), request.message(GroupChangeBody)
        wanted = gm.ChangeGroupRequest(named.credential, named.name, body.description, body.accounts)
        return json_reply(self._directory.call(gm.CHANGE_GROUP, wanted))

    def delete(self, request: RestRequest) -> RawReply:
        self._directory.call(gm.DELETE_GROUP, _named(request))
        return empty_reply()


def _named(request: RestRequest) -> gm.GroupRequest:
    return gm.GroupRequest(request.credential(), request.segment("group"))
