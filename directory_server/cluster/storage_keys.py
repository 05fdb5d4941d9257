"""Rotates the storage keys: adds one, follows how old ones become unneeded, retires them.

1. `rotate` adds a key to the ring on this machine. From then on the directory seals its secrets with it, and `news`
   gives it to each file server with the reply to its next heartbeat.
2. `step` seals the directory's own secrets again. File servers do the same with their chunks
   (`file_server.maintenance.storage_keys`), and each heartbeat says which keys are still needed there.
3. `retire` deletes an old key, by an administrator's decision, once nothing needs it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.metadata.sealed_rows import SealedRow, SealedRows
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer, key_id_of
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Conflict, LockstepError, NotFound
from lockstep_store.wire.messages.storage_keys import (
    MAX_STORAGE_KEYS,
    KeyHolder,
    RetireStorageKeyRequest,
    StorageKeyInfo,
    StorageKeysReply,
    StorageKeyUse,
)

BATCH = 100
STEP_SECONDS = 0.2
IDLE_SECONDS = 60.0
_FREE_SINCE = "storage_key_free_since:"
"""Begins the setting with the time (seconds since 1970) at which the directory's last secret left a key."""


class StorageKeys:
    """The cluster's storage keys. `owners` have the directory's sealed rows. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        sealer: Callable[[], Sealer],
        membership: Membership,
        owners: Sequence[SealedRows],
    ) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._membership = membership
        self._owners = owners
        self._deciding = threading.Lock()
        self._counted: Counter[bytes] | None = None
        """The directory's secrets under each key, as last counted."""
        self._unopened: set[bytes] = set()
        self.wake: Callable[[], None] = lambda: None

    # ------------------------------------------------------------ what administrators do

    def all(self) -> StorageKeysReply:
        """Return the keys with the programs that need them, counted now."""
        with self._store.read() as reader:
            self._counted = self._count(reader)
        return self.latest()

    def latest(self) -> StorageKeysReply:
        """The same, with the directory's own secrets as last counted."""
        if self._counted is None:
            return self.all()
        ring = self._ring
        with self._store.read() as reader:
            infos = [self._info(reader, key_id) for key_id in ring.key_ids | self._used_keys()]
        return StorageKeysReply(sorted(infos, key=lambda one: (not one.current, -(one.created_at or 0.0), one.id)))

    def rotate(self) -> StorageKeysReply:
        """Add a key, which seals everything new. It is on disk before it is used.

        Raises Conflict when there are too many old keys, or a file server is too old to take the new key over.
        """
        with self._deciding:
            if len(self._ring.key_ids) >= MAX_STORAGE_KEYS:
                raise Conflict(f"there are {MAX_STORAGE_KEYS} storage keys already: retire old ones first")
            too_old = sorted(id for id, use in self._membership.key_uses().items() if use is None)
            if too_old:
                raise Conflict(
                    f"file server {', '.join(too_old)} runs a version that cannot take over a new storage key: update "
                    "it first"
                )
            made = self._ring.rotate(self._clock.wall())
        crash_point("directory.storage_keys.rotated")
        log.info("new content is sealed with storage key %s", made.hex())
        self.wake()
        return self.all()

    def retire(self, request: RetireStorageKeyRequest) -> StorageKeysReply:
        """Delete a key that nothing needs. Raises NotFound for an unknown one, Conflict with the reason if needed."""
        with self._deciding:
            key_id = next((one for one in self._ring.key_ids if one.hex() == request.id), None)
            if key_id is None:
                raise NotFound(f"there is no storage key {request.id[:40]!r}: `lockstep storage-keys` lists them")
            if key_id == self._ring.current:
                raise Conflict(
                    f"storage key {request.id} is the current one: rotate first (lockstep storage-keys rotate)"
                )

            def work(tx: Tx) -> None:
                self._counted = self._count(tx)
                self._refuse_needed(self._info(tx, key_id), forget_backups=request.forget_backups)
                people.delete_setting(tx, _FREE_SINCE + request.id)
                self._ring.retire(key_id)

            self._store.write(work)
        log.warning("storage key %s was retired", request.id)
        return self.latest()

    def _refuse_needed(self, info: StorageKeyInfo, *, forget_backups: bool) -> None:
        if info.holders:
            needed = ", ".join(f"{one.program} ({one.items or 'a write under way'})" for one in info.holders)
            raise Conflict(f"storage key {info.id} is still needed by {needed}: wait until all is sealed again")
        if info.waiting_for:
            raise Conflict(f"storage key {info.id} may still be needed: {'; '.join(info.waiting_for)}")
        if info.backups_before is None:
            raise Conflict(f"storage key {info.id} may still be needed: the directory has not looked yet; try again")
        if not forget_backups:
            raise Conflict(
                f"storage key {info.id} is needed to restore S3 secrets, second factors, named keys, notification "
                "targets and identity providers from backups made before nothing used it (backups_before): make a new "
                "backup, keep a copy of certs/storage-keys.json with the old ones or delete them, then repeat "
                "with --forget-backups",
                backups_before=info.backups_before,
            )

    # ------------------------------------------------------------ file servers

    def news(self, use: StorageKeyUse | None) -> str:
        """The ring for a file server, with its heartbeat; empty if it has it, or cannot take it over."""
        ring = self._ring
        return ring.text if use is not None and use.number < ring.number else ""

    def _used_keys(self) -> set[bytes]:
        uses = [use for use in self._membership.key_uses().values() if use is not None]
        return {bytes.fromhex(id) for use in uses for id in (use.current, *use.chunks)} | set(self._counted or ())

    def _info(self, reader: Reader, key_id: bytes) -> StorageKeyInfo:
        ring, id = self._ring, key_id.hex()
        holders = []
        secrets = (self._counted or Counter())[key_id]
        if secrets:
            holders.append(KeyHolder("directory server", secrets))
        waiting_for = []
        for server, use in sorted(self._membership.key_uses(silent=True).items()):
            if use is None:
                waiting_for.append(f"file server {server} has not said what it needs since the directory's start")
            elif id in use.chunks:
                holders.append(KeyHolder(f"file server {server}", use.chunks[id]))
            elif use.current == id:
                waiting_for.append(f"file server {server} has not taken over the current key")
        free_since = people.read_setting(reader, _FREE_SINCE + id)
        return StorageKeyInfo(
            id,
            current=key_id == ring.current,
            created_at=ring.created.get(key_id),
            holders=holders,
            waiting_for=[] if key_id == ring.current else waiting_for,
            backups_before=None if free_since is None else float(free_since),
            unknown=key_id not in ring.key_ids,
        )

    # ------------------------------------------------------------ the directory's own secrets

    def step(self) -> float:
        """Seal some of the directory's secrets again; return the seconds until the next step."""
        with self._store.read() as reader:
            self._counted = self._count(reader)
            outdated = [row for row in self._rows(reader) if key_id_of(row.sealed) != self._ring.current]
        resealed = [(row, sealed) for row in outdated[:BATCH] if (sealed := self._resealed(row)) is not None]
        if resealed:
            self._store.write(lambda tx: sum(row.replace(tx, sealed) for row, sealed in resealed))
            crash_point("directory.storage_keys.resealed")
            return STEP_SECONDS
        self._note_free()
        return IDLE_SECONDS

    def _note_free(self) -> None:
        """Remember since when no secret is under an old key: a later backup does not need it."""

        def work(tx: Tx) -> None:
            counted = self._count(tx)
            for key_id in self._ring.key_ids:
                name = _FREE_SINCE + key_id.hex()
                if key_id == self._ring.current or counted[key_id]:
                    people.delete_setting(tx, name)
                elif people.read_setting(tx, name) is None:
                    people.write_setting(tx, name, repr(self._clock.wall()))

        if len(self._ring.key_ids) > 1:
            self._store.write(work)

    def _resealed(self, row: SealedRow) -> bytes | None:
        sealer, key_id = self._sealer(), key_id_of(row.sealed)
        try:
            return sealer.seal(row.name, sealer.open(row.name, row.sealed))
        except LockstepError as error:
            if key_id not in self._unopened:
                log.error("a secret of the directory cannot be opened: %s", error)
            self._unopened.add(key_id)
            return None

    def _count(self, reader: Reader) -> Counter[bytes]:
        return Counter(key_id_of(row.sealed) for row in self._rows(reader))

    def _rows(self, reader: Reader) -> Iterable[SealedRow]:
        for owner in self._owners:
            yield from owner.sealed_rows(reader)

    @property
    def _ring(self) -> KeyRing:
        return self._sealer().ring
