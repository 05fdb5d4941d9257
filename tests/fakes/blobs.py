"""Stores blobs in a chunk store and reads them back, as a write and a read do."""

from __future__ import annotations

from collections.abc import Sequence

from file_server.store.chunk_store import ChunkStore, Fence
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.manifest import Manifest


def put(store: ChunkStore, data: bytes, fence: Fence | None = None) -> Digest:
    """Store a file's content and return its digest."""
    return put_chunks(store, list(chunk_bytes(data)), fence).digest


def put_chunks(store: ChunkStore, chunks: Sequence[Chunk], fence: Fence | None = None) -> Manifest:
    """Store the blob of these chunks and return its manifest."""
    manifest = manifest_of(chunks)
    with store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        staging.complete(manifest, fence)
    return manifest


def get(store: ChunkStore, digest: Digest) -> bytes:
    """Read a blob and verify every chunk."""
    return b"".join(store.read_chunk(chunk) for chunk, _ in store.manifest(digest).chunks)


def one_chunk(data: bytes) -> Chunk:
    """Make one chunk of `data`."""
    return Chunk(chunk_digest(data), len(data), data)


def manifest_of(chunks: Sequence[Chunk]) -> Manifest:
    """Return the manifest of a blob with these chunks."""
    return Manifest((chunk.digest, chunk.length) for chunk in chunks)
