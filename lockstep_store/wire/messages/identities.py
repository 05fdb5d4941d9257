"""Users, roles and groups below accounts, as AWS's IAM has them, and sessions, as its STS makes them.

A credential here is a proof that is signed for the service `iam` or `sts` (wire/messages/s3.py); for identities also a
person's log-in or API key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import (
    MAX_LISTING,
    Credential,
    CredentialRequest,
    Description,
    Message,
    Nothing,
    Text,
)
from lockstep_store.wire.messages.s3 import AccessKeyId, S3KeyInfo, S3KeysReply

MAX_POLICY_CHARACTERS = 20 * 1024
SELF = "self"
"""The role that everybody may take: one's own rights, for a session policy to narrow."""

PolicyText = Annotated[str, Meta(min_length=1, max_length=MAX_POLICY_CHARACTERS)]
SessionName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_+=,.@-]*$")]


class CallerReply(Message):
    """Who signed a request."""

    account: str
    arn: str
    id: str


class NewSessionRequest(Message):
    """Make a temporary key for `seconds`; with `role`, the ARN of a role, one with that role's rights.

    Each of `policies` narrows it further. `keys` are condition keys of the request, in lower case, with their values.
    """

    credential: Credential
    seconds: Annotated[float, Meta(ge=900, le=129_600)]
    role: Annotated[str, Meta(max_length=2048)] = ""
    session_name: SessionName = ""
    policies: Annotated[list[PolicyText], Meta(max_length=8)] = []
    keys: dict[str, list[str]] = {}


class NewSession(Message):
    """A temporary key with its secret and session token, and who signs with it."""

    key: S3KeyInfo
    signer: CallerReply


class WebIdentityRequest(Message):
    """Make a temporary key with a role's rights for whom an OpenID Connect provider vouches with `token`."""

    role: Annotated[str, Meta(max_length=2048)]
    session_name: SessionName
    token: Annotated[str, Meta(max_length=20_000)]
    seconds: Annotated[float, Meta(ge=900, le=43_200)] = 3600.0
    policies: Annotated[list[PolicyText], Meta(max_length=8)] = []
    keys: dict[str, list[str]] = {}
    address: Text = ""


class WebIdentitySession(Message):
    """A temporary key, who signs with it, and what the token says."""

    key: S3KeyInfo
    signer: CallerReply
    subject: str
    audience: str
    issuer: str


CALLER = Call("/v1/identities/caller", CredentialRequest, CallerReply)
NEW_SESSION = Call("/v1/identities/session", NewSessionRequest, NewSession)
WEB_IDENTITY_SESSION = Call("/v1/identities/web-identity-session", WebIdentityRequest, WebIdentitySession)

# ---------------------------------------------------------------- users, roles and groups

IdentityKind = Literal["user", "role", "group"]
IdentityName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_+=,.@-]+$")]
UserName = Annotated[str, Meta(max_length=128)]
"""A user of the caller's account; empty, or the account's own name, for the account itself."""
IdentityPath = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^/([\x21-\x7e]+/)?$")]
MAX_SESSION_SECONDS = 43_200.0
MAX_KEY_SECONDS = 366 * 86_400.0
FIRST_POLICY = "policy"
"""The name of the policy that a service account is created with."""


class IdentityInfo(Message):
    """A user, role or group. `trust` and `max_session_seconds` are those of a role."""

    kind: IdentityKind
    name: str
    id: str
    arn: str
    path: str
    created_at: float
    description: str = ""
    trust: str = ""
    max_session_seconds: float = 0.0


class IdentitiesReply(Message):
    """A page by name; `more` follow after its last name."""

    identities: list[IdentityInfo]
    more: bool = False


class IdentitiesRequest(Message):
    """The account's identities of a kind whose paths begin with `path_prefix`, after the name `after`."""

    credential: Credential
    kind: IdentityKind
    path_prefix: Text = "/"
    after: UserName = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = 100


class IdentityRequest(Message):
    """One identity of the caller's account; a user without a name is the caller."""

    credential: Credential
    kind: IdentityKind
    name: UserName = ""


class NewIdentityRequest(Message):
    """Create a user, a group, or a role that `trust` says who may take; with inline `policies`, by name."""

    credential: Credential
    kind: IdentityKind
    name: IdentityName
    path: IdentityPath = "/"
    description: Description = ""
    trust: Annotated[str, Meta(max_length=MAX_POLICY_CHARACTERS)] = ""
    max_session_seconds: Annotated[float, Meta(ge=3600, le=MAX_SESSION_SECONDS)] = 3600.0
    policies: dict[IdentityName, PolicyText] = {}


