"""Calls about the directory's own metadata: inventories, checks, backups, and recovery after a restore."""

from __future__ import annotations

import msgspec

from directory_server.components import FILE_SERVER, PROXY, Components
from lockstep_store.runtime.http.api import Api, RawReply, RawRequest
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages import recovery as rm
from lockstep_store.wire.messages import redo
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.base import CredentialRequest, Nothing

_MAX_REQUEST_BYTES = 4096
_BACKUP = Call(rm.BACKUP_PATH, CredentialRequest, Nothing)


class MaintenanceApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._api = api
        self._components = components
        inventories, recovery = components.inventories, components.recovery
        api.serve(s.INVENTORY, lambda request, peer: inventories.compare(peer.id, request), FILE_SERVER)
        api.serve(s.FOUND, lambda request, peer: recovery.found(peer.id, request), FILE_SERVER)
        api.serve(rm.FSCK, self._fsck, PROXY)
        api.serve(rm.FSCK_REPORT, self._fsck_report, PROXY)
        api.serve(rm.RECOVERY, self._recovery, PROXY)
        api.serve(rm.RECOVER, self._recover, PROXY)
        api.serve(redo.FOLLOW_REDO, self._follow, PROXY)
        api.serve(s.REDO, self._redo, FILE_SERVER)
        api.serve(s.RESEAL, lambda request, _: components.redo_log.reseal(request), FILE_SERVER)
        api.serve(s.REPLAY, lambda request, peer: components.late_records.take(peer.id, request), FILE_SERVER)
        api.serve_raw("POST", rm.BACKUP_PATH, self._backup, roles=PROXY)

    def _fsck(self, request: rm.FsckRequest, _: PeerIdentity) -> Nothing:
        self._components.accounts.administrator(request.credential)
        self._components.fsck.start(deep=request.deep)
        return Nothing()

    def _fsck_report(self, request: CredentialRequest, _: PeerIdentity) -> rm.FsckReport:
        self._components.accounts.administrator(request.credential)
        return msgspec.structs.replace(self._components.fsck.report(), recovery=self._components.recovery.info())

    def _recovery(self, request: CredentialRequest, _: PeerIdentity) -> rm.RecoveryReply:
        self._components.accounts.administrator(request.credential)
        return rm.RecoveryReply(self._components.recovery.info())

    def _recover(self, request: rm.RecoverRequest, _: PeerIdentity) -> rm.RecoveryReply:
        administrator = self._components.accounts.administrator(request.credential)
        return rm.RecoveryReply(self._components.recovery.decide(request, administrator.account))

    def _redo(self, request: redo.RedoRequest, peer: PeerIdentity) -> redo.RedoReply:
        # Whoever has not registered may know of newer metadata: its records must not give way to older metadata's.
        self._components.epochs.demand_registered(peer.id)
        return self._components.redo_log.read(request.after, sealed=True)

    def _follow(self, request: redo.FollowRequest, _: PeerIdentity) -> redo.RedoReply:
        self._components.accounts.administrator(request.credential)
        reply = self._components.redo_log.read(request.after, sealed=False)
        self._components.condition.note_followed(reply.newest.sequence - request.after.sequence)
        return reply

    def _backup(self, request: RawRequest) -> RawReply:
        if (admit := self._api.admit) is not None:  # a raw call, so nobody else asked
            admit(rm.BACKUP_PATH)
        asked = _BACKUP.decode_request(request.body(_MAX_REQUEST_BYTES))
        self._components.accounts.administrator(asked.credential)
        return self._components.backups.stream()
