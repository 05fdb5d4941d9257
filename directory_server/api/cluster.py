"""The calls about the cluster itself: its state, who joins, which file servers leave, and what repair has to say."""

from __future__ import annotations

from directory_server.components import BOTH, PROXY, Parts
from directory_server.metadata.statements import files
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m


class ClusterApi:
    """Wires `parts` to `api`."""

    def __init__(self, api: Api, parts: Parts) -> None:
        self._parts = parts
        self._started_at = parts.clock.wall()
        enrolment = parts.enrolment
        api.serve(cm.CLUSTER, self._cluster, PROXY)
        api.serve(cm.JOIN_SECRET, self._join_secret, PROXY)
        api.serve(cm.ENROL, lambda request, _: enrolment.enrol(request), PROXY)
        api.serve(cm.RENEW_CERTIFICATE, lambda request, peer: enrolment.renew(peer, request), BOTH)

        api.serve(cm.DRAIN_SERVER, self._drain, PROXY)
        api.serve(cm.REMOVE_SERVER, self._remove, PROXY)
        api.serve(cm.BALANCE, self._balance, PROXY)
        api.serve(cm.REPAIR_REPORT, self._repair_report, PROXY)

    def _join_secret(self, request: cm.JoinSecretRequest, _: PeerIdentity) -> cm.JoinSecretReply:
        self._parts.accounts.administrator(request.credential)
        return self._parts.enrolment.join_secret(request.valid_seconds)

    def _cluster(self, request: m.CredentialRequest, _: PeerIdentity) -> cm.ClusterReply:
        parts = self._parts
        person = parts.accounts.authenticate(request.credential)
        totals = parts.totals.latest()
        with parts.store.read() as reader:
            locks, waiters = parts.locks.counts(reader)
            cursor = files.read_cursor(reader)
        return cm.ClusterReply(
            directory_version=parts.version,
            started_at=self._started_at,
            uptime_seconds=parts.clock.since_start(),
            copies=parts.copies,
            cursor=cursor,
            files=totals.files,
            versions=totals.versions,
            blobs=totals.blobs,
            logical_bytes=totals.logical_bytes,
            locks=locks,
            waiters=waiters,
            file_servers=self._file_servers(),
            repair=parts.repair.info(),
            recovery=parts.recovery.info(),
            targets=parts.targets.list().targets if person.admin else [],
        )

    # ------------------------------------------------------------ what administrators decide

    def _drain(self, request: cm.DrainRequest, _: PeerIdentity) -> cm.FileServerInfo:
        self._parts.accounts.administrator(request.credential)
        self._parts.draining.drain(request.id, stop=request.stop)
        return next(info for info in self._file_servers() if info.id == request.id)

    def _remove(self, request: cm.RemoveServerRequest, _: PeerIdentity) -> m.Nothing:
        self._parts.accounts.administrator(request.credential)
        self._parts.draining.remove(request.id, force=request.force)
        return m.Nothing()

    def _balance(self, request: cm.BalanceRequest, _: PeerIdentity) -> cm.RepairInfo:
        self._parts.accounts.administrator(request.credential)
        self._parts.repair.balance(not request.stop)
        return self._parts.repair.info()

    def _repair_report(self, request: cm.RepairReportRequest, _: PeerIdentity) -> cm.RepairReport:
        self._parts.accounts.administrator(request.credential)
        return self._parts.repair_reports.report(request)

    def _file_servers(self) -> list[cm.FileServerInfo]:
        """Every server with its place in the directory's books."""
        infos = self._parts.membership.infos()
        counted = self._parts.totals.counted_copies()
        settled = self._parts.repair.is_settled()
        for info in infos:
            info.held_blobs = counted.get(info.id, 0)
            info.drained = info.state == "draining" and not info.held_blobs and settled
        return infos
