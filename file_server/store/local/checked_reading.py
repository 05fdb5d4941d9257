"""Checked reads: no chunk or manifest leaves the disk unless it matches its digest.

What fails its check no longer counts as held, goes into quarantine for people to inspect, and is reported for repair.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from file_server.store.chunk_store import chunk_not_found
from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.chunk_index import ChunkIndex
from file_server.store.local.index_reader import ChunkRow
from file_server.store.local.index_transaction import DAMAGED, FILE, HEAD_BYTES
from file_server.store.local.storage_health import StorageHealth
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import BadRequest, Damaged, DamagedChunk, NotFound, StorageFormatError
from lockstep_store.wire.manifest import Manifest

OnDamage = Callable[[Digest, list[Digest]], None]
"""Receives a chunk that failed its check, and the blobs it is part of."""


class CheckedReading:
    """Reads and checks one store's chunks and manifests. Thread-safe."""

    def __init__(
        self, index: ChunkIndex, files: ChunkFiles, sealer: Sealer, health: StorageHealth, on_damage: OnDamage
    ) -> None:
        self._index = index
        self._files = files
        self._sealer = sealer
        self._health = health
        self._on_damage = on_damage

    def use(self, index: ChunkIndex) -> None:
        """Read from another index: the former one was rebuilt."""
        self._index = index

    def chunk(self, digest: Digest) -> bytes:
        """Return a chunk's plain bytes, checked against its digest.

        NotFound if it is not held. DamagedChunk if the check fails: the chunk is then quarantined, reported, and no
        longer held.
        """
        with self._health.guard():
            row = self._index.chunk(digest)
            if row is not None:
                plain = self._plain(row)
                if plain is None:  # once more: a write or the collector may have moved it meanwhile
                    row = self._index.chunk(digest)
                    plain = self._plain(row) if row is not None else None
                if plain is not None:
                    return plain
        if row is None:
            raise chunk_not_found(digest)
        self._condemn(row)
        raise DamagedChunk(f"chunk {digest} is damaged on this file server; read another copy", digest=str(digest))

    def manifest(self, digest: Digest) -> Manifest:
        """Return a blob's manifest, checked against its digest.

        NotFound if the blob is not held. Damaged if the check fails: the blob is then reported and no longer held.
        """
        with self._health.guard():
            try:
                manifest = self._index.manifest(digest)
            except BadRequest as error:
                self._condemn_blob(digest)
                raise Damaged(
                    f"the manifest of blob {digest} is damaged on this file server", digest=str(digest)
                ) from error
        if manifest is None:
            raise NotFound(f"blob {digest} is not on this file server", digest=str(digest))
        return manifest

    def verify_next(self, after: int) -> tuple[int, int] | None:
        """Check the first chunk with an id above `after`; return (its id, bytes read), or None after the last.

        A chunk that fails is quarantined and reported as in `chunk`.
        """
        with self._health.guard():
            row = self._index.next_chunk(after)
        if row is None:
            return None
        if row.place != DAMAGED:
            try:
                self.chunk(row.digest)
            except (DamagedChunk, NotFound):
                pass  # reported where it was found; the walk goes on
            except StorageFormatError as error:
                log.error("%s", error)
        return row.id, row.length

    def verify_blob(self, digest: Digest) -> None:
        """Check that a blob's manifest matches and that all its chunks are held; report the blob if not.

        Unavailable if the index no longer knows that the chunks are part of the blob.
        """
        try:
            manifest = self.manifest(digest)
        except (Damaged, NotFound):
            return  # already reported
        with self._health.guard():
            self._index.check_references(manifest)
            missing = self._index.missing(chunk for chunk, _ in manifest.chunks)
        if missing:
            log.error("chunks missing from blob %s: %d", digest, len(missing))
            self._on_damage(missing[0], [digest])

    def _plain(self, row: ChunkRow) -> bytes | None:
        """Return the chunk's bytes if they are intact, None otherwise."""
        if row.place == DAMAGED:
            return None
        try:
            sealed = row.sealed if row.place != FILE else self._files.read(row.digest)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            return None  # lost, or on an unreadable sector: repaired like damage
        if sealed is None:
            return None
        try:
            plain = self._sealer.open(row.digest, sealed)
        except DamagedChunk:
            return None
        except StorageFormatError:
            if sealed[:HEAD_BYTES] == row.head:
                raise  # stored like this: the key ring lacks a key, the bytes are good
            return None
        return plain if len(plain) == row.length and chunk_digest(plain) == row.digest else None

    def _condemn_blob(self, digest: Digest) -> None:
        """Forget a blob whose manifest does not match, and report it."""
        if self._index.submit(lambda tx: tx.forget_blob(digest)):
            log.error("the manifest of blob %s failed its check; the blob must be copied again", digest)
            self._on_damage(digest, [digest])

    def _condemn(self, row: ChunkRow) -> None:
        """Mark a chunk as damaged, quarantine its bytes, and report it."""
        if row.place == DAMAGED:
            return
        with self._health.guard():
            if not self._index.submit(lambda tx: tx.mark_damaged(row.id)):
                return
            blobs = self._index.blobs_of_chunk(row.id, row.digest)
        crash_point("file_server.quarantine.marked")
        log.error("chunk %s failed its check and is quarantined; blobs that contain it: %d", row.digest, len(blobs))
        try:
            if row.place == FILE:
                self._files.quarantine_file(row.digest, self._index.holds_chunk)
            elif row.sealed is not None:
                self._files.quarantine_bytes(row.digest, row.sealed)
        except OSError as error:
            log.warning("cannot quarantine chunk %s: %s", row.digest, error)
        crash_point("file_server.quarantine.moved")
        self._on_damage(row.digest, blobs)
        if row.place != FILE and row.sealed is None:
            # Rotten bytes are still found. A row that is not found may be out of order in its table; then the next
            # write of the chunk would not be found either.
            with self._health.guard():
                self._index.check_order()
