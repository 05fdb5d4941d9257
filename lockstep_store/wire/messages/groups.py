"""Groups of accounts. A grant or a bucket's policy names one as `group:NAME`, and means its members at that moment."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Description, Message, Nothing, Text

GROUP_PREFIX = "group:"
"""Before a group's name where accounts are named. No account's name has a colon."""
MAX_GROUPS = 1000
MAX_GROUP_MEMBERS = 1000
"""Of one group."""

GroupRole = Literal["member", "manager"]
"""A manager is a member who also changes the members."""
GroupChanges = Annotated[dict[Text, GroupRole | None], Meta(max_length=MAX_GROUP_MEMBERS)]


def is_group(name: str) -> bool:
    """Whether a name that stands in place of an account's is that of a group. (`group:user/x` is a service account.)"""
    return name.startswith(GROUP_PREFIX) and "/" not in name


class AccountGroup(Message):
    """A group with its members by name. In lists of groups without them: `members` is how many there are."""

    name: str
    members: int
    created_at: float
    description: str = ""
    role: GroupRole | None = None
    """The caller's own."""
    accounts: dict[str, GroupRole] = {}


class GroupsReply(Message):
    """Every group for administrators; for others those that they are in."""

    groups: list[AccountGroup]


class GroupRequest(Message):
    """Administrators and its members: a group. To others it does not exist."""

    credential: Credential
    name: Text


class CreateGroupRequest(Message):
    """Administrator: make a group. AlreadyExists for a taken name."""

    credential: Credential
    name: Text
    description: Description = ""
    accounts: GroupChanges = {}


class ChangeGroupRequest(Message):
    """Administrators and the group's managers: change what is given. An account with None leaves the group."""

    credential: Credential
    name: Text
    description: Description | None = None
    accounts: GroupChanges = {}


GROUPS = Call("/v1/groups", CredentialRequest, GroupsReply)
GROUP = Call("/v1/groups/show", GroupRequest, AccountGroup)
CREATE_GROUP = Call("/v1/groups/create", CreateGroupRequest, AccountGroup)
CHANGE_GROUP = Call("/v1/groups/change", ChangeGroupRequest, AccountGroup)
DELETE_GROUP = Call("/v1/groups/delete", GroupRequest, Nothing)
