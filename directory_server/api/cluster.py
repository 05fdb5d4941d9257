"""Calls about the cluster: its state, joining, draining and removing file servers, and repair reports."""

from __future__ import annotations

from directory_server.components import BOTH, PROXY, Components
from directory_server.metadata.statements import files
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages import authorities as ca
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import programs as pm
from lockstep_store.wire.messages import storage_keys as sk
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class ClusterApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        self._started_at = components.clock.wall()
        enrolment = components.enrolment
        api.serve(cm.CLUSTER, self._cluster, PROXY)
        api.serve(cm.JOIN_SECRET, self._join_secret, PROXY)
        api.serve(pm.PROXY_HEARTBEAT, self._proxy_heartbeat, PROXY)
        api.serve(pm.PROXIES, self._proxies, PROXY)
        api.serve(pm.REVOKE_PROGRAM, self._revoke_program, PROXY)
        api.serve(sk.STORAGE_KEYS, self._storage_keys, PROXY)
        api.serve(sk.ROTATE_STORAGE_KEYS, self._rotate_storage_keys, PROXY)
        api.serve(sk.RETIRE_STORAGE_KEY, self._retire_storage_key, PROXY)
        api.serve(ca.AUTHORITIES, self._authorities, PROXY)
        api.serve(ca.ROTATE_AUTHORITY, self._rotate_authority, PROXY)
        api.serve(ca.RETIRE_AUTHORITY, self._retire_authority, PROXY)
        api.serve(cm.ENROL, self._enrol, PROXY)
        api.serve(cm.RENEW_CERTIFICATE, lambda request, peer: enrolment.renew(peer, request), BOTH)

        api.serve(cm.DRAIN_SERVER, self._drain, PROXY)
        api.serve(cm.REMOVE_SERVER, self._remove, PROXY)
        api.serve(cm.BALANCE, self._balance, PROXY)
        api.serve(cm.REPAIR_REPORT, self._repair_report, PROXY)

    def _join_secret(self, request: cm.JoinSecretRequest, _: PeerIdentity) -> cm.JoinSecretReply:
        person = self._components.accounts.administrator(request.credential)
        reply = self._components.enrolment.join_secret(request)
        invited = f"{request.role} {request.id}".rstrip()
        self._components.audit.note("program invited", person.account, subject=invited, detail=" ".join(request.hosts))
        return reply

    def _enrol(self, request: cm.EnrolRequest, _: PeerIdentity) -> cm.EnrolReply:
        program, audit = f"{request.role} {request.id}", self._components.audit
        try:
            reply = self._components.enrolment.enrol(request)
        except Forbidden as refusal:
            audit.note("join refused", "", subject=program, detail=refusal.detail)
            raise
        audit.note("program joined", "", subject=program)
        return reply

    def _proxy_heartbeat(self, request: pm.ProxyHeartbeatRequest, peer: PeerIdentity) -> pm.ProxyHeartbeatReply:
        reply = self._components.programs.proxy_heartbeat(peer.id, request)
        reply.trust, reply.issuer = self._components.authorities.note_use(peer, request.authorities)
        return reply

    def _proxies(self, request: CredentialRequest, _: PeerIdentity) -> pm.ProxiesReply:
        self._components.accounts.administrator(request.credential)
        return self._components.programs.proxies()

    def _revoke_program(self, request: pm.RevokeProgramRequest, _: PeerIdentity) -> Nothing:
        person = self._components.accounts.administrator(request.credential)
        self._components.programs.revoke(request.role, request.id)
        self._components.audit.note("program revoked", person.account, subject=f"{request.role} {request.id}")
        return Nothing()

    def _storage_keys(self, request: CredentialRequest, _: PeerIdentity) -> sk.StorageKeysReply:
        self._components.accounts.administrator(request.credential)
        return self._components.storage_keys.all()

    def _rotate_storage_keys(self, request: CredentialRequest, _: PeerIdentity) -> sk.StorageKeysReply:
        person = self._components.accounts.administrator(request.credential)
        reply = self._components.storage_keys.rotate()
        self._components.audit.note("storage key rotated", person.account, subject=reply.keys[0].id)
        return reply

    def _retire_storage_key(self, request: sk.RetireStorageKeyRequest, _: PeerIdentity) -> sk.StorageKeysReply:
        person = self._components.accounts.administrator(request.credential)
        reply = self._components.storage_keys.retire(request)
        self._components.audit.note("storage key retired", person.account, subject=request.id)
        return reply

    def _authorities(self, request: CredentialRequest, _: PeerIdentity) -> ca.AuthoritiesReply:
        self._components.accounts.administrator(request.credential)
        return self._components.authorities.all()

    def _rotate_authority(self, request: CredentialRequest, _: PeerIdentity) -> ca.AuthoritiesReply:
        person = self._components.accounts.administrator(request.credential)
        reply = self._components.authorities.rotate()
        self._components.audit.note("certificate authority rotated", person.account, subject=reply.authorities[-1].id)
        return reply

    def _retire_authority(self, request: ca.RetireAuthorityRequest, _: PeerIdentity) -> ca.AuthoritiesReply:
        person = self._components.accounts.administrator(request.credential)
        reply = self._components.authorities.retire(request)
        left_behind = " ".join(f"{one.role} {one.id}" for one in request.without)
        self._components.audit.note(
            "certificate authority retired", person.account, subject=request.id, detail=left_behind
        )
        return reply

    def _cluster(self, request: CredentialRequest, _: PeerIdentity) -> cm.ClusterReply:
        components = self._components
        person = components.accounts.authenticate(request.credential)
        totals = components.totals.latest()
        with components.store.read() as reader:
            locks, waiters = components.locks.counts(reader)
            cursor = files.read_cursor(reader)
        return cm.ClusterReply(
            directory_version=components.version,
            started_at=self._started_at,
            uptime_seconds=components.clock.since_start(),
            copies=components.copies,
            cursor=cursor,
            files=totals.files,
            versions=totals.versions,
            blobs=totals.blobs,
            logical_bytes=totals.logical_bytes,
            locks=locks,
            waiters=waiters,
            file_servers=self._file_servers(),
            repair=components.repair.info(),
            recovery=components.recovery.info(),
            targets=components.targets.list().targets if person.admin else [],
            storage_keys=components.storage_keys.latest().keys if person.admin else [],
            directory=components.condition.info(all_of_it=person.admin),
            proxies=self._member_proxies() if person.admin else [],
            authorities=components.authorities.all().authorities if person.admin else [],
        )

    # ------------------------------------------------------------ what administrators decide

    def _drain(self, request: cm.DrainRequest, _: PeerIdentity) -> cm.FileServerInfo:
        self._components.accounts.administrator(request.credential)
        self._components.draining.drain(request.id, stop=request.stop)
        return next(info for info in self._file_servers() if info.id == request.id)

    def _remove(self, request: cm.RemoveServerRequest, _: PeerIdentity) -> Nothing:
        person = self._components.accounts.administrator(request.credential)
        self._components.draining.remove(request.id, force=request.force)
        self._components.audit.note("program removed", person.account, subject=f"file_server {request.id}")
        return Nothing()

    def _balance(self, request: cm.BalanceRequest, _: PeerIdentity) -> cm.RepairInfo:
        self._components.accounts.administrator(request.credential)
        self._components.repair.balance(not request.stop)
        return self._components.repair.info()

    def _repair_report(self, request: cm.RepairReportRequest, _: PeerIdentity) -> cm.RepairReport:
        self._components.accounts.administrator(request.credential)
        return self._components.repair_reports.report(request)

    def _member_proxies(self) -> list[pm.ProxyInfo]:
        return [one for one in self._components.programs.proxies().proxies if one.state != "removed"]

    def _file_servers(self) -> list[cm.FileServerInfo]:
        """Return every file server with its counted copies."""
        infos = self._components.membership.infos()
        counted = self._components.totals.counted_copies()
        for info in infos:
            info.held_blobs = counted.get(info.id, 0)
            info.drained = info.leaving and self._components.draining.is_drained(info.id)
        return infos
