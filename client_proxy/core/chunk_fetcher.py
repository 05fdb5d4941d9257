"""Fetches chunks and manifests from file servers, verifies every byte, and replaces failing holders.

When a holder refuses, dies, stalls or sends wrong bytes, the next one continues at the chunk that failed; chunks
received before are kept. A chunk that several readers need at once is fetched once. The reader decides which chunks to
fetch and how far ahead. Damaged copies are reported to the directory, which repairs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from client_proxy.core.cache import Cache
from client_proxy.metrics import FETCHED_BYTES, READ_FAILOVERS
from lockstep_store.runtime.backoff import pause_after
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.peers.protocols import Opener, UnreadReply
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import encode
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadDigest,
    Damaged,
    DamagedChunk,
    IncompleteBody,
    LockstepError,
    PeerUnreachable,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import MANIFEST_PATH, MAX_READ_CHUNKS, READ_CHUNKS_PATH, ReadChunksRequest

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
READ_BYTES = 256 * 1024
SLOWEST_BYTES_PER_SECOND = 64 * 1024
"""A slower holder counts as stalled: one that sends a byte now and then would block a read for ever."""
IMPATIENT_SECONDS = 0.7
"""How long a holder may stall while another should work: trying the next is cheap, and readers must not notice a hung
server. The last holder gets the full time, because then all are slow."""
AVOID_SECONDS = 5.0
LONGEST_AVOID_SECONDS = 60.0
"""How long a failed holder is tried last. Doubled with each failure until it works again."""

T = TypeVar("T")
Wanted = tuple[Digest, int]
"""A chunk's digest and its length in bytes."""


FOUND_DAMAGED = (DamagedChunk, Damaged, BadDigest)


class Source(NamedTuple):
    """A blob's holders in reading order. `holders_now` looks them up in the directory again."""

    name: str
    holders: Sequence[Holder]
    holders_now: Callable[[], Sequence[Holder]] | None = None
    blob: Digest | None = None