class DeleteIdentityRequest(IdentityRequest):
    """Delete an identity; with `everything`, also its policies, keys and memberships, which otherwise prevent it."""

    everything: bool = False


class ServiceAccountsReply(Message):
    """The users of an account, by name."""

    service_accounts: list[IdentityInfo]


class ServiceAccountInfo(Message):
    """A user with its inline policies, documents by name, and its keys without secrets."""

    identity: IdentityInfo
    policies: dict[str, str]
    keys: list[S3KeyInfo]
    groups: list[str] = []


class ChangeRoleRequest(Message):
    """Change what is not None of a role."""

    credential: Credential
    name: IdentityName
    description: Description | None = None
    trust: PolicyText | None = None
    max_session_seconds: Annotated[float, Meta(ge=3600, le=MAX_SESSION_SECONDS)] | None = None


class IdentityPolicyRequest(Message):
    """One inline policy of an identity."""

    credential: Credential
    kind: IdentityKind
    name: IdentityName
    policy: IdentityName


class PutIdentityPolicyRequest(IdentityPolicyRequest):
    """Create or replace an inline policy."""

    document: PolicyText


class IdentityPoliciesReply(Message):
    """Names, in order."""

    policies: list[str]


class IdentityPolicyReply(Message):
    document: str


class UserKeysRequest(Message):
    """The keys of a user of the caller's account."""

    credential: Credential
    user: UserName = ""


class NewUserKeyRequest(Message):
    """Create a key for a user; with `valid_seconds` it expires. It needs no session token."""

    credential: Credential
    user: UserName = ""
    valid_seconds: Annotated[float, Meta(ge=60, le=MAX_KEY_SECONDS)] | None = None


class UserKeyRequest(Message):
    """One key of a user."""

    credential: Credential
    access_key_id: AccessKeyId
    user: UserName = ""


class UserKeyStateRequest(UserKeyRequest):
    """Activate or deactivate a key. Its sessions are inactive with it."""

    active: bool = True


class GroupMemberRequest(Message):
    """A user in a group."""

    credential: Credential
    group: IdentityName
    user: IdentityName


IDENTITIES = Call("/v1/identities", IdentitiesRequest, IdentitiesReply)
IDENTITY = Call("/v1/identities/get", IdentityRequest, IdentityInfo)
CREATE_IDENTITY = Call("/v1/identities/create", NewIdentityRequest, IdentityInfo)
CHANGE_ROLE = Call("/v1/identities/change-role", ChangeRoleRequest, IdentityInfo)
DELETE_IDENTITY = Call("/v1/identities/delete", DeleteIdentityRequest, Nothing)
SERVICE_ACCOUNT = Call("/v1/identities/service-account", IdentityRequest, ServiceAccountInfo)
IDENTITY_POLICIES = Call("/v1/identities/policies", IdentityRequest, IdentityPoliciesReply)
IDENTITY_POLICY = Call("/v1/identities/policies/get", IdentityPolicyRequest, IdentityPolicyReply)
PUT_IDENTITY_POLICY = Call("/v1/identities/policies/put", PutIdentityPolicyRequest, Nothing)
DELETE_IDENTITY_POLICY = Call("/v1/identities/policies/delete", IdentityPolicyRequest, Nothing)
USER_KEYS = Call("/v1/identities/keys", UserKeysRequest, S3KeysReply)
CREATE_USER_KEY = Call("/v1/identities/keys/create", NewUserKeyRequest, S3KeyInfo)
CHANGE_USER_KEY = Call("/v1/identities/keys/change", UserKeyStateRequest, Nothing)
DELETE_USER_KEY = Call("/v1/identities/keys/delete", UserKeyRequest, Nothing)
GROUP_MEMBERS = Call("/v1/identities/members", IdentityRequest, IdentitiesReply)
GROUPS_OF_USER = Call("/v1/identities/groups-of-user", IdentityRequest, IdentitiesReply)
ADD_GROUP_MEMBER = Call("/v1/identities/members/add", GroupMemberRequest, Nothing)
REMOVE_GROUP_MEMBER = Call("/v1/identities/members/remove", GroupMemberRequest, Nothing)
