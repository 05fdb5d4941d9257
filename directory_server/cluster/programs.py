"""The programs that may call: their tokens, the revocation of removed ones, and the proxies that were heard of.

Memberships lie with the authority (`runtime.tls.program_registry`), so a restored backup brings no program back. Which
file servers store data is another matter: see `membership`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, get_args

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.versions import refuse_other_protocols
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.program_registry import Program
from lockstep_store.runtime.tracing import log
from lockstep_store.wire import protocol_versions
from lockstep_store.wire.messages.programs import (
    ProxiesReply,
    ProxyHeartbeatReply,
    ProxyHeartbeatRequest,
    ProxyInfo,
    RevocableRole,
)

PROXY_HEARTBEAT_SECONDS = 1.0
DOWN_SECONDS = 10.0


@dataclass(frozen=True)
class _Heard:
    request: ProxyHeartbeatRequest
    at: float
    """Directory time."""


class ProgramMembers:
    """Registers, lists and revokes programs. Thread-safe. Caches revocations, because only this process revokes."""

    def __init__(self, clock: DirectoryClock, authority: CertificateAuthority) -> None:
        self._clock = clock
        self._authority = authority
        self._guard = threading.Lock()
        self._proxies: dict[str, _Heard] = {}
        self._list = authority.revocations()

    def revoke(self, role: str, id: str) -> None:
        """End a program's membership, here at once and elsewhere with the next heartbeat. Safe to repeat.

        Raises NotFound for a program that never was a member.
        """
        self._authority.revoke(role, id)
        with self._guard:
            self._list = self._authority.revocations()
        log.warning("the membership of %s-%s was ended", role, id)

    def revoke_if_known(self, role: str, id: str) -> None:
        """The same for a program that may never have been a member, such as one from before there was a list."""
        if self._authority.programs.find(role, id) is not None:
            self.revoke(role, id)

    def news(self, number: int) -> str:
        """The list of revoked certificates for a program that has list `number`; empty when that is the latest."""
        latest = self._list
        return latest.pem if latest.number > number else ""

    def proxy_heartbeat(self, id: str, request: ProxyHeartbeatRequest) -> ProxyHeartbeatReply:
        """Note that a proxy runs, and return what it must know about revoked programs. Conflict if it cannot work with
        this directory."""
        refuse_other_protocols(f"client proxy {id}", request)
        with self._guard:
            self._proxies[id] = _Heard(request, self._clock.now())
        return ProxyHeartbeatReply(
            PROXY_HEARTBEAT_SECONDS,
            self.news(request.revoked_number),
            protocol=protocol_versions.PROTOCOL,
            oldest_protocol=protocol_versions.OLDEST,
        )

    def members(self) -> list[tuple[RevocableRole, str]]:
        """The role and id of every file server and proxy that is a member."""
        members = [one for one in self._authority.programs.all() if one.is_member]
        return [(role, one.id) for role in get_args(RevocableRole) for one in members if one.role == role]

    def proxies(self) -> ProxiesReply:
        """Every proxy that was ever a member, by id."""
        known = [one for one in self._authority.programs.all() if one.role == "client_proxy"]
        return ProxiesReply([self._info(one) for one in known])

    def _info(self, program: Program) -> ProxyInfo:
        heard = self._proxies.get(program.id)
        if heard is None:
            return ProxyInfo(program.id, "down" if program.is_member else "removed", hosts=program.hosts)
        silent = self._clock.now() - heard.at
        state: Literal["up", "down", "removed"] = "up" if silent < DOWN_SECONDS else "down"
        if not program.is_member:
            state = "removed"
        return ProxyInfo(program.id, state, heard.request.url, heard.request.version, program.hosts, silent)
