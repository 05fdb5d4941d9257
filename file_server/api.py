"""The routes of a file server: parse, call one thing, encode.

wire/messages/servers.py declares the calls and streams. Mutual TLS and the caller's proof decide who may call, a
write's ticket whether it is accepted.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator

from prometheus_client import Counter

from file_server.store.chunk_store import ChunkStore
from file_server.writes.small_write_handler import SmallWriteHandler
from file_server.writes.stream_write_handler import StreamWriteHandler
from lockstep_store.runtime.http.api import Api, RawReply, RawRequest
from lockstep_store.runtime.http.thread_shares import ThreadShare
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.chunk_stream import CONTENT_TYPE, encode_stream, stream_length
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.codec import Call, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Overloaded, TooLarge
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.cluster import Health
from lockstep_store.wire.messages.servers import (
    HOP_HEADER,
    MANIFEST_PATH,
    MISSING_CHUNKS,
    READ_CHUNKS_PATH,
    SMALL_WRITES,
    TICKET_HEADER,
    WRITE_PATH,
    Hop,
    MissingChunksReply,
    MissingChunksRequest,
    ReadChunksRequest,
)

MANIFEST_TYPE = "application/vnd.lockstep.manifest"
MAX_READ_BYTES = 16 * 1024 * 1024
WHOLE_REPLY_BYTES = 2 * 1024 * 1024
"""Replies up to this size are built in memory, which frees their thread at once; larger ones go chunk by chunk."""
PIECE_BYTES = 256 * 1024
WHOLE_REPLIES = 6
"""Built at a time; this bounds the memory of reads, with the copy that the runner makes of each."""
WHOLE_REPLY_SECONDS = 4.0
"""How long a read waits for its turn: less than a proxy's time-out, so that it gets the reason."""
MAX_READ_REQUEST_BYTES = 64 * 1024
MAX_TICKET_CHARACTERS = 256 * 1024
CALLERS = ("client_proxy", "file_server")
"""The roles that read and write chunks; the directory does neither."""

READ_BYTES = Counter("lockstep_file_server_read_bytes", "Plain bytes of chunks sent to readers")

_READ = Call(READ_CHUNKS_PATH, ReadChunksRequest, Nothing)


class FileServerApi:
    """The WSGI application of file server `id`, which handles `threads` requests of proxies at a time."""

    def __init__(
        self,
        id: str,
        store: ChunkStore,
        streams: StreamWriteHandler,
        small: SmallWriteHandler,
        health: Callable[[], Health],
        verify_peer: Callable[[str], PeerIdentity],
        threads: int,
    ) -> None:
        self._store = store
        self._streams = streams
        self._whole_replies = threading.BoundedSemaphore(WHOLE_REPLIES)
        people = ThreadShare(threads, threads)
        self.wsgi = Api("file_server", id, verify_peer, lambda path: people)
        self.pool = people.threads + threads
        """How many threads the runner needs: requests of proxies always leave `threads` of them to other programs."""
        self.wsgi.health = health
        self.wsgi.serve(MISSING_CHUNKS, self._missing, CALLERS)
        self.wsgi.serve(SMALL_WRITES, lambda request, _: small.write(request), CALLERS)
        self.wsgi.serve_raw("POST", WRITE_PATH, self._write, roles=CALLERS)
        self.wsgi.serve_raw("POST", READ_CHUNKS_PATH, self._read, roles=CALLERS)
        self.wsgi.serve_raw("GET", MANIFEST_PATH, self._manifest, prefix=True, roles=CALLERS)

    def _write(self, request: RawRequest) -> RawReply:
        ticket = request.header(TICKET_HEADER)
        if not ticket or len(ticket) > MAX_TICKET_CHARACTERS:
            raise BadRequest(f"the header {TICKET_HEADER} is missing or too long: it must have the write's ticket")
        body = encode(self._streams.write(ticket, _hop(request.header(HOP_HEADER)), request.read))
        return RawReply(200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], [body])

    def _read(self, request: RawRequest) -> RawReply:
        digests = _READ.decode_request(request.body(MAX_READ_REQUEST_BYTES)).digests
        lengths = self._store.lengths(digests)
        total = sum(lengths)
        if total > MAX_READ_BYTES:
            raise TooLarge(f"the chunks have {total} bytes; read at most {MAX_READ_BYTES} at a time")
        headers = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(stream_length(lengths)))]
        chunks = self._chunks(digests)
        if total > WHOLE_REPLY_BYTES:
            # The first chunk is read before the reply begins, because a reply that breaks off gives no reason.
            return RawReply(200, headers, _pieces(itertools.chain([next(chunks)], chunks)))
        if not self._whole_replies.acquire(timeout=WHOLE_REPLY_SECONDS):
            raise Overloaded("this file server is busy with too many reads; try again shortly")
        try:
            return RawReply(200, headers, list(_pieces(chunks)))
        finally:
            self._whole_replies.release()

    def _chunks(self, digests: list[Digest]) -> Iterator[Chunk]:
        for digest in digests:
            data = self._store.read_chunk(digest)
            READ_BYTES.inc(len(data))
            yield Chunk(digest, len(data), data)

    def _manifest(self, request: RawRequest) -> RawReply:
        body = self._store.manifest(Digest.parse(request.rest)).encode()
        return RawReply(200, [("Content-Type", MANIFEST_TYPE), ("Content-Length", str(len(body)))], [body])

    def _missing(self, request: MissingChunksRequest, _: PeerIdentity | None) -> MissingChunksReply:
        return MissingChunksReply(self._store.missing(request.digests))


def _pieces(chunks: Iterator[Chunk]) -> Iterator[bytes]:
    """Yield the chunk stream in small pieces: the runner copies each, and keeps the memory of the largest."""
    for block in encode_stream(chunks):
        view = memoryview(block)
        for start in range(0, len(view), PIECE_BYTES):
            yield bytes(view[start : start + PIECE_BYTES])


def _hop(text: str) -> Hop:
    if text == "master":
        return "master"
    if text == "replica":
        return "replica"
    raise BadRequest(f"the header {HOP_HEADER} is {text[:20]!r}; it must be `master` or `replica`")


def health_of(id: str, version: str, store: ChunkStore, uptime_seconds: float, problems: list[str]) -> Health:
    """Return this server's health. It is healthy while its storage takes writes; `problems` are only listed.

    An unreachable directory server is such a problem: restarting this server would not help.
    """
    storage = store.problem
    totals = store.totals
    return Health(
        program="file_server",
        id=id,
        version=version,
        healthy=not storage,
        problems=[storage, *problems] if storage else problems,
        uptime_seconds=uptime_seconds,
        pid=os.getpid(),
        facts={"blobs": totals.blobs, "chunks": totals.chunks, "stored_bytes": totals.stored_bytes},
    )
