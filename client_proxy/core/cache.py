"""The proxy's cache: chunks and manifests by digest, sealed on disk, bounded, and disposable.

An entry is named by the hash of its content, so it is never out of date. Before every read, the file store asks the
directory whether the path still has that content. Any defect of an entry (a flipped bit, a truncated file, another
program's file, a lost key) makes it a miss and removes it. Nothing is fsynced: a lost entry is only a miss.

On disk::

    ROOT/chunks/<2 hex>/<64 hex>      a chunk, sealed as `lockstep_store.runtime.storage.sealing` describes
    ROOT/manifests/<2 hex>/<64 hex>   the canonical manifest of a blob, sealed under the blob's digest
    ROOT/incoming/                    files being written; emptied at start
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from client_proxy.core.memory_tier import MemoryTier
from client_proxy.core.written_entries import Key, Kind, WrittenEntries
from client_proxy.defaults import DISK_BYTES, MEMORY_BYTES
from client_proxy.metrics import CACHE_BYTES, CACHE_DAMAGED, CACHE_EVICTED, CACHE_UNWRITABLE
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.manifest import Manifest

MAX_ENTRIES = 200_000
"""Bounds the index in memory, which takes about 300 bytes for each entry of any size."""
TOUCH_SECONDS = 60.0
SPARE_BYTES = 256 * 1024**2
"""Free space that the cache leaves on its disk. A directory and a file server may write to the same disk."""
BLOCK_BYTES = 4096

WriteFile = Callable[[Path, tuple[bytes, bytes]], None]


def write_unsynced(path: Path, parts: tuple[bytes, bytes]) -> None:
    """Write a new file from `parts`, without fsync: a power cut may lose it. Raises if it is incomplete."""
    with path.open("xb", buffering=0) as file:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[file.write(view) :]


def free_bytes(folder: Path) -> int:
    """The free space on the disk of `folder`."""
    return shutil.disk_usage(folder).free


class Cache:
    """Chunks and manifests on disk, with small blobs also in memory. Thread-safe; never raises for a bad disk.

    `disk_bytes` (counted in whole file-system blocks) and `max_entries` bound the cache on disk. It also shrinks when
    less than SPARE_BYTES are free there, so other programs can write.
    """

    def __init__(
        self,
        root: Path,
        sealer: Sealer,
        *,
        disk_bytes: int = DISK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        max_entries: int = MAX_ENTRIES,
        clock: Clock | None = None,
        write_file: WriteFile = write_unsynced,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._root = root
        self._sealer = sealer
        self._disk_bytes = disk_bytes
        self._max_entries = max_entries
        self._clock = clock or SystemClock()
        self._write_file = write_file
        self._free_bytes = free_bytes
        self._memory = MemoryTier(memory_bytes)
        self._written = WrittenEntries(self._store)
        self._index: OrderedDict[Key, tuple[int, float]] = OrderedDict()  # size on disk, when last touched
        self._stored = 0
        self._sequence = 0
        self._complained = False
        self._guard = threading.Lock()
        try:
            self._rebuild()
        except OSError as error:
            self._complain(error)

    @property
    def stored_bytes(self) -> int:
        """Bytes taken on disk."""
        return self._stored

    @property
    def memory_bytes(self) -> int:
        """Bytes taken by the small blobs in memory."""
        return self._memory.stored_bytes

    @property
    def writable(self) -> bool:
        """Whether the last write to the cache's disk succeeded."""
        return not self._complained

    def __len__(self) -> int:
        return len(self._index)

    def has_chunk(self, digest: Digest) -> bool:
        """Whether the chunk is probably cached. Looks at the index only."""
        return ("chunks", digest) in self._index or digest in self._memory or ("chunks", digest) in self._written

    def chunk(self, digest: Digest) -> bytes | None:
        """The chunk's bytes, just verified against its digest, or None."""
        data = self._memory.get(digest) or self._written.get(("chunks", digest))
        if data is not None:
            return data
        data = self._load(("chunks", digest))
        if data is None:
            return None
        if chunk_digest(data) != digest:
            self._damaged(("chunks", digest), "its content does not match its digest")
            return None
        self._memory.put(digest, data)
        return data

    def manifest(self, digest: Digest) -> Manifest | None:
        """The blob's manifest, verified against its digest, or None."""
        raw = self._load(("manifests", digest))
        if raw is None:
            return None
        try:
            return Manifest.decode(raw, digest)
        except LockstepError as error:
            self._damaged(("manifests", digest), str(error))
            return None

    def keep_chunk(self, digest: Digest, data: bytes) -> None:
        """Cache a chunk that has just been verified. Does nothing if the disk fails."""
        self._memory.put(digest, data)
        self._store(("chunks", digest), data)

    def keep_in_memory(self, digest: Digest, data: bytes) -> None:
        """Cache a small chunk that has just been written, in memory only: a write must not wait for this disk."""
        self._memory.put(digest, data)

    def keep_written(self, digest: Digest, data: bytes | memoryview) -> None:
        """Cache a chunk of a body that is being written. Never waits for the disk: what it cannot take is dropped."""
        self._written.add(("chunks", digest), data)

    def keep_written_manifest(self, manifest: Manifest) -> None:
        """The same for the manifest of a body that was written."""
        self._written.add(("manifests", manifest.digest), manifest.encode())

    def drain(self) -> None:
        """Wait until what was written is on the disk."""
        self._written.drain()

    def keep_manifest(self, manifest: Manifest) -> None:
        """Cache a verified manifest. Does nothing if the disk fails."""
        self._store(("manifests", manifest.digest), manifest.encode())

    # ------------------------------------------------------------ disk

    def _path(self, key: Key) -> Path:
        kind, digest = key
        name = digest.hex()
        return self._root / kind / name[:2] / name

    def _load(self, key: Key) -> bytes | None:
        with self._guard:
            entry = self._index.get(key)
            if entry is None:
                return None
            self._index.move_to_end(key)
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:
                sealed = file.read()
            plain = self._sealer.open(key[1], sealed)
        except FileNotFoundError:
            self._forget(key)  # evicted between the two steps, or removed by hand
            return None
        except (OSError, LockstepError) as error:
            self._damaged(key, str(error))
            return None
        self._touch(key, path, entry)
        return plain

    def _touch(self, key: Key, path: Path, entry: tuple[int, float]) -> None:
        """Update the modification time, from which a restart restores the order of use, at most once a minute."""
        now = self._clock.monotonic()
        if now - entry[1] < TOUCH_SECONDS:
            return
        try:
            os.utime(path)
        except OSError:
            return
        with self._guard:
            if key in self._index:
                self._index[key] = (entry[0], now)

    def _store(self, key: Key, plain: bytes) -> None:
        if key in self._index:
            return
        path = self._path(key)
        with self._guard:
            self._sequence += 1
            incoming = self._root / "incoming" / str(self._sequence)
        parts = self._sealer.seal_parts(key[1], plain)
        size = _on_disk(len(parts[0]) + len(parts[1]))
        if size > self._disk_bytes:
            return
        try:
            self._make_room(size)
            if self._stored + size > self._allowed():
                raise OSError(errno.ENOSPC, "too little space is free")
            self._write_file(incoming, parts)
            crash_point("proxy.cache.written")
            try:
                incoming.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                incoming.replace(path)
            crash_point("proxy.cache.placed")
        except OSError as error:
            self._refused(incoming, error)
            return
        self._complained = False
        try:
            self._enter(key, size)
        except OSError as error:  # the entry is stored, but the free space cannot be read
            self._complain(error)

    def _refused(self, incoming: Path, error: OSError) -> None:
        _remove(incoming)
        CACHE_UNWRITABLE.inc()
        self._complain(error)
        with contextlib.suppress(OSError):  # the cache's folder was emptied, or its disk was mounted again
            incoming.parent.mkdir(parents=True, exist_ok=True)

    def _complain(self, error: OSError) -> None:
        if not self._complained:  # one warning per outage, because every read of a busy proxy gets here
            self._complained = True
            log.warning(
                "the cache in %s cannot be written (%s): files are served without caching; "
                "free some space there or lower --cache-bytes",
                self._root,
                error.strerror or error,
            )

    def _enter(self, key: Key, size: int) -> None:
        with self._guard:
            known = self._index.pop(key, None)
            self._stored += size - (known[0] if known else 0)
            self._index[key] = (size, self._clock.monotonic())
            CACHE_BYTES.set(self._stored)
        self._make_room(0)

    def _allowed(self) -> int:
        """How many bytes the cache may take on disk now."""
        return min(self._disk_bytes, self._stored + self._free_bytes(self._root) - SPARE_BYTES)

    def _make_room(self, wanted: int) -> None:
        evicted: list[Key] = []
        allowed = self._allowed()
        with self._guard:
            while self._index and (
                self._stored + wanted > allowed or len(self._index) + bool(wanted) > self._max_entries
            ):
                key, (size, _) = self._index.popitem(last=False)
                self._stored -= size
                evicted.append(key)
        for key in evicted:
            crash_point("proxy.cache.evicting")
            _remove(self._path(key))
        if evicted:
            CACHE_EVICTED.inc(len(evicted))
            CACHE_BYTES.set(self._stored)

    def _damaged(self, key: Key, why: str) -> None:
        CACHE_DAMAGED.inc()
        log.warning("removed damaged cache entry %s/%s, which will be fetched again: %s", key[0], key[1], why)
        self._forget(key)
        _remove(self._path(key))

    def _forget(self, key: Key) -> None:
        with self._guard:
            entry = self._index.pop(key, None)
            if entry is not None:
                self._stored -= entry[0]

    def _rebuild(self) -> None:
        """Index the entries of an earlier run, least recently used first."""
        shutil.rmtree(self._root / "incoming", ignore_errors=True)
        for folder in ("incoming", "chunks", "manifests"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        found = sorted(
            (file.stat().st_mtime_ns, kind, Digest.parse(file.name), file.stat().st_size)
            for kind in _KINDS
            for file in _files(self._root / kind)
        )
        for _, kind, digest, length in found:
            self._index[(kind, digest)] = (_on_disk(length), float("-inf"))
            self._stored += _on_disk(length)
        CACHE_BYTES.set(self._stored)
        self._make_room(0)


_KINDS: tuple[Kind, ...] = ("chunks", "manifests")


def _on_disk(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES


def _remove(file: Path) -> None:
    """Remove a file if possible. One that stays is overwritten by its next use, or indexed by the next start."""
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entries under `folder`. Removes other files, so that everything there counts towards the bound."""
    for shelf in os.scandir(folder):
        if not shelf.is_dir(follow_symlinks=False):
            _remove(Path(shelf.path))
            continue
        for file in os.scandir(shelf.path):
            if file.is_file(follow_symlinks=False) and _is_entry(file.name, shelf.name):
                yield file
            elif not file.is_dir(follow_symlinks=False):
                _remove(Path(file.path))


def _is_entry(name: str, shelf: str) -> bool:
    return len(name) == 64 and name[:2] == shelf and not set(name) - set("0123456789abcdef")
