"""Limits: what a key of a user, a role or a session may do at most, beyond what its account may do.

A user or a role has its own policies, one of which must allow an action. Each policy of a session must allow it too.
None gives more than the account has; `directory_server.access.limits` evaluates them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from directory_server.metadata.statements import identities
from directory_server.metadata.statements.identities import IdentityRow
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
    read_only: bool = False
    """Whether a key that the session was made with is of an account that only reads."""

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
    makers = makers_of(reader, found).values()
    if not found.identity and not found.session_name and not found.session_policies:
        return None
    session = tuple(json.loads(found.session_policies)) if found.session_policies else ()
    admin = found.admin or found.tenant_admin
    limits = Limits(found.account, admin, access_key_id, session_name=found.session_name, session=session)
    limits = replace(limits, read_only=any(maker.read_only for maker in makers))
    identity = _identity_of(reader, found)
    if identity is None:
        return limits
    own = identities.documents_of(reader, found.account, identity.kind, identity.name)
    return replace(limits, identity=found.identity, id=identity.id, path=identity.path, own=own)


def limits_of_key(reader: Reader, access_key_id: str) -> Limits | None:
    """Return the limits of a key by its id. Raises NotLoggedIn when it has ended."""
    found = find_key(reader, access_key_id)
    if found is None or found.disabled or not found.active:
        raise NotLoggedIn("the access key of this request was revoked")
    return limits_of(reader, access_key_id, found)


def makers_of(reader: Reader, found: S3KeyRow) -> dict[str, S3KeyRow]:
    """Return the keys through which a session was made, by id: the one that made it, the one that made that, and so on.

    Raises NotLoggedIn when one of them has ended, or its user or role. None ends before the session's own time is up.
    """
    makers: dict[str, S3KeyRow] = {}
    while found.parent_key:
        maker = find_key(reader, found.parent_key)
        if maker is None or maker.disabled or not maker.active:
            raise NotLoggedIn("the access key that this session was made with has ended")
        _identity_of(reader, maker)
        makers[found.parent_key] = found = maker
    return makers


def _identity_of(reader: Reader, found: S3KeyRow) -> IdentityRow | None:
    """Return the user or role of a key; NotLoggedIn if it was deleted."""
    if not found.identity:
        return None
    kind, _, name = found.identity.partition("/")
    identity = identities.find(reader, found.account, kind, name)
    if identity is None:
        raise NotLoggedIn(f"the {kind} of this access key was deleted")
    return identity
