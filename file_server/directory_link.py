"""The link to the directory: registers, sends heartbeats, and passes on the orders that come back.

Without the directory a file server keeps serving reads; it retries, and its health gives the reason. Copy orders go to
copier.py. Damage found here is reported after the next heartbeat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from file_server.metrics import show_space
from file_server.seen_marks import DirectoryMarks
from file_server.store.chunk_store import ChunkStore
from file_server.writes.ticket_check import DirectoryTime, TicketCheck
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.peers.protocols import Caller, MembershipKeeper
from lockstep_store.runtime.tracing import log
from lockstep_store.wire import protocol_versions
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Conflict, LockstepError, PeerUnreachable, Unavailable
from lockstep_store.wire.messages.redo import RedoPlace
from lockstep_store.wire.messages.servers import (
    DAMAGED,
    HEARTBEAT,
    REGISTER,
    CopyOrder,
    DamagedRequest,
    HeartbeatRequest,
    InventoryOrder,
    RegisterRequest,
)
from lockstep_store.wire.messages.storage_keys import StorageKeyUse

RETRY_SECONDS = 1.0
FIRST_RETRY_SECONDS = 0.25
"""Before the first registration: a cluster's programs start together, and this one is useless until it registers."""
REMOVED_SECONDS = 10.0
MAX_REPORT = 1000
HEARTBEAT_TIMEOUT_SECONDS = 5.0

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class DirectoryCaller:
    """Calls the directory server at one address."""

    def __init__(self, peers: Caller, url: str) -> None:
        self._peers = peers
        self.url = url

    def ask(self, call: Call[Req, Rep], request: Req, timeout: float | None = None) -> Rep:
        """Make one call. Raises the directory's error, or PeerUnreachable."""
        return self._peers.call(self.url, call, request, timeout)


class DamageReports:
    """Damaged blobs still to be reported to the directory, by the file server that has them. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, Digest], None] = {}
        self._guard = threading.Lock()

    def add(self, holder: str, blobs: Iterable[Digest]) -> None:
        """Remember that `holder`'s copies of `blobs` are damaged."""
        with self._guard:
            self._waiting.update(dict.fromkeys((holder, blob) for blob in blobs))

    def send(self, directory: DirectoryCaller) -> None:
        """Report the blobs; those that could not be reported stay for the next time."""
        while True:
            with self._guard:
                first = next(iter(self._waiting), None)
                if first is None:
                    return
                holder = first[0]
                batch = [key for key in self._waiting if key[0] == holder][:MAX_REPORT]
            directory.ask(DAMAGED, DamagedRequest(holder, [blob for _, blob in batch]))
            with self._guard:
                for key in batch:
                    self._waiting.pop(key, None)


class InventoryJob(Protocol):
    """The part of the inventory that the link uses."""

    done: int
    is_whole: bool

    def begin(self) -> None:
        """Start comparing, because the server has registered."""
        ...

    def take(self, order: InventoryOrder | None) -> None:
        """Accept the order from a heartbeat, if there is one."""
        ...


class SealingKeys(Protocol):
    """The part of the storage keys that the link uses."""

    def use(self) -> StorageKeyUse:
        """Return which keys are needed here."""
        ...

    def learn(self, storage_keys_json: str) -> None:
        """Take over the ring that the directory sent; empty if it sent none."""
        ...


class RedoKeeper(Protocol):
    """The part of the kept redo records that the link uses."""

    @property
    def sealed_by(self) -> list[str]:
        """Return the ids of the authorities whose keys seal them."""
        ...

    def learn(self, newest: RedoPlace, replay_after: RedoPlace | None, issuer: str) -> None:
        """Learn how far the directory is, which records it wants, and which authority's key seals them now."""
        ...


