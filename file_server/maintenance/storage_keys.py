"""Takes over new storage keys from the directory, and seals again what older keys sealed.

It works slowly, so that people notice nothing, and needs no position: a restart finds what is left by its key. An old
key stays until the directory retires it, and for as long as anything here needs it.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter

from file_server.store.chunk_store import ChunkStore
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError, SetupError
from lockstep_store.wire.messages.storage_keys import StorageKeyUse

STEP_BYTES = 4 * 1024 * 1024
PAUSE_FACTOR = 4.0
"""Seconds of sleep for each second of work: a fifth of the time, in which the disk also serves others."""
MIN_PAUSE_SECONDS = 0.1
IDLE_SECONDS = 60.0
TRY_AGAIN_SECONDS = 5.0

RESEALED = Counter("lockstep_file_server_resealed_chunks", "Chunks sealed again after a rotation of the storage keys")


class HeldStorageKeys:
    """One file server's storage keys. `step` is the background job; `learn` wakes it."""

    def __init__(self, store: ChunkStore, ring: KeyRing, clock: Clock) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._after = 0
        self.wake: Callable[[], None] = lambda: None

    def use(self) -> StorageKeyUse:
        """Return which keys are needed here, for the heartbeat."""
        ring = self._ring
        number, current = ring.number, ring.current
        # The number first: what is said to be unneeded must be so after the rotation that the number stands for.
        chunks = {key.hex(): count for key, count in self._store.sealed_under().items()}
        return StorageKeyUse(number, current.hex(), chunks)

    def learn(self, storage_keys_json: str) -> None:
        """Take over the ring that the directory sent, durably; empty if it sent none."""
        if not storage_keys_json:
            return
        needed = {*self._store.sealed_under(), self._ring.current}
        try:
            changed = self._ring.adopt(storage_keys_json, needed)
        except (SetupError, OSError) as error:
            log.error("cannot take over the storage keys that the directory sent: %s", error)
            return
        if changed:
            log.info("new content is sealed with storage key %s", self._ring.current.hex())
            self.wake()

    def step(self) -> float:
        """Seal some chunks again; return the seconds until the next step."""
        current = self._ring.current
        if all(key == current for key in self._store.sealed_under()):
            self._after = 0
            return IDLE_SECONDS
        started = self._clock.monotonic()
        try:
            done = self._store.reseal(self._after, STEP_BYTES)
        except LockstepError as error:
            log.warning("chunks under an old storage key wait: %s", error)
            return TRY_AGAIN_SECONDS
        RESEALED.inc(done.chunks)
        self._after = done.after or 0
        if done.after is None and not done.chunks:
            return TRY_AGAIN_SECONDS  # a write under way, or a chunk whose key is missing
        return max(MIN_PAUSE_SECONDS, (self._clock.monotonic() - started) * PAUSE_FACTOR)