class _Flight:
    """A fetch of one chunk by one reader, for which others may wait."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.data: bytes | None = None


class ChunkFetcher:
    """Fetches chunks from holders. Thread-safe. `report_damaged(holder id, digests)` runs on `pool`, unawaited."""

    def __init__(
        self,
        peer: Opener,
        cache: Cache,
        report_damaged: Callable[[str, list[Digest]], None],
        pool: ThreadPoolExecutor,
        clock: Clock,
        stall_seconds: float,
    ) -> None:
        self._peer = peer
        self._cache = cache
        self._report_damaged = report_damaged
        self._pool = pool
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._flights: dict[Digest, _Flight] = {}
        self._avoided: dict[str, tuple[float, int]] = {}  # holder id: until when, failures in a row
        self._guard = threading.Lock()

    def chunks(self, source: Source, wanted: Sequence[Wanted]) -> tuple[dict[Digest, bytes], str]:
        """Fetch and cache `wanted` (distinct chunks, at most a window). Returns the bytes and the last holder used.

        Unavailable when no holder has them.
        """
        got: dict[Digest, bytes] = {}
        mine, others = self._claim(wanted)
        try:
            # Another reader may have fetched it between our look at the cache and our claim.
            for digest in [digest for digest, _ in mine if self._cache.has_chunk(digest)]:
                data = self._cache.chunk(digest)
                if data is not None:
                    self._land(digest, data, got)
            holder = self._fetch(source, [entry for entry in mine if entry[0] not in got], got)
            if mine:
                crash_point("proxy.read.fetched")
        finally:
            self._give_up([digest for digest, _ in mine if digest not in got])
        # Wait only after our own fetches have ended: otherwise two readers could wait for each other.
        failed = []
        for entry, flight in others:
            flight.landed.wait()
            if flight.data is None:
                failed.append(entry)
            else:
                got[entry[0]] = flight.data
        return got, self._fetch(source, failed, got) or holder

    def manifest(self, source: Source, digest: Digest) -> Manifest:
        """The blob's manifest from the cache or a holder, verified. Unavailable when no holder has it."""
        manifest = self._cache.manifest(digest)
        if manifest is not None:
            return manifest

        def ask(holder: Holder, patience: float) -> Manifest:
            path = MANIFEST_PATH + str(digest)
            try:
                with self._peer.open(holder.url, "GET", path, timeout=patience) as answer:
                    return Manifest.decode(answer.read_all(MAX_MANIFEST_BYTES), digest)
            except BadDigest:
                self._pool.submit(self._report_damaged, holder.id, [digest])
                raise

        manifest = self._from_any(source, ask)
        self._cache.keep_manifest(manifest)
        return manifest

    # ------------------------------------------------------------ one fetch for many readers

    def _claim(self, wanted: Sequence[Wanted]) -> tuple[list[Wanted], list[tuple[Wanted, _Flight]]]:
        mine: list[Wanted] = []
        others: list[tuple[Wanted, _Flight]] = []
        with self._guard:
            for entry in wanted:
                flight = self._flights.get(entry[0])
                if flight is None:
                    self._flights[entry[0]] = _Flight()
                    mine.append(entry)
                else:
                    others.append((entry, flight))
        return mine, others

    def _land(self, digest: Digest, data: bytes, got: dict[Digest, bytes]) -> None:
        got[digest] = data
        with self._guard:
            flight = self._flights.pop(digest, None)
        if flight is not None:
            flight.data = data
            flight.landed.set()

    def _give_up(self, digests: list[Digest]) -> None:
        for digest in digests:
            with self._guard:
                flight = self._flights.pop(digest, None)
            if flight is not None:
                flight.landed.set()

    # ------------------------------------------------------------ holders

    def _fetch(self, source: Source, wanted: Sequence[Wanted], got: dict[Digest, bytes]) -> str:
        if not wanted:
            return ""

        def ask(holder: Holder, patience: float) -> str:
            missing = [entry for entry in wanted if entry[0] not in got]
            for first in range(0, len(missing), MAX_READ_CHUNKS):
                self._stream(holder, missing[first : first + MAX_READ_CHUNKS], got, patience)
            return holder.id

        return self._from_any(source, ask)

    def _stream(self, holder: Holder, wanted: Sequence[Wanted], got: dict[Digest, bytes], patience: float) -> None:
        body = encode(ReadChunksRequest(digests=[digest for digest, _ in wanted]))
        longest = self._stall_seconds + sum(length for _, length in wanted) / SLOWEST_BYTES_PER_SECOND
        deadline = self._clock.monotonic() + longest
        due = iter(wanted)
        with self._peer.open(holder.url, "POST", READ_CHUNKS_PATH, body, timeout=patience) as answer:
            awaited = next(due, None)
            try:
                for digest, length, data in StreamReader(self._paced(holder, answer, deadline), expect_blob=False):
                    if awaited is None or (digest, length) != awaited:
                        raise BadDigest(f"file server {holder.id} sent chunk {digest} out of order")
                    if data is None:
                        raise IncompleteBody(f"file server {holder.id} did not send chunk {digest}")
                    FETCHED_BYTES.inc(length)
                    plain = bytes(data)
                    self._cache.keep_chunk(digest, plain)
                    self._land(digest, plain, got)
                    awaited = next(due, None)
            except BadDigest:
                if awaited is not None:
                    self._pool.submit(self._report_damaged, holder.id, [awaited[0]])
                raise
        if awaited is not None:
            raise IncompleteBody(f"file server {holder.id} did not send chunk {awaited[0]}")

    def _paced(self, holder: Holder, answer: UnreadReply, deadline: float) -> Callable[[int], bytes]:
        def read(count: int) -> bytes:
            data = answer.read(min(count, READ_BYTES))
            if self._clock.monotonic() > deadline:
                raise PeerUnreachable(f"file server {holder.id} sends too slowly", url=holder.url)
            return data

        return read

    def _from_any(self, source: Source, ask: Callable[[Holder, float], T]) -> T:
        """The result of `ask(holder, stall seconds)` with the first holder that does not fail."""
        failures: dict[str, LockstepError] = {}
        for holder, patience in self._candidates(source, failures):
            try:
                result = ask(holder, patience)
                self._avoided.pop(holder.id, None)
                return result
            except LockstepError as error:
                failures[holder.id] = error
                self._avoid(holder)
                READ_FAILOVERS.inc()
                log.warning("file server %s failed while reading %s: %s", holder.id, source.name, error)
        if not failures:
            raise Unavailable(
                f"{source.name} cannot be read now: no file server that holds it is up; try again shortly"
            )
        reasons = "; ".join(f"{id}: {error}" for id, error in failures.items())
        raise Unavailable(
            f"{source.name} cannot be read now: every file server that holds it failed ({reasons}); try again shortly",
            holders={id: error.code for id, error in failures.items()},
        )

    def _candidates(self, source: Source, failures: dict[str, LockstepError]) -> Iterator[tuple[Holder, float]]:
        """Holders to try, those that should work first. After all have failed, the directory's current ones follow.

        The directory is asked again at the end: a stream that broke off did not say that its next chunk is damaged, but
        a holder that is asked for this chunk first does.
        """
        ordered = self._ordered(source.holders)
        for index, holder in enumerate(ordered):
            another = any(other.up and not self._is_avoided(other) for other in ordered[index + 1 :])
            yield holder, min(IMPATIENT_SECONDS, self._stall_seconds) if another else self._stall_seconds
        told: set[str] = set()
        yield from ((holder, self._stall_seconds) for holder in self._current_holders(source, failures, told))
        if told < _damaged(failures):
            self._current_holders(source, failures, told)

    def _current_holders(self, source: Source, failures: dict[str, LockstepError], told: set[str]) -> Sequence[Holder]:
        """The holders that the directory names now. Damaged if it knows that no good copy is left.

        It first learns which of them found their copy damaged, except those that it was `told` of: so a file without a
        good copy is called damaged at once, and not only after their own reports.
        """
        if source.holders_now is None:
            return ()
        if source.blob is not None:
            for id in sorted(_damaged(failures) - told):
                told.add(id)
                self._report_damaged(id, [source.blob])
        try:
            return self._ordered(source.holders_now())
        except Damaged:
            raise  # retrying cannot help
        except LockstepError as error:
            log.warning("could not look up the holders of %s again: %s", source.name, error)
            return ()

    def _avoid(self, holder: Holder) -> None:
        _, failures = self._avoided.get(holder.id, (0.0, 0))
        seconds = pause_after(failures + 1, AVOID_SECONDS, LONGEST_AVOID_SECONDS)
        self._avoided[holder.id] = (self._clock.monotonic() + seconds, failures + 1)

    def _ordered(self, holders: Sequence[Holder]) -> list[Holder]:
        return sorted(holders, key=lambda holder: (not holder.up, self._is_avoided(holder)))

    def _is_avoided(self, holder: Holder) -> bool:
        avoided = self._avoided.get(holder.id)
        return avoided is not None and avoided[0] > self._clock.monotonic()


def _damaged(failures: dict[str, LockstepError]) -> set[str]:
    """The ids of the holders that found their copy damaged."""
    return {id for id, error in failures.items() if isinstance(error, FOUND_DAMAGED)}
