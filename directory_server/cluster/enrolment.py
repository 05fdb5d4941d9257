"""Joining the cluster: invitations, and certificates for programs on other machines.

The authority signs. This module decides for whom: a new program with an unused invitation, or a member that renews and
has proved its identity with its peer token. Names come from the invitation, never from the program.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.accounts import credential_hash
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority, PeerIdentity
from lockstep_store.runtime.tls.host_names import host_names
from lockstep_store.runtime.tls.identity import SEALING_ROLES
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import BadRequest, Forbidden
from lockstep_store.wire.messages.cluster import (
    EnrolReply,
    EnrolRequest,
    JoinSecretReply,
    JoinSecretRequest,
    RenewCertificateRequest,
)

SECRET_PREFIX = "lsj_"  # noqa: S105 - a prefix, not a secret


class _Invitation(msgspec.Struct):
    """`id` is empty when any file server may join."""

    expires: float
    role: str
    id: str
    hosts: list[str]


class Enrolment:
    """Issues join secrets and certificates.

    `storage_keys` returns the key ring as JSON; `directory_url` the directory's address for other
    machines; with standbys, those of all, separated by commas.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        authority: CertificateAuthority,
        storage_keys: Callable[[], str],
        directory_url: Callable[[], str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._storage_keys = storage_keys
        self._directory_url = directory_url

    def join_secret(self, request: JoinSecretRequest) -> JoinSecretReply:
        """Invite one program: make a secret with which it may join. Its hash is durable on return.

        Raises BadRequest for a proxy without an id and for names that no certificate may have, Conflict when a member
        has that id.
        """
        if request.role != "file_server" and not request.id:
            raise BadRequest("an invitation for a proxy must name its id: only file servers may choose one")
        if any("*" in host for host in request.hosts):
            raise BadRequest("a certificate from the cluster has no wildcard names: name each host")
        host_names(request.hosts)
        if request.id:
            self._authority.programs.refuse_member(request.role, request.id)
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        row = {
            "secret_hash": credential_hash(secret),
            "expires": self._clock.now() + request.valid_seconds,
            "role": request.role,
            "program": request.id,
            "hosts": msgspec.json.encode(request.hosts).decode(),
        }
        self._store.write(lambda tx: tx.run(people.INSERT_JOIN_SECRET, **row))
        expires_at = self._clock.wall() + request.valid_seconds
        return JoinSecretReply(secret, expires_at, self._authority.ca_pem, self._directory_url())

    def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Issue a certificate and a peer token to a new program, and the storage keys if it seals with them.

        The program must be the invited one and no member yet, so an invitation never returns the token of a program
        that runs. Only success uses up the secret.
        """
        hash = credential_hash(request.secret)
        with self._store.read() as reader:
            self._check(reader.one(people.JOIN_SECRET, hash=hash), request)
        self._authority.check_request(request.csr_pem)
        self._authority.programs.refuse_member(request.role, request.id)
        storage_keys = self._storage_keys() if request.role in SEALING_ROLES else ""

        def use_up(tx: Tx) -> _Invitation:
            invitation = self._check(tx.one(people.JOIN_SECRET, hash=hash), request)
            tx.run(people.DELETE_JOIN_SECRET, hash=hash)
            return invitation

        hosts = self._store.write(use_up).hosts
        program = self._authority.programs.join(request.role, request.id, hosts)
        token = self._authority.peer_token(request.role, request.id, program.generation)
        log.info("%s-%s joined the cluster", request.role, request.id)
        return self._reply(request.csr_pem, request.role, request.id, hosts, token, storage_keys)

    def renew(self, peer: PeerIdentity, request: RenewCertificateRequest) -> EnrolReply:
        """Issue a new certificate and peer token to the calling program, with the names that it was invited with."""
        program = self._authority.programs.find(peer.role, peer.id)
        hosts = program.hosts if program is not None else []
        storage_keys = self._storage_keys() if peer.role in SEALING_ROLES else ""
        token = self._authority.peer_token(peer.role, peer.id, peer.generation)
        return self._reply(request.csr_pem, peer.role, peer.id, hosts, token, storage_keys, is_renewal=True)

    def remove_ended(self, tx: Tx) -> None:
        """Delete expired invitations."""
        tx.run(people.DELETE_ENDED_JOIN_SECRETS, now=self._clock.now())

    def _check(self, row: tuple[object, ...] | None, request: EnrolRequest) -> _Invitation:
        if row is None:
            raise Forbidden("the invitation is unknown or already used: ask an administrator for a new one")
        invitation = _Invitation(float(str(row[0])), str(row[1]), str(row[2]), msgspec.json.decode(str(row[3])))
        if invitation.expires <= self._clock.now():
            raise Forbidden("the invitation has expired: ask an administrator for a new one")
        if request.role != invitation.role or invitation.id not in ("", request.id):
            invited = f"{invitation.role} {invitation.id}" if invitation.id else f"a {invitation.role}"
            raise Forbidden(f"the invitation is for {invited}, not for {request.role} {request.id}")
        return invitation

    def _reply(
        self,
        csr_pem: str,
        role: str,
        id: str,
        hosts: list[str],
        peer_token: str,
        storage_keys: str,
        *,
        is_renewal: bool = False,
    ) -> EnrolReply:
        return EnrolReply(
            ca_pem=self._authority.ca_pem,
            cert_pem=self._authority.sign_request(csr_pem, role, id, hosts, is_renewal=is_renewal),
            peer_token=peer_token,
            storage_keys_json=storage_keys,
            directory_url=self._directory_url(),
            revoked_pem=self._authority.revocations().pem,
            links_pem=self._authority.keys.links_pem,
        )
