"""Sends blobs to other file servers, from memory or from the store, and remembers which do not answer.

replication.py decides which servers a write goes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from file_server.store.chunk_store import ChunkStore
from file_server.writes.small_write_sender import SmallWriteSender
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.peers.protocols import Caller, Streamer
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, MissingChunks, PeerUnreachable
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import (
    HOP_HEADER,
    MAX_MISSING_CHUNKS,
    MISSING_CHUNKS,
    TICKET_HEADER,
    WRITE_PATH,
    MissingChunksRequest,
)

SMALL_TIMEOUT_SECONDS = 5.0
STREAM_TIMEOUT_SECONDS = 30.0
AVOID_SECONDS = 3.0
LONGEST_AVOID_SECONDS = 30.0
"""How long a file server that did not answer is avoided; doubled each time it fails again, because a server that
accepts connections and then hangs delays a write by the whole time-out."""
STALL_SECONDS = 10.0
"""How long a replica may read no frame of an upload before the upload continues without it."""
MAX_RESENDS = 3


class ReplicaPeer(Caller, Streamer, Protocol):
    """Calls, and bodies that are sent as they are produced."""


class BlobSender:
    """Sends blobs to holders under a write's ticket. Thread-safe."""

    def __init__(
        self, store: ChunkStore, peers: ReplicaPeer, clock: Clock, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self.stall_seconds = stall_seconds
        self.small = SmallWriteSender(peers, SMALL_TIMEOUT_SECONDS)
        self._store = store
        self._peers = peers
        self._clock = clock
        self._avoided: dict[str, tuple[float, float]] = {}  # holder id: until when, for how long

    def is_avoided(self, holder: Holder) -> bool:
        """Return whether the file server was found unreachable a short while ago."""
        avoided = self._avoided.get(holder.id)
        return avoided is not None and avoided[0] > self._clock.monotonic()

    def note(self, holder: Holder, failure: LockstepError | None) -> None:
        """Remember whether a file server answered; `failure` is None if it did."""
        if isinstance(failure, PeerUnreachable):
            if not self.is_avoided(holder):  # the writes that waited for it fail together and count once
                _, last = self._avoided.get(holder.id, (0.0, 0.0))
                seconds = min(max(2 * last, AVOID_SECONDS), LONGEST_AVOID_SECONDS)
                self._avoided[holder.id] = (self._clock.monotonic() + seconds, seconds)
        elif failure is None:
            self._avoided.pop(holder.id, None)

    def send(
        self, holder: Holder, ticket: str, blocks: Iterable[bytes | memoryview], timeout: float = STREAM_TIMEOUT_SECONDS
    ) -> bytes:
        """Send a stream. Return the reply once the blob is durable there; otherwise raise the reason."""
        headers = {TICKET_HEADER: ticket, HOP_HEADER: "replica"}
        return self._peers.send_stream(holder.url, WRITE_PATH, headers, blocks, timeout)

    def send_from_store(self, holder: Holder, ticket: str, manifest: Manifest) -> None:
        """Send a stored blob, with the bytes of the chunks that the other server lacks."""
        digests = list(dict.fromkeys(digest for digest, _ in manifest.chunks))
        request = MissingChunksRequest(digests[:MAX_MISSING_CHUNKS])
        reply = self._peers.call(holder.url, MISSING_CHUNKS, request, SMALL_TIMEOUT_SECONDS)
        self.send_missing(holder, ticket, manifest, reply.missing)

    def send_missing(self, holder: Holder, ticket: str, manifest: Manifest, missing: list[Digest]) -> None:
        """Send a stored blob with the bytes of `missing`; on a refusal send again with those that it names."""
        for _ in range(MAX_RESENDS):
            try:
                self.send(holder, ticket, encode_stream(self._frames(manifest, missing)))
                return
            except MissingChunks as refusal:
                missing = digests_of(refusal)
        raise PeerUnreachable(
            f"file server {holder.id} still lacks chunks after {MAX_RESENDS} attempts", url=holder.url
        )

    def _frames(self, manifest: Manifest, missing: list[Digest]) -> Iterator[Chunk]:
        wanted = set(missing)
        for digest, length in manifest.chunks:
            if digest in wanted:
                wanted.discard(digest)  # its bytes once, however often the blob repeats it
                yield Chunk(digest, length, self._store.read_chunk(digest))
            else:
                yield Chunk(digest, length, None)


def digests_of(refusal: MissingChunks) -> list[Digest]:
    """Return the chunks that a refusal names."""
    return [Digest.parse(text) for text in refusal.facts.get("digests", [])]
