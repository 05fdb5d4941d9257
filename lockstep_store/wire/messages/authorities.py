"""The cluster's certificate authorities: which each program trusts and uses, and their rotation."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Text

AUTHORITIES_HEADER = "X-Lockstep-Authorities"
"""In a proxy's replies: the ids of the authorities to trust, separated by spaces."""

AuthorityId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
"""The first 16 hex digits of the SHA-256 fingerprint of the authority's certificate."""


class AuthorityUse(Message):
    """Which authorities a program trusts, and which one issued its certificate."""

    trusted: list[AuthorityId]
    """Those in force for all its connections, incoming and outgoing."""
    issuer: Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")] = ""
    """Empty when it is an authority that the program does not trust."""


class TrustNews(Message):
    """The authorities to trust from now on (PEM), the one that issues certificates first."""

    ca_pem: str
    links_pem: str = ""
    """For each rotation of the past, the new authority's key, certified by the one before."""
    revoked_pem: str = ""
    """The list of revoked certificates, signed by each of them."""


class AuthorityInfo(Message):
    """A certificate authority of the cluster, without its key."""

    id: AuthorityId
    state: Literal["next", "current", "old", "leaving"]
    """`next`: programs learn to trust it. `current`: it issues certificates. `old`: it is still trusted. `leaving`: it
    was retired, and programs are about to stop trusting it."""
    fingerprint: str
    """SHA-256, in hex."""
    subject: str
    created_at: float
    """Seconds since 1970."""
    expires_at: float
    needed_by: list[str] = []
    """For an old one: the programs that still need it and why, each as a clause."""
    waiting_for: list[str] = []
    """For the next one: the programs that do not trust it yet, each as a clause."""
    vouches: bool = True
    """Whether clients that trust only it also accept the certificates of the authority that follows."""


class AuthoritiesReply(Message):
    """The authorities that are trusted, the one that issues certificates first."""

    authorities: list[AuthorityInfo]


class ProgramName(Message):
    """A file server or a proxy."""

    role: Literal["file_server", "client_proxy"]
    id: Text


class RetireAuthorityRequest(Message):
    """Administrator: stop trusting an old authority, and delete its key.

    Conflict while programs need it that are not named in `without`. Those are left behind: they are revoked.
    """

    credential: Credential
    id: Text
    without: list[ProgramName] = []


AUTHORITIES = Call("/v1/authorities", CredentialRequest, AuthoritiesReply)
ROTATE_AUTHORITY = Call("/v1/authorities/rotate", CredentialRequest, AuthoritiesReply)
RETIRE_AUTHORITY = Call("/v1/authorities/retire", RetireAuthorityRequest, AuthoritiesReply)
