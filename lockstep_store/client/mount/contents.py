"""Opens files at their current version, and reads them.

Opening asks the proxy for the current version, so what a program reads is what was current when it opened the file. It
reads that one version to the end, whatever is saved meanwhile. Small files come with the answer; of others the chunks
are fetched when they are needed, and ahead of a program that reads in order. Every chunk is checked against its digest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

from lockstep_store.client.api.answers import ClientReceipt, RemoteFile
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.mount.chunk_cache import ChunkCache
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.transfers.download import ReadCheck
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import BadDigest, NotFound, NotModified, PeerUnreachable, PreconditionFailed
from lockstep_store.wire.manifest import MIN_CHUNK_BYTES, Manifest
from lockstep_store.wire.messages.files import FileVersion

SMALL_BYTES = MIN_CHUNK_BYTES
"""Files of one chunk, whose digest is that of their bytes."""
RUN_BYTES = 4 * 1024 * 1024
"""How much one request fetches of a file that is read in order."""
AHEAD_BYTES = 4 * RUN_BYTES
RECENT_CHUNKS = 4
MANIFESTS = 64
ATTEMPTS = 3


class Contents:
    """The content of one bucket's files."""

    def __init__(self, api: ApiCalls, bucket: str, calls: TimedCalls, cache: ChunkCache) -> None:
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._cache = cache
        self._guard = threading.Lock()
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()
        self._runs: set[_Run] = set()
        self._received = 0

    def open(self, key: str, known: FileVersion) -> PinnedFile:
        """Open the file at its current version. `known` is the version that the caller knows, perhaps an older one."""
        return self._calls.run(self._open, key, known)

    def _open(self, key: str, known: FileVersion) -> PinnedFile:
        if known.size > SMALL_BYTES:
            return PinnedFile(self, self._api.stat(key, bucket=self._bucket))
        cached = self._cache.get(known.digest)
        wanted = known.digest if cached is not None else None
        try:
            with self._api.open(key, bucket=self._bucket, if_none_match=wanted) as reply:
                digest, size = reply.receipt.digest, reply.length
                if digest is None:
                    raise BadDigest(f"the proxy sent {key} without its digest")
                file = RemoteFile(self._bucket, key, digest, reply.receipt.version, size, "", reply.receipt)
                if size > SMALL_BYTES:
                    return PinnedFile(self, file)
                data = b"".join(reply)
        except NotModified:
            return PinnedFile(self, _as_remote(known), cached)
        if chunk_digest(data) != digest:
            raise BadDigest(f"the proxy sent bytes of {key} that do not match their digest")
        self._cache.put(digest, data)
        return PinnedFile(self, file, data)

    def manifest(self, file: RemoteFile) -> Manifest:
        """The version's chunks."""
        with self._guard:
            kept = self._manifests.get(file.digest)
            if kept is not None:
                self._manifests.move_to_end(file.digest)
                return kept
        manifest = self._calls.run(ReadCheck(self._api, file).manifest)
        with self._guard:
            self._manifests[file.digest] = manifest
            while len(self._manifests) > MANIFESTS:
                self._manifests.popitem(last=False)
        return manifest

    def cached(self, digest: Digest) -> bytes | None:
        return self._cache.get(digest)

    def is_cached(self, digest: Digest) -> bool:
        return self._cache.has(digest)

    def fetch(self, file: RemoteFile, manifest: Manifest, first: int, stop: int) -> _Run:
        """Begin to fetch chunks [first, stop) with one request."""
        run = _Run(ReadCheck(self._api, file), {index: Future() for index in range(first, stop)})
        with self._guard:
            self._runs.add(run)
        self._calls.fetch(self._fetch, run, manifest, first, stop)
        return run

    def wait(self, run: _Run, index: int) -> bytes:
        """Return a chunk of a run. Raises what the request for it did."""
        return self._calls.wait(run.chunks[index], self.received_bytes)

    def _fetch(self, run: _Run, manifest: Manifest, first: int, stop: int) -> None:
        done = first
        try:
            for data in run.reader.chunks(manifest, first, stop):
                self._cache.put(manifest.chunks[done][0], data)
                run.chunks[done].set_result(data)
                done += 1
        except BaseException as error:  # noqa: BLE001 - whoever waits for a chunk must hear of any failure
            for index in range(done, stop):
                run.chunks[index].set_exception(error)
        finally:
            with self._guard:
                self._runs.discard(run)
                self._received += run.reader.received

    def received_bytes(self) -> int:
        """How many bytes have arrived: a request may wait for others on a slow line, but not for a silent proxy."""
        with self._guard:
            return self._received + sum(run.reader.received for run in self._runs)


