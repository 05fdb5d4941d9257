"""Joining the cluster: one-time secrets, and certificates for programs on other machines.

The authority signs. This module decides for whom: a new program with an unused join secret, or a program that renews
and has proved its identity with its peer token.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.accounts import credential_hash
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority, PeerIdentity
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Forbidden, SetupError
from lockstep_store.wire.messages.cluster import EnrolReply, EnrolRequest, JoinSecretReply, RenewCertificateRequest

SECRET_PREFIX = "lsj_"  # noqa: S105 - a prefix, not a secret


class Enrolment:
    """Issues join secrets and certificates. `directory_url` is this directory's address for other machines."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        authority: CertificateAuthority,
        storage_keys_file: Path,
        directory_url: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._storage_keys_file = storage_keys_file
        self._directory_url = directory_url

    def join_secret(self, valid_seconds: float) -> JoinSecretReply:
        """Make a secret with which one program may join within `valid_seconds`. Its hash is durable on return."""
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        expires = self._clock.now() + valid_seconds
        hash = credential_hash(secret)
        self._store.write(lambda tx: tx.run(people.INSERT_JOIN_SECRET, secret_hash=hash, expires=expires))
        return JoinSecretReply(secret, self._clock.wall() + valid_seconds, self._authority.ca_pem, self._directory_url)

    def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Issue a certificate, peer token and the storage keys to a new program. Only success uses up the secret."""
        hash = credential_hash(request.secret)
        with self._store.read() as reader:
            self._check(reader.one(people.JOIN_SECRET, hash=hash))
        reply = self._bundle(request.csr_pem, request.role, request.id, request.hosts)

        def use_up(tx: Tx) -> None:
            self._check(tx.one(people.JOIN_SECRET, hash=hash))
            tx.run(people.DELETE_JOIN_SECRET, hash=hash)

        self._store.write(use_up)
        log.info("%s-%s joined the cluster", request.role, request.id)
        return reply

    def renew(self, peer: PeerIdentity, request: RenewCertificateRequest) -> EnrolReply:
        """Issue a new certificate to the calling program, with the current storage keys."""
        return self._bundle(request.csr_pem, peer.role, peer.id, request.hosts)

    def remove_ended(self, tx: Tx) -> None:
        """Delete expired join secrets."""
        tx.run(people.DELETE_ENDED_JOIN_SECRETS, now=self._clock.now())

    def _check(self, row: tuple[float, ...] | None) -> None:
        if row is None:
            raise Forbidden("the join secret is unknown or already used; ask an administrator for a new one")
        if row[0] <= self._clock.now():
            raise Forbidden("the join secret has expired; ask an administrator for a new one")

    def _bundle(self, csr_pem: str, role: str, id: str, hosts: list[str]) -> EnrolReply:
        try:
            storage_keys = self._storage_keys_file.read_text()
        except OSError as error:
            raise SetupError(f"the storage keys in {self._storage_keys_file} cannot be read: {error}") from error
        return EnrolReply(
            ca_pem=self._authority.ca_pem,
            cert_pem=self._authority.sign_request(csr_pem, role, id, hosts),
            peer_token=self._authority.peer_token(role, id),
            storage_keys_json=storage_keys,
            directory_url=self._directory_url,
        )
