"""Calls from file servers: registration, heartbeats, commits, and reports about their copies."""

from __future__ import annotations

from directory_server.cluster.versions import refuse_other_protocols
from directory_server.components import BOTH, FILE_SERVER, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire import protocol_versions
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.redo import RedoPlace
from lockstep_store.wire.tickets import TicketSigner


class HolderApi:
    """Serves the holders' calls from `components`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        self._ticket_key_id = TicketSigner(bytes.fromhex(components.ticket_key)).key_id
        repair = components.repair
        api.serve(s.REGISTER, self._register, FILE_SERVER)
        api.serve(s.HEARTBEAT, self._heartbeat, FILE_SERVER)
        api.serve(s.COMMIT, self._commit, FILE_SERVER)
        api.serve(s.HELD, lambda request, peer: s.HeldReply(repair.held(peer.id, request.digests)), FILE_SERVER)
        api.serve(s.COLLECT, self._collect, FILE_SERVER)
        api.serve(s.DAMAGED, self._damaged, BOTH)

    def _register(self, request: s.RegisterRequest, peer: PeerIdentity) -> s.RegisterReply:
        refuse_other_protocols(f"file server {peer.id}", request)
        membership = self._components.membership
        self._components.epochs.compare(peer.id, request)
        if request.blobs and not membership.knows(peer.id, request.store_id):
            self._components.recovery.keep_unknown(peer.id)
        self._components.recovery.note_fence(peer.id, max(request.highest_fence, request.seen.lock_number))
        membership.register(peer.id, request)
        self._components.epochs.note_registered(peer.id)
        now = self._components.clock.now()
        return s.RegisterReply(
            self._components.ticket_key,
            now,
            membership.timing.heartbeat_seconds,
            protocol=protocol_versions.PROTOCOL,
            oldest_protocol=protocol_versions.OLDEST,
        )

    def _heartbeat(self, request: s.HeartbeatRequest, peer: PeerIdentity) -> s.HeartbeatReply:
        components = self._components
        if request.ticket_key_id not in ("", self._ticket_key_id):
            return s.HeartbeatReply(False)  # restored from a backup, this directory signs with a key of its own
        if not components.epochs.has_registered(peer.id) or not components.membership.heartbeat(peer.id, request):
            return s.HeartbeatReply(False)
        components.late_records.step()
        components.inventories.note_done(peer.id, request.inventory_done)
        orders = components.repair.orders_for(peer.id)
        inventory = components.inventories.order_for(peer.id)
        if inventory is None and (owed := components.membership.owed_inventory(peer.id)):
            inventory = s.InventoryOrder(owed)
        drops = components.repair.surplus.offers_for(peer.id)
        with components.store.read() as reader:
            marks = components.epochs.marks(reader)
        # Records of a start with older metadata would keep those of the newest from being replayed.
        records = components.redo_log.place() if components.epochs.is_open else RedoPlace()
        holders = components.membership.holders()
        trust, issuer = components.authorities.note_use(
            peer, request.authorities, redo_sealed_by=request.redo_sealed_by
        )
        return s.HeartbeatReply(
            True,
            components.clock.now(),
            orders,
            holders,
            drops,
            inventory,
            marks,
            components.programs.news(request.revoked_number),
            records,
            components.late_records.wanted if components.late_records.wanted.sequence else None,
            components.storage_keys.news(request.storage_keys),
            trust,
            issuer,
        )

    def _commit(self, request: s.CommitRequest, peer: PeerIdentity) -> s.CommitReply:
        self._components.epochs.demand_known(peer.id)
        for id in {id for item in request.items for id in item.unreachable}:
            self._components.membership.avoid(id, peer.id)
        return self._components.commits.commit(request.items, peer.id)

    def _collect(self, request: s.CollectRequest, peer: PeerIdentity) -> s.CollectReply:
        surplus = self._components.repair.collect(peer.id, request.digests)
        rest = [digest for digest in request.digests if digest not in surplus] if surplus else request.digests
        return s.CollectReply(surplus + self._components.collector.collect(peer.id, rest))

    def _damaged(self, request: s.DamagedRequest, _: PeerIdentity) -> Nothing:
        self._components.repair.damaged(request.holder, request.digests)
        self._components.inventories.note_damaged(request.holder, request.digests, request.inventory)
        return Nothing()
