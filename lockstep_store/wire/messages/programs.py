"""Programs as members of the cluster: proxies' heartbeats, and ending a membership."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Nothing, Text
from lockstep_store.wire.protocol_versions import FIRST

RevocableRole = Literal["file_server", "client_proxy"]
ListNumber = Annotated[int, Meta(ge=-1)]


class ProxyHeartbeatRequest(Message):
    """A proxy shows that it runs. `revoked_number` is that of its list of revoked certificates; -1: it has none."""

    url: Text
    version: Text = ""
    revoked_number: ListNumber = -1
    authorities: AuthorityUse | None = None
    """None: it cannot take over a new certificate authority."""
    protocol: int = FIRST
    """The version of the protocol that the sender speaks, and the oldest that it works with."""
    oldest_protocol: int = FIRST


class ProxyHeartbeatReply(Message):
    heartbeat_seconds: float
    revoked_pem: str = ""
    """The signed list of revoked certificates; empty when the caller has it already."""
    trust: TrustNews | None = None
    """The certificate authorities; None when the caller has them already."""
    issuer: str = ""
    """The id of the authority that issues the caller's certificates now."""
    protocol: int = FIRST
    """The version of the protocol that the sender speaks, and the oldest that it works with."""
    oldest_protocol: int = FIRST


class ProxyInfo(Message):
    id: str
    state: Literal["up", "down", "removed"]
    url: str = ""
    version: str = ""
    hosts: list[str] = []
    """The names that it was invited with."""
    seconds_since_heartbeat: float | None = None
    """None when it has sent no heartbeat since the directory's start."""


class ProxiesReply(Message):
    proxies: list[ProxyInfo]


class RevokeProgramRequest(Message):
    """Administrator: end a program's membership. Its token and certificates are void from the reply on."""

    credential: Credential
    role: RevocableRole
    id: Text


PROXY_HEARTBEAT = Call("/v1/proxies/heartbeat", ProxyHeartbeatRequest, ProxyHeartbeatReply)
PROXIES = Call("/v1/proxies", CredentialRequest, ProxiesReply)
REVOKE_PROGRAM = Call("/v1/programs/revoke", RevokeProgramRequest, Nothing)