@dataclass(frozen=True, eq=False)
class _Run:
    """Consecutive chunks, fetched by one request."""

    reader: ReadCheck
    chunks: dict[int, Future[bytes]]


class PinnedFile:
    """One version of a file, open for reading. Safe to use from several threads."""

    def __init__(self, contents: Contents, file: RemoteFile, content: bytes | None = None) -> None:
        self.file = file
        self._contents = contents
        self._content = content
        self._guard = threading.Lock()
        self._expected = 0
        self._runs: dict[int, _Run] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`; fewer only at the end of the file.

        PreconditionFailed if the version was removed and is not in the cache.
        """
        if self._content is not None:
            return self._content[offset : offset + size]
        stop = min(offset + size, self.file.size)
        if offset >= stop:
            return b""
        try:
            return self._read(offset, stop)
        except NotFound as error:
            raise PreconditionFailed(f"the version that was opened is gone ({error}): open the file again") from error

    def _read(self, offset: int, stop: int) -> bytes:
        manifest = self._contents.manifest(self.file)
        with self._guard:
            in_order = offset == self._expected and offset > 0
            self._expected = stop
            if not in_order:
                self._runs.clear()  # what was fetched ahead goes to the cache, not to this reader
        parts = []
        for index, _, _, begin, end in manifest.span(offset, stop):
            parts.append(self._chunk(manifest, index, in_order)[begin:end])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunk(self, manifest: Manifest, index: int, in_order: bool) -> bytes:
        for attempt in range(ATTEMPTS):
            with self._guard:
                if index in self._recent:
                    self._recent.move_to_end(index)
                    return self._recent[index]
                run = self._runs.get(index)
            data = self._contents.cached(manifest.chunks[index][0]) if run is None else None
            if data is None and run is None:
                run = self._begin(manifest, index, in_order)
            if in_order:
                self._read_ahead(manifest, index + 1)
            if run is not None:
                try:
                    data = self._contents.wait(run, index)
                except (PeerUnreachable, BadDigest):
                    with self._guard:
                        self._runs = {at: one for at, one in self._runs.items() if one is not run}
                    if attempt + 1 == ATTEMPTS:
                        raise
                    continue
            assert data is not None
            with self._guard:
                self._runs.pop(index, None)
                self._recent[index] = data
                while len(self._recent) > RECENT_CHUNKS:
                    self._recent.popitem(last=False)
            return data
        raise AssertionError("the last attempt returns or raises")

    def _begin(self, manifest: Manifest, first: int, in_order: bool) -> _Run:
        """Fetch a chunk, and if the file is read in order what follows it."""
        stop = first + 1
        with self._guard:
            while in_order and stop < len(manifest) and stop not in self._runs:
                digest, length = manifest.chunks[stop]
                far = manifest.offset_of(stop) + length - manifest.offset_of(first) > RUN_BYTES
                if far or self._contents.is_cached(digest):
                    break
                stop += 1
            run = self._contents.fetch(self.file, manifest, first, stop)
            self._runs.update(dict.fromkeys(range(first, stop), run))
        return run

    def _read_ahead(self, manifest: Manifest, index: int) -> None:
        limit = self._expected + AHEAD_BYTES
        while index < len(manifest) and manifest.offset_of(index) < limit:
            with self._guard:
                known = index in self._runs or index in self._recent
            if not known and not self._contents.is_cached(manifest.chunks[index][0]):
                self._begin(manifest, index, True)
            index += 1


def _as_remote(known: FileVersion) -> RemoteFile:
    receipt = ClientReceipt(known.digest, known.version, known.cursor)
    return RemoteFile(known.bucket, known.path, known.digest, known.version, known.size, known.content_type, receipt)
