"""Access to a file or a folder: who has it, why, and the grants that give it to accounts, groups or everybody.

`group:NAME` in place of an account is the members of a group (see `groups`).

Grants, the bucket's policy, its access control lists and its sharing are one model: the same function judges them for
every door.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Bucket, Credential, CredentialRequest, Message, PathText, Text
from lockstep_store.wire.messages.s3 import SettingText

EVERYBODY = ":everybody"
"""In place of an account: everybody, with an account or without. No account's name has a colon."""
ANY_ACCOUNT = ":accounts"
"""In explanations: whoever has an account, also one that no rule names."""
MAX_ENTRIES = 500

AccessLevel = Literal["read", "write", "manage"]
"""Each includes the one before. `manage` also deletes versions for good, and changes grants at and below its path."""
AccessGround = Literal[
    "owner", "administrator", "policy", "grant", "shared", "acl", "denied", "read-only", "limits", "nothing"
]
"""What decided. The first six allow."""
ALLOWING: frozenset[AccessGround] = frozenset({"owner", "administrator", "policy", "grant", "shared", "acl"})
MAX_DECISIONS = 1000


class GrantEntry(Message):
    """What a grant at one path gives to an account, a group (`group:NAME`) or EVERYBODY; None removes it."""

    account: Text
    level: AccessLevel | None


class PlacedGrant(Message):
    """A grant, with the file or folder that it is made for."""

    path: str
    account: str
    level: AccessLevel


class AccessOf(Message):
    """What one account may do, and what decides that.

    `levels` are those that it has. `ground` is what gives the first of them, or what refuses it; `because` says it in
    words. `conditional`: a policy's condition on the request (an address, a time) can change it. With a group as the
    account: a member of it, and of no other. `group` is the group whose member the account is, if that decides.
    """

    account: str
    levels: list[AccessLevel]
    ground: AccessGround
    because: str
    conditional: bool = False
    group: str = ""


class AccessRequest(Message):
    """Who may do what with a file or folder. With `account` only that one, which may always ask about itself."""

    credential: Credential
    bucket: Bucket
    path: PathText = ""
    account: Text = ""


class AccessReply(Message):
    bucket: str
    path: str
    owner: str
    shared: bool
    public: bool
    """Whether people without an account may read it."""
    grants: list[PlacedGrant]
    """Those that concern the path: its own, and those of the folders that it is in."""
    people: list[AccessOf]
    """The owner, administrators, whoever a rule names, the members of groups that one names, EVERYBODY and
    ANY_ACCOUNT."""
    may_change: bool = False


class SetAccessRequest(Message):
    """Change the grants of exactly this path; those of folders above it stay. With `replace`, others of it end."""

    credential: Credential
    bucket: Bucket
    path: PathText
    grants: Annotated[list[GrantEntry], Meta(max_length=MAX_ENTRIES)]
    replace: bool = True


class PreviewPolicyRequest(Message):
    """Who could do what with a file or folder if this were the bucket's policy; None: if it had none. Changes nothing,
    and is for those who may set the policy."""

    credential: Credential
    bucket: Bucket
    path: PathText = ""
    policy: SettingText | None = None


class SharedWithMe(Message):
    """A file or folder in somebody else's bucket that a grant names the caller for, or a group of the caller's."""

    bucket: str
    path: str
    owner: str
    level: AccessLevel
    group: str = ""


class SharedWithMeReply(Message):
    items: list[SharedWithMe]


class DecisionCount(Message, omit_defaults=False):
    """How often an action in a bucket was allowed or denied on a ground. `bucket` is empty for further buckets, which
    are counted together."""

    bucket: str
    action: str
    result: Literal["allowed", "denied"]
    ground: AccessGround
    count: int


class DecisionsRequest(Message):
    """Administrator: the decisions about access, in one bucket or all."""

    credential: Credential
    bucket: Annotated[str, Meta(max_length=63)] = ""


class DecisionsReply(Message, omit_defaults=False):
    """Decisions since the directory's start at `since_at`. `decisions` are the largest counts, `denied_most` those of
    what was denied; both the largest first."""

    since_at: float
    allowed: int
    denied: int
    decisions: list[DecisionCount]
    denied_most: list[DecisionCount]


ACCESS = Call("/v1/access", AccessRequest, AccessReply)
SET_ACCESS = Call("/v1/access/set", SetAccessRequest, AccessReply)
PREVIEW_POLICY = Call("/v1/access/preview", PreviewPolicyRequest, AccessReply)
SHARED_WITH_ME = Call("/v1/access/shared-with-me", CredentialRequest, SharedWithMeReply)
DECISIONS = Call("/v1/decisions", DecisionsRequest, DecisionsReply)