class DirectoryLink:
    """One file server's membership in the cluster. `step` is the heartbeat job."""

    def __init__(
        self,
        directory: DirectoryCaller,
        store: ChunkStore,
        tickets: TicketCheck,
        time: DirectoryTime,
        clock: Clock,
        damage: DamageReports,
        *,
        own_id: str,
        own_url: str,
        zone: str,
        version: str,
        take_orders: Callable[[list[CopyOrder]], None],
        inventory: InventoryJob | None = None,
        take_drops: Callable[[list[Digest]], None] = lambda digests: None,
        membership: MembershipKeeper | None = None,
        redo_records: RedoKeeper | None = None,
        storage_keys: SealingKeys | None = None,
    ) -> None:
        self._directory = directory
        self._store = store
        self._tickets = tickets
        self._time = time
        self._clock = clock
        self._damage = damage
        self._own_id = own_id
        self._own_url = own_url
        self._zone = zone
        self._version = version
        self._take_orders = take_orders
        self._inventory = inventory
        self._take_drops = take_drops
        self._membership = membership
        self._redo_records = redo_records
        self._storage_keys = storage_keys
        self._marks = DirectoryMarks(store)
        self._pause = RETRY_SECONDS
        self.registered = False
        self.is_removed = False
        self.problem = "not yet registered with the directory server"

    def step(self) -> float:
        """Register if needed, send one heartbeat, act on its reply; return the seconds until the next."""
        self._probe_storage()
        try:
            if not self.registered:
                self._register()
            self._beat()
            if self.registered:
                self._damage.send(self._directory)
        except LockstepError as error:
            if error.facts.get("removed"):
                return self._note_removed(error)
            verdict = "does not answer" if isinstance(error, PeerUnreachable) else "refuses this file server"
            problem = f"the directory server at {self._directory.url} {verdict}: {error}"
            if problem != self.problem:
                log.warning("%s", problem)
            self.problem = problem
            if error.facts.get("incompatible"):
                self.registered = False
                self._tickets.distrust(problem)
            return RETRY_SECONDS if self.registered else FIRST_RETRY_SECONDS
        return self._pause

    def register_again(self) -> None:
        """Register with the next heartbeat, because the storage is not what it was."""
        self.registered = False

    def _note_removed(self, error: LockstepError) -> float:
        """Refuse writes, because this server was removed from the cluster, and log that once."""
        if not self.is_removed:
            log.error("%s", error)
        self.is_removed, self.registered = True, False
        self.problem = str(error)
        self._tickets.distrust(self.problem)
        return REMOVED_SECONDS

    def _register(self) -> None:
        asked_at = self._clock.monotonic()
        request = RegisterRequest(
            self._own_url,
            self._store.store_id,
            self._zone,
            self._version,
            highest_fence=self._store.highest_fence(),
            highest_note=self._store.highest_note(),
            blobs=self._store.totals.blobs,
            seen=self._marks.seen,
            protocol=protocol_versions.PROTOCOL,
            oldest_protocol=protocol_versions.OLDEST,
        )
        reply = self._directory.ask(REGISTER, request, HEARTBEAT_TIMEOUT_SECONDS)
        own_name = f"file server {self._own_id} ({self._version})"
        why = protocol_versions.why_not("the directory server", reply.protocol, reply.oldest_protocol, own_name)
        if why:
            raise Conflict(why, incompatible=True)
        self._tickets.trust(bytes.fromhex(reply.ticket_key))
        self._time.learn(reply.directory_time, asked_at)
        self._pause = reply.heartbeat_seconds
        self._damage.add(self._own_id, self._store.damaged_blobs())
        self.registered, self.is_removed = True, False
        if self._inventory is not None:
            self._inventory.begin()
        log.info("registered with the directory server at %s", self._directory.url)

    def _beat(self) -> None:
        asked_at = self._clock.monotonic()
        reply = self._directory.ask(HEARTBEAT, self._state(), HEARTBEAT_TIMEOUT_SECONDS)
        if not reply.registered:
            log.info("the directory server does not know this file server; registering again")
            self.registered = False
            self._register()
            asked_at = self._clock.monotonic()
            reply = self._directory.ask(HEARTBEAT, self._state(), HEARTBEAT_TIMEOUT_SECONDS)
            if not reply.registered:
                return
        self._time.learn(reply.directory_time, asked_at)
        self._marks.learn(reply.marks)
        if self._membership is not None:
            self._membership.learn(reply.revoked_pem, reply.trust, reply.issuer)
        if self._storage_keys is not None:
            self._storage_keys.learn(reply.storage_keys_json)
        if self.problem:
            log.info("the directory server at %s answers again", self._directory.url)
        self.problem = ""
        self._take_orders(reply.orders)
        self._take_drops(reply.drops)
        if self._redo_records is not None:
            self._redo_records.learn(reply.redo, reply.replay_after, reply.issuer)
        if self._inventory is not None:
            self._inventory.take(reply.inventory)

    def _state(self) -> HeartbeatRequest:
        try:
            capacity, free = self._store.space()
        except Unavailable:
            capacity, free = 0, 0
        totals = self._store.totals
        show_space(capacity, free, totals.stored_bytes)
        problem = self._store.problem
        return HeartbeatRequest(
            url=self._own_url,
            store_id=self._store.store_id,
            capacity_bytes=capacity,
            free_bytes=free,
            blobs=totals.blobs,
            stored_bytes=totals.stored_bytes,
            healthy=not problem,
            problem=problem,
            ticket_key_id=self._tickets.key_id,
            inventory_done=self._inventory.done if self._inventory is not None else 0,
            inventoried=self._inventory.is_whole if self._inventory is not None else False,
            revoked_number=self._membership.revoked_number if self._membership is not None else -1,
            storage_keys=self._storage_keys.use() if self._storage_keys is not None else None,
            authorities=self._membership.authorities if self._membership is not None else None,
            redo_sealed_by=self._redo_records.sealed_by if self._redo_records is not None else None,
        )

    def _probe_storage(self) -> None:
        try:
            self._store.probe()
        except Unavailable:
            log.debug("the storage still takes no writes")
