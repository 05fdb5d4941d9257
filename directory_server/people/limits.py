"""Limits: what a key of a user, a role or a session may do at most, beyond what its account may do.

A user or a role has its own policies, one of which must allow an action. Each policy of a session must allow it too.
None gives more than the account has; `directory_server.access.limits` evaluates them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from directory_server.metadata.statements import identities
from directory_server.metadata.statements.s3_keys import S3KeyRow, find_key
from directory_server.metadata.store import Reader
from lockstep_store.wire.errors import NotLoggedIn


@dataclass(frozen=True, slots=True)
class Limits:
    """`identity` is "user/NAME" or "role/NAME", empty for a session of the account itself.

    `own` are the identity's policy documents, None without an identity; `session` are those of the session.
    """

    account: str
    admin: bool
    """Whether the account is an administrator, of the cluster or its tenant, so that only policies limit the key."""
    key: str
    """The access key's id."""
    identity: str = ""
    id: str = ""
    """The identity's unique id."""
    path: str = "/"
    session_name: str = ""
    own: tuple[str, ...] | None = None
    session: tuple[str, ...] = ()

    @property
    def principal(self) -> str:
        """The identity as policies name it, after `arn:aws:iam::`; that of the account itself without one."""
        return f"{self.account}:{self.identity}" if self.identity else self.account

    @property
    def who(self) -> str:
        """The identity, in messages to people."""
        return f"{self.identity.replace('/', ' ', 1) or 'a session'} of {self.account}"


def limits_of(reader: Reader, access_key_id: str, found: S3KeyRow) -> Limits | None:
    """Return the limits of a key; None for a key with all of its account's rights.

    Raises NotLoggedIn when the identity is gone, or when the key behind a session has ended.
    """
    if found.parent_key:
        _check_parent(reader, found.parent_key)
    if not found.identity and not found.session_name and not found.session_policies:
        return None
    session = tuple(json.loads(found.session_policies)) if found.session_policies else ()
    admin = found.admin or found.tenant_admin
    limits = Limits(found.account, admin, access_key_id, session_name=found.session_name, session=session)
    if not found.identity:
        return limits
    kind, _, name = found.identity.partition("/")
    identity = identities.find(reader, found.account, kind, name)
    if identity is None:
        raise NotLoggedIn(f"the {kind} of this access key was deleted")
    own = identities.documents_of(reader, found.account, kind, identity.name)
    return replace(limits, identity=found.identity, id=identity.id, path=identity.path, own=own)


def limits_of_key(reader: Reader, access_key_id: str) -> Limits | None:
    """Return the limits of a key by its id. Raises NotLoggedIn when it has ended."""
    found = find_key(reader, access_key_id)
    if found is None or found.disabled or not found.active:
        raise NotLoggedIn("the access key of this request was revoked")
    return limits_of(reader, access_key_id, found)


def _check_parent(reader: Reader, parent_key: str) -> None:
    parent = find_key(reader, parent_key)
    if parent is None or parent.disabled or not parent.active:
        raise NotLoggedIn("the access key that this session was made with has ended")
