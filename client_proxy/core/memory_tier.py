"""The part of the cache in memory: small chunks, which a read then gets without touching the disk."""

from __future__ import annotations

import threading
from collections import OrderedDict

from client_proxy.metrics import CACHE_DAMAGED
from lockstep_store.wire.digest import Digest, chunk_digest

MEMORY_ENTRY_BYTES = 64 * 1024
"""Only blobs up to this size are kept in memory: larger ones gain little and push out many."""
_OVERHEAD_BYTES = 256


class MemoryTier:
    """Small decrypted chunks by digest, verified on every read. Evicts the least recently used."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Digest, bytes] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def stored_bytes(self) -> int:
        return self._bytes

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._entries

    def get(self, digest: Digest) -> bytes | None:
        with self._guard:
            data = self._entries.get(digest)
            if data is None:
                return None
            self._entries.move_to_end(digest)
        if chunk_digest(data) == digest:
            return data
        CACHE_DAMAGED.inc()
        self.drop(digest)
        return None

    def put(self, digest: Digest, data: bytes) -> None:
        cost = len(data) + _OVERHEAD_BYTES
        if len(data) > MEMORY_ENTRY_BYTES or cost > self._max_bytes:
            return
        with self._guard:
            if digest in self._entries:
                return
            self._entries[digest] = data
            self._bytes += cost
            while self._bytes > self._max_bytes:
                _, evicted = self._entries.popitem(last=False)
                self._bytes -= len(evicted) + _OVERHEAD_BYTES

    def drop(self, digest: Digest) -> None:
        with self._guard:
            data = self._entries.pop(digest, None)
            if data is not None:
                self._bytes -= len(data) + _OVERHEAD_BYTES
