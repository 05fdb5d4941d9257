"""Reads a file's content, from the cache or else from holders, and verifies it in both cases.

The directory has chosen the version to read. This module decides which chunks are needed, when to fetch them, and how
much memory to use. The chunk fetcher fetches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import NamedTuple

from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_fetcher import ChunkFetcher, Source, Wanted
from client_proxy.core.composition import Piece, Stored
from client_proxy.core.receipt import CacheUse, Receipt
from client_proxy.metrics import READS, SERVED_BYTES
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.peers.protocols import Opener
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest
from lockstep_store.wire.errors import Damaged, PeerUnreachable, RangeNotSatisfiable, Unavailable
from lockstep_store.wire.manifest import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Manifest
from lockstep_store.wire.messages.files import FileVersion, Holder

STALL_SECONDS = 5.0
FETCH_THREADS = 16
WINDOW_BYTES = 8 * 1024 * 1024
FIRST_WINDOW_BYTES = 1024 * 1024
"""The first window is this small, so the first byte does not wait for a whole batch. Later windows grow."""
WINDOW_CHUNKS = 256


class ChunkRange(NamedTuple):
    """Bytes [first, last) of one chunk."""

    digest: Digest
    length: int
    first: int
    last: int


class BlobReader:
    """Opens files for reading. Thread-safe; memory for read-ahead comes from `budget`, shared by all transfers.

    A holder that sends nothing for `stall_seconds` is replaced.
    """

    def __init__(
        self,
        peer: Opener,
        cache: Cache,
        report_damaged: Callable[[str, list[Digest]], None],
        *,
        budget: BufferBudget | None = None,
        stall_seconds: float = STALL_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self.cache = cache
        self.budget = budget or BufferBudget()
        self.pool = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="read-ahead")
        self.fetcher = ChunkFetcher(peer, cache, report_damaged, self.pool, clock or SystemClock(), stall_seconds)

    def open(
        self,
        version: FileVersion,
        cursor: int,
        *,
        leased: bool = False,
        holders_now: Callable[[], Sequence[Holder]] | None = None,
    ) -> OpenBlob:
        """Open the content of `version`, found at journal `cursor`, or `leased` since. Fetches nothing yet.

        `holders_now` looks up the holders again after every holder that `version` names has failed.
        """
        return OpenBlob(self, version, cursor, leased, holders_now)

    def pieces(self, contents: Sequence[Stored]) -> list[Piece]:
        """The manifests of `contents`, fetched several at a time. Unavailable when no holder has one."""

        def find(stored: Stored) -> Piece:
            if stored.digest == EMPTY_DIGEST:
                return Piece(Manifest([]), stored.source)
            return Piece(self.fetcher.manifest(stored.source, stored.digest), stored.source)

        under_way = [self.pool.submit(copy_context().run, find, stored) for stored in contents]
        try:
            return [future.result() for future in under_way]
        finally:
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """Stop reading ahead."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class OpenBlob:
    """One version, open for reading by one thread at a time. It was current at journal position `cursor`."""

    def __init__(
        self,
        reader: BlobReader,
        version: FileVersion,
        cursor: int,
        leased: bool,
        holders_now: Callable[[], Sequence[Holder]] | None,
    ) -> None:
        self.version = version
        self.cursor = cursor
        self.leased = leased
        self._reader = reader
        self._cache = reader.cache
        self._holders_now = holders_now
        self._manifest: Manifest | None = None
        self._from_cache = 0
        self._fetched = 0
        self._holder = ""
        self._finished = False

    def __enter__(self) -> OpenBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file's manifest. Reading must not continue afterwards."""
        self._manifest = None

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        """Final after the last block. Before, what reading [start, stop) will report unless the cache changes."""
        use, holder = self._use(), self._holder
        if not self._finished:
            use = self._expected_use(start, stop)
            holder = "" if use == "hit" or not self.version.holders else self.version.holders[0].id
        version = self.version
        return Receipt(version.digest, version.version, self.cursor, use, 0, holder, self.leased)

    def manifest(self) -> Manifest:
        """The ordered chunks of the content. Unavailable when no holder has it."""
        if self._manifest is None:
            manifest = self._find_manifest()
            if manifest.size != self.version.size:
                raise Damaged(
                    f"{self._name} is damaged: its manifest has {manifest.size} bytes, but the directory recorded "
                    f"{self.version.size}; restore another version"
                )
            self._manifest = manifest
        return self._manifest

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes [start, stop), by default to the end, in verified blocks of at most 4 MiB.

        Only the chunks that cover the range are read. Raises RangeNotSatisfiable at once for a range outside the file,
        and Unavailable, perhaps after some blocks, when every holder fails.
        """
        stop = self._checked_stop(start, stop)
        if self.version.size <= MIN_CHUNK_BYTES:
            return self._small_blocks(start, stop)
        return self._windowed_blocks(start, stop)

    # ------------------------------------------------------------ small files: one chunk with the file's digest

    def _small(self) -> bytes | None:
        """The content if it is one chunk; None if this small blob was composed of several."""
        version = self.version
        data = b"" if version.digest == EMPTY_DIGEST else self._cache.chunk(version.digest)
        if data is not None and len(data) == version.size:
            self._from_cache = 1
            return data
        if self._manifest is not None or self._cache.manifest(version.digest) is not None:
            return None
        try:
            return self._fetch([(version.digest, version.size)])[version.digest]
        except Unavailable as error:
            # Only a holder that replied can have the blob's manifest; unreachable holders are not tried twice.
            if set(error.facts.get("holders", {}).values()) <= {PeerUnreachable.code} or len(self.manifest()) == 1:
                raise
            return None

    def _small_blocks(self, start: int, stop: int) -> Iterator[bytes]:
        data = self._small()
        if data is None:
            yield from self._windowed_blocks(start, stop)
            return
        if start < stop:
            yield data if stop - start == len(data) else data[start:stop]
        self._finish(stop - start)

    # ------------------------------------------------------------ windows of chunks

    def _windowed_blocks(self, start: int, stop: int) -> Iterator[bytes]:
        ranges = (ChunkRange(*piece[1:]) for piece in self.manifest().span(start, stop))
        lacking = self._lacking_bytes(start, stop)
        ahead: Future[dict[Digest, bytes]] | None = None
        with self._reader.budget.share(min(2 * WINDOW_BYTES, 2 * lacking)) as granted:
            windows = _windows(ranges, granted // 2)
            window = next(windows, None)
            fetched = self._fetch(self._missing(window or ()))
            try:
                while window is not None:
                    following = next(windows, None)
                    # Without a share of the budget, only the window being read is held in memory.
                    if following is not None and granted:
                        ahead = self._fetch_ahead(following)
                    yield from self._serve(window, fetched)
                    if following is not None:
                        fetched = ahead.result() if ahead is not None else self._fetch(self._missing(following))
                    window, ahead = following, None
            finally:
                if ahead is not None:
                    ahead.cancel()
        self._finish(stop - start)

    def _lacking_bytes(self, start: int, stop: int) -> int:
        """How many bytes must be fetched. Stops counting at a window's size, the most that read-ahead can use."""
        lacking = 0
        for _, digest, length, _, _ in self.manifest().span(start, stop):
            if not self._cache.has_chunk(digest):
                lacking += length
                if lacking >= WINDOW_BYTES:
                    break
        return lacking

    def _fetch_ahead(self, window: Sequence[ChunkRange]) -> Future[dict[Digest, bytes]] | None:
        missing = self._missing(window)
        if not missing:
            return None
        return self._reader.pool.submit(copy_context().run, self._fetch, missing)

    def _serve(self, window: Sequence[ChunkRange], fetched: dict[Digest, bytes]) -> Iterator[bytes]:
        for chunk in window:
            data = fetched.get(chunk.digest)
            if data is None:
                data = self._cache.chunk(chunk.digest)
                if data is not None:
                    self._from_cache += 1
                else:  # evicted since the window was planned, or damaged
                    data = self._fetch([(chunk.digest, chunk.length)])[chunk.digest]
            yield data if chunk.last - chunk.first == len(data) else data[chunk.first : chunk.last]

    def _missing(self, ranges: Iterable[ChunkRange]) -> list[Wanted]:
        distinct = dict((chunk.digest, chunk.length) for chunk in ranges)
        return [wanted for wanted in distinct.items() if not self._cache.has_chunk(wanted[0])]

    def _fetch(self, wanted: Sequence[Wanted]) -> dict[Digest, bytes]:
        if not wanted:
            return {}
        got, holder = self._reader.fetcher.chunks(self._source, wanted)
        self._fetched += len(wanted)
        self._holder = holder or self._holder
        return got

    # ------------------------------------------------------------ manifest, range and receipt

    @property
    def _name(self) -> str:
        return f"{self.version.path!r} in bucket {self.version.bucket!r}"

    @property
    def _source(self) -> Source:
        return Source(self._name, self.version.holders, self._holders_now, self.version.digest)

    def _find_manifest(self) -> Manifest:
        version = self.version
        if version.size <= MAX_CHUNK_BYTES:
            whole = self._cache.chunk(version.digest)  # it has the blob's digest, so it is the whole blob
            if whole is not None and len(whole) == version.size:
                return Manifest([(version.digest, version.size)])
        if version.digest == EMPTY_DIGEST:
            return Manifest([])
        return self._reader.fetcher.manifest(self._source, version.digest)

    def _checked_stop(self, start: int, stop: int | None) -> int:
        size = self.version.size
        stop = size if stop is None else stop
        if not 0 <= start <= stop <= size:
            raise RangeNotSatisfiable(
                f"bytes {start} to {stop} are outside {self._name}, which has {size} bytes", size=size
            )
        return stop

    def _expected_use(self, start: int, stop: int | None) -> CacheUse:
        stop = self._checked_stop(start, stop)
        if self.version.digest == EMPTY_DIGEST or self._cache.has_chunk(self.version.digest):
            return "hit"
        if self.version.size <= MIN_CHUNK_BYTES:
            return "miss"
        needed = {chunk[1] for chunk in self.manifest().span(start, stop)}
        present = sum(self._cache.has_chunk(digest) for digest in needed)
        return "hit" if present == len(needed) else "delta" if present else "miss"

    def _use(self) -> CacheUse:
        if not self._fetched:
            return "hit"
        return "delta" if self._from_cache else "miss"

    def _finish(self, served_bytes: int) -> None:
        self._finished = True
        SERVED_BYTES.inc(served_bytes)
        READS[self._use() or "hit"].inc()


def _windows(ranges: Iterable[ChunkRange], limit: int) -> Iterator[list[ChunkRange]]:
    """Group `ranges` into windows of at most `limit` bytes (but at least one chunk), the first ones smaller."""
    window: list[ChunkRange] = []
    size = 0
    room = min(limit, FIRST_WINDOW_BYTES)
    for chunk in ranges:
        if window and (size + chunk.length > room or len(window) >= WINDOW_CHUNKS):
            yield window
            window, size = [], 0
            room = min(limit, 2 * room)
        window.append(chunk)
        size += chunk.length
    if window:
        yield window
