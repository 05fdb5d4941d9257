"""Fetches blobs from other file servers, as the directory orders.

It copies a few small blobs or one large one at a time, then pauses in proportion to the time that took, so that repair
leaves room for people's reads and writes. The directory's repair planner decides which blobs are copied where.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from prometheus_client import Counter

from file_server.directory_link import DamageReports, DirectoryCaller
from file_server.store.chunk_store import ChunkStore, Staging
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.peers.protocols import Opener
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import encode
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadDigest,
    Damaged,
    DamagedChunk,
    LockstepError,
    MissingChunks,
    NotFound,
    StorageFull,
    Unavailable,
)
from lockstep_store.wire.manifest import MAX_CHUNKS, Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import (
    HELD,
    MANIFEST_PATH,
    MAX_READ_CHUNKS,
    READ_CHUNKS_PATH,
    CopyOrder,
    HeldRequest,
    ReadChunksRequest,
)

BATCH_BYTES = 8 * 1024 * 1024
TIMEOUT_SECONDS = 15.0
PAUSE_SHARE = 0.5
"""Seconds of pause for each second of copying."""
MAX_TOGETHER = 64
IDLE_SECONDS = 60.0
MAX_WAITING = 10_000
MAX_MANIFEST_BYTES = 36 * MAX_CHUNKS

COPIED = Counter("lockstep_file_server_copied_blobs", "Blobs fetched from other file servers on order")
COPIED_BYTES = Counter("lockstep_file_server_copied_bytes", "Plain bytes fetched from other file servers on order")


class Copier:
    """Carries out copy orders: `take` adds some, `step` carries out the oldest."""

    def __init__(
        self,
        own_id: str,
        store: ChunkStore,
        peers: Opener,
        directory: DirectoryCaller,
        damage: DamageReports,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
        ask_for_more: Callable[[], None] = lambda: None,
    ) -> None:
        self._own_id = own_id
        self._store = store
        self._peers = peers
        self._directory = directory
        self._damage = damage
        self._clock = clock
        self.wake = wake
        self.ask_for_more = ask_for_more
        self._orders: dict[Digest, CopyOrder] = {}
        self._guard = threading.Lock()

    def take(self, orders: list[CopyOrder]) -> None:
        """Add orders. An order replaces an older one for the same blob, because the sources may have changed."""
        with self._guard:
            was_idle = not self._orders
            for order in orders:
                if order.digest in self._orders or len(self._orders) < MAX_WAITING:
                    self._orders[order.digest] = order
        if orders and was_idle:  # waking a busy job would skip its pause
            self.wake()

    def step(self) -> float:
        """Carry out the oldest orders and report them; return the seconds to pause.

        A failed order is dropped: the directory repeats it if it is still needed.
        """
        with self._guard:
            orders = _first_batch(list(self._orders.values()))
        if not orders:
            return IDLE_SECONDS
        started = self._clock.monotonic()
        held: dict[Digest, int] = {}
        for order in orders:
            try:
                held[order.digest] = self._copy(order)
            except LockstepError as error:
                log.warning("cannot copy blob %s: %s", order.digest, error)
        try:
            self._report(held)
        except LockstepError as error:
            log.warning("cannot report %d copied blobs: %s", len(held), error)
        with self._guard:
            for order in orders:
                if self._orders.get(order.digest) is order:
                    del self._orders[order.digest]
            is_idle = not self._orders
        if is_idle and len(orders) > MAX_TOGETHER // 2:
            self.ask_for_more()  # by a heartbeat now: many small files must not wait for the next one
        return (self._clock.monotonic() - started) * PAUSE_SHARE

    def _copy(self, order: CopyOrder) -> int:
        """Store the blob durably and return its generation."""
        sources = [source for source in order.sources if source.id != self._own_id]
        manifest = self._manifest(order, sources)
        if self._store.generation(order.digest) is not None:
            self._check_own(manifest)
        with self._store.stage() as staging:
            missing = staging.missing(digest for digest, _ in manifest.chunks)
            if missing:
                try:
                    self._fetch(manifest, missing, sources, staging)
                except Unavailable:
                    staging.keep()  # the next attempt fetches only the rest
                    raise
            crash_point("file_server.copy.fetched")
            try:
                staging.complete(manifest)
            except MissingChunks:
                self._check_own(manifest)  # lost just now, or held with another length and so damaged
                raise
        crash_point("file_server.copy.sealed")
        COPIED.inc()
        return self._store.generation(order.digest) or 0

    def _check_own(self, manifest: Manifest) -> None:
        """Read every chunk of a copy that is held already, so that damaged ones are found and count as missing.

        The order came because somebody reported damage; the copy must not be reported as whole unread.
        """
        for digest, _ in manifest.chunks:
            with suppress(DamagedChunk, NotFound):
                self._store.read_chunk(digest)

    def _report(self, held: dict[Digest, int]) -> None:
        if held:
            reply = self._directory.ask(HELD, HeldRequest(list(held)))
            crash_point("file_server.copy.reported")
            for digest in reply.unwanted:
                if digest in held:
                    self._store.drop_blob(digest, held[digest])

    def _manifest(self, order: CopyOrder, sources: list[Holder]) -> Manifest:
        try:
            return self._store.manifest(order.digest)
        except (NotFound, Damaged):
            pass
        path = MANIFEST_PATH + str(order.digest)
        failures = []
        for source in sources:
            try:
                with self._peers.open(source.url, "GET", path, timeout=TIMEOUT_SECONDS) as answer:
                    return Manifest.decode(answer.read_all(MAX_MANIFEST_BYTES), order.digest)
            except LockstepError as error:
                self._note(source, order.digest, error)
                failures.append(f"{source.id}: {error}")
        raise Unavailable(f"no source sent the manifest ({'; '.join(failures) or 'the order names no source'})")

    def _fetch(self, manifest: Manifest, missing: list[Digest], sources: list[Holder], staging: Staging) -> None:
        """Stage the missing chunks; each source is asked for those that the sources before it did not send."""
        lengths = dict(manifest.chunks)
        wanted = dict.fromkeys(missing)
        failures = []
        for source in sources:
            try:
                for batch in _batches(list(wanted), lengths):
                    for digest in self._read(source, batch, staging):
                        wanted.pop(digest, None)
            except StorageFull:
                raise
            except LockstepError as error:
                self._note(source, manifest.digest, error)
                failures.append(f"{source.id}: {error}")
            if not wanted:
                return
        raise Unavailable(f"no source sent {len(wanted)} of the chunks ({'; '.join(failures)})")

    def _read(self, source: Holder, batch: list[Digest], staging: Staging) -> Iterator[Digest]:
        body = encode(ReadChunksRequest(batch))
        with self._peers.open(source.url, "POST", READ_CHUNKS_PATH, body, timeout=TIMEOUT_SECONDS) as answer:
            for chunk in StreamReader(answer.read):
                if chunk.data is not None:
                    staging.put(chunk)
                    COPIED_BYTES.inc(chunk.length)
                    yield chunk.digest

    def _note(self, source: Holder, blob: Digest, error: LockstepError) -> None:
        """Report a source whose bytes do not match their digest: its copy is damaged, even if it has not noticed."""
        if isinstance(error, BadDigest | DamagedChunk):
            self._damage.add(source.id, [blob])


def _first_batch(orders: list[CopyOrder]) -> list[CopyOrder]:
    """Return the first orders, together about as large as one batch."""
    size = 0
    for count, order in enumerate(orders[:MAX_TOGETHER]):
        size += order.size
        if size > BATCH_BYTES:
            return orders[: count + 1]
    return orders[:MAX_TOGETHER]


def _batches(digests: list[Digest], lengths: dict[Digest, int]) -> Iterator[list[Digest]]:
    """Yield the digests in batches that one read may request."""
    batch: list[Digest] = []
    size = 0
    for digest in digests:
        length = lengths[digest]
        if batch and (size + length > BATCH_BYTES or len(batch) == MAX_READ_CHUNKS):
            yield batch
            batch, size = [], 0
        batch.append(digest)
        size += length
    if batch:
        yield batch
