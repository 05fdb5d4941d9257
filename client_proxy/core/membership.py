"""The proxy's membership: heartbeats, which the directory answers with revoked certificates and new authorities."""

from __future__ import annotations

from collections.abc import Callable

from lockstep_store.runtime.peers.protocols import MembershipKeeper
from lockstep_store.runtime.tracing import log
from lockstep_store.wire import protocol_versions
from lockstep_store.wire.errors import Conflict, LockstepError
from lockstep_store.wire.messages.programs import ProxyHeartbeatReply, ProxyHeartbeatRequest

RETRY_SECONDS = 1.0
REMOVED_SECONDS = 10.0


class ProxyMembership:
    """Sends the proxy's heartbeats: `step` is a background job, and `ask` makes the PROXY_HEARTBEAT call."""

    def __init__(
        self,
        ask: Callable[[ProxyHeartbeatRequest], ProxyHeartbeatReply],
        keeper: MembershipKeeper,
        *,
        url: str,
        version: str,
    ) -> None:
        self._ask = ask
        self._keeper = keeper
        self._url = url
        self._version = version
        self.problem = ""
        self.is_incompatible = False
        """Whether the directory's release and this one cannot work together; `problem` says why."""

    def step(self) -> float:
        """Send a heartbeat and act on its reply. Returns the seconds until the next."""
        try:
            keeper = self._keeper
            reply = self._ask(
                ProxyHeartbeatRequest(
                    self._url,
                    self._version,
                    keeper.revoked_number,
                    keeper.authorities,
                    protocol_versions.PROTOCOL,
                    protocol_versions.OLDEST,
                )
            )
            own_name = f"this client proxy ({self._version})"
            why = protocol_versions.why_not("the directory server", reply.protocol, reply.oldest_protocol, own_name)
            if why:
                raise Conflict(why, incompatible=True)
        except LockstepError as error:
            self.is_incompatible = bool(error.facts.get("incompatible"))
            lasts = self.is_incompatible or bool(error.facts.get("removed"))
            if lasts and str(error) != self.problem:
                log.error("%s", error)
            self.problem = str(error) if lasts else ""
            return REMOVED_SECONDS if lasts else RETRY_SECONDS
        self.problem, self.is_incompatible = "", False
        self._keeper.learn(reply.revoked_pem, reply.trust, reply.issuer)
        return reply.heartbeat_seconds
