"""Writes a file's content: begins at the directory, sends the chunks to the master, returns its commit.

Three ways, by what is known:

- *Linked.* The digest is known (announced, or the body was small enough to be read first) and the cluster has that
  content: the directory commits at once, and no byte is sent.
- *Held.* The whole body fits into the hold (8 MiB). It is kept until the reply arrives, so after any failure it is
  sent again under the same write id, to another master if necessary.
- *Streamed.* Longer bodies are sent in windows while they arrive. Until a master has answered the offer of the first
  window, another master can take over. After that part of the body is gone, so a failure is Unavailable (503) and the
  client sends it again; chunks that arrived are addressed by digest and are not sent twice. Spooling the body to disk
  instead would cost every upload a second write for the sake of the rare one that fails.

`write_attempts` chooses masters and settles lost replies, `chunk_upload` sends, and `lockstep_store.wire.chunking` cuts
the content into chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_upload import MasterStream, Upload
from client_proxy.core.composition import Composition
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.incoming_blocks import kept, noted, of_size
from client_proxy.core.left_out_chunks import LeftOutChunks, SentChunks
from client_proxy.core.small_writes import SmallWrites
from client_proxy.core.write_attempts import WriteAttempts, linked
from client_proxy.metrics import SENT
from lockstep_store.runtime.backoff import JITTER
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import Chunk, chunk_blocks
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadDigest,
    IncompleteBody,
    LockstepError,
    MissingChunks,
    TicketRefused,
    Unavailable,
)
from lockstep_store.wire.manifest import MIN_CHUNK_BYTES, Manifest
from lockstep_store.wire.messages.files import CommittedReply, Holder
from lockstep_store.wire.messages.servers import WriteReply
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem

HOLD_BYTES = 8 * 1024 * 1024
WINDOW_BYTES = 2 * 1024 * 1024
"""A window ends with the chunk that passes this."""
SMALLEST_HOLD_BYTES = 768 * 1024
WINDOWS_HELD = 4
"""The hold is divided into this many windows: one is filled while the others are sent."""
WINDOW_CHUNKS = 4096
WINDOW_SECONDS = 2.0
"""After so long a window is sent although it is not full, so that the master does not time out on a slow client."""
TrailingMetadata = Callable[[], dict[str, str]]
"""Returns metadata that is known only after the last block, such as checksums. Called once, at that point."""


def no_trailing_metadata() -> dict[str, str]:
    """For a body without trailing metadata."""
    return {}


class Window(NamedTuple):
    """Some consecutive chunks of a body, and whether they are its last ones."""

    chunks: list[Chunk]
    ended: bool


class IncomingBody(NamedTuple):
    """A body: its chunks, and the metadata that follows the last one."""

    chunks: Iterator[Chunk]
    trailing_metadata: TrailingMetadata


class BlobWriter:
    """Writes contents. Thread-safe; memory for windows comes from `budget`, shared by all transfers."""

    def __init__(
        self,
        directory: DirectoryClient,
        upload: Upload,
        cache: Cache,
        *,
        budget: BufferBudget | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = JITTER,
    ) -> None:
        self._directory = directory
        self._upload = upload
        self._cache = cache
        self._budget = budget or BufferBudget()
        self._monotonic = monotonic
        self._attempts = WriteAttempts(directory, sleep=sleep, monotonic=monotonic, jitter=jitter)
        self._sent = SentChunks()
        self._small = SmallWrites(directory, upload)

    def write(
        self, item: BeginItem, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = no_trailing_metadata
    ) -> CommittedReply:
        """Commit `blocks` as the content of `item`. IncompleteBody when `item.size` is given and differs."""
        try:
            return self._write(item, IncomingBody(chunk_blocks(of_size(blocks, item.size)), trailing_metadata), None)
        except MissingChunks as error:  # a client that sends plain bytes cannot send single chunks
            raise Unavailable(f"a file server lost chunks of {item.path!r} during the write; send it again") from error

    def write_chunks(
        self,
        item: BeginItem,
        stream: StreamReader,
        announced: Digest | None,
        readable: Container[Digest] = (),
        trailing_metadata: TrailingMetadata = no_trailing_metadata,
    ) -> CommittedReply:
        """Commit a client's chunk stream; BadDigest when its content is not the `announced` one.

        MissingChunks when frames came without bytes that the master lacks, or that are neither among the `readable`
        chunks nor in an upload that the same person began here.
        """
        begun = None
        if announced is not None:
            item = msgspec.structs.replace(item, digest=announced)
            begun = self._directory.begin(item)
            if begun.version is not None:
                return linked(begun)
        left_out = LeftOutChunks(lambda digest: self._sent.has(item.credential, digest) or digest in readable)
        try:
            return self._write(item, IncomingBody(left_out.checked(stream), trailing_metadata), begun)
        except MissingChunks as error:
            if begun is None or begun.master is None or not left_out.refused:
                raise
            raise left_out.all_missing(partial(self._upload.lacking, begun.master)) from error

    def write_composed(self, item: BeginItem, composition: Composition) -> CommittedReply:
        """Commit a composition of stored contents. After any failure it is sent again."""
        item = _known(item, composition.manifest)

        def send(begun: BeginReplyItem, master: Holder) -> CommittedReply:
            try:
                return _committed(self._upload.send_composed(master, begun.ticket or "", composition))
            except MissingChunks as error:  # it had reported that it holds them
                raise Unavailable(f"file server {master.id} lost chunks of {item.path!r} during the write") from error

        committed = self._attempts.with_masters(item, None, send)
        self._cache.keep_written_manifest(composition.manifest)
        return committed

    def _write(self, item: BeginItem, body: IncomingBody, begun: BeginReplyItem | None) -> CommittedReply:
        arrived: set[Digest] = set()
        body = body._replace(chunks=noted(body.chunks, arrived))
        if item.size is not None and item.size <= MIN_CHUNK_BYTES:
            window = self._gather(body.chunks, HOLD_BYTES)
            return self._write_held(_learned(item, body), window.chunks, begun)
        body = body._replace(chunks=kept(body.chunks, self._cache.keep_written))
        # No more than needed: the rest of the budget decides how much other bodies may hold.
        wanted = HOLD_BYTES if item.size is None else min(item.size, HOLD_BYTES)
        with self._budget.share(wanted) as granted:
            hold = max(granted, SMALLEST_HOLD_BYTES)
            window = self._gather(body.chunks, hold)
            if window.ended:
                return self._write_held(_learned(item, body), window.chunks, begun)
            try:
                return self._write_streamed(item, window, body, hold, begun)
            except BaseException:
                self._sent.remember(item.credential, arrived)  # so that the next attempt need not send them
                raise

    def _gather(self, chunks: Iterator[Chunk], room: int, seconds: float | None = None) -> Window:
        gathered: list[Chunk] = []
        until = None if seconds is None else self._monotonic() + seconds
        for chunk in chunks:
            gathered.append(chunk)
            room -= len(chunk.data) if chunk.data is not None else 0
            if room < 0 or len(gathered) >= WINDOW_CHUNKS or (until is not None and self._monotonic() > until):
                return Window(gathered, ended=False)
        return Window(gathered, ended=True)

    # ------------------------------------------------------------ held: the whole body is in memory

    def _write_held(self, item: BeginItem, chunks: list[Chunk], begun: BeginReplyItem | None) -> CommittedReply:
        manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
        item = _known(item, manifest)
        stream = SmallWrites.stream_of(chunks) if begun is None else None
        outcomes: list[WriteReply | LockstepError | None] = []

        def begin(item: BeginItem) -> BeginReplyItem:
            answered = self._small.begin(item, stream or b"")
            outcomes[:] = [answered.outcome]
            return answered.begun

        def send(begun: BeginReplyItem, master: Holder) -> CommittedReply:
            ticket = begun.ticket or ""
            sent = outcomes.pop() if outcomes else None
            if isinstance(sent, LockstepError):
                raise sent
            if sent is not None:
                return _committed(sent)
            try:
                return _committed(self._upload.send_held(master, ticket, chunks))
            except MissingChunks:
                if any(chunk.data is None for chunk in chunks):
                    raise
                # The master has lost chunks that it had reported.
                return _committed(self._upload.send_held(master, ticket, chunks, leave_out=False))

        committed = self._attempts.with_masters(item, begun, send, begin if stream is not None else None)
        if len(chunks) > 1:
            self._cache.keep_written_manifest(manifest)
        elif chunks and chunks[0].data is not None:
            self._cache.keep_in_memory(chunks[0].digest, bytes(chunks[0].data))
        return committed

    # ------------------------------------------------------------ streamed: longer than may be held

    def _write_streamed(
        self, item: BeginItem, first: Window, body: IncomingBody, hold: int, begun: BeginReplyItem | None
    ) -> CommittedReply:
        room = min(WINDOW_BYTES, hold // WINDOWS_HELD)

        def offer(begun: BeginReplyItem, master: Holder) -> tuple[MasterStream, list[Chunk], set[Digest]]:
            sent: set[Digest] = set()
            lacking = self._upload.thinned(master, first.chunks, sent)
            return self._upload.start(master, begun.ticket or "", hold - room), lacking, sent

        offered = self._attempts.with_masters(item, begun, offer)
        if isinstance(offered, CommittedReply):
            return offered
        sender, lacking, sent = offered
        entries = [(chunk.digest, chunk.length) for chunk in first.chunks]
        first.chunks.clear()  # callers still hold the window, and its bytes must be freed as they are sent
        try:
            with sender:
                sender.put(lacking)
                return _committed(self._send_windows(item, sender, entries, sent, body, room))
        except (Unavailable, TicketRefused) as error:
            return self._after_failure(item, sender, error)

    def _send_windows(
        self,
        item: BeginItem,
        sender: MasterStream,
        entries: list[tuple[Digest, int]],
        sent: set[Digest],
        body: IncomingBody,
        room: int,
    ) -> WriteReply:
        """Send one window while the next is read, cut, hashed and compared with what the master has.

        Appends to `entries`, which has the chunks already on their way.
        """
        ended = False
        while not ended:
            chunks, ended = self._gather(body.chunks, room, WINDOW_SECONDS)
            entries.extend((chunk.digest, chunk.length) for chunk in chunks)
            lacking = self._upload.thinned(sender.master, chunks, sent)
            del chunks  # only the sender keeps the bytes, and frees them as they are sent
            sender.put(lacking)
            crash_point("proxy.window.sent")
        manifest = Manifest(entries)
        _known(item, manifest)
        answer = sender.finish(manifest, body.trailing_metadata())
        self._cache.keep_written_manifest(manifest)
        return answer

    def _after_failure(self, item: BeginItem, sender: MasterStream, error: LockstepError) -> CommittedReply:
        """The body is gone: the write was committed and only its reply lost, or the client must send it again."""
        self._attempts.avoiding(item, BeginReplyItem(master=sender.master), error)
        if isinstance(error, TicketRefused):
            begun = self._directory.begin(item)  # raises Locked or LockStale when that was the reason
            if begun.version is not None:
                return linked(begun)
        failed = Unavailable(
            f"file server {sender.master.id} failed while {item.path!r} was being sent ({error}): nothing was saved; "
            "send it again, chunks that arrived are not stored twice"
        )
        failed.__cause__ = error
        return self._attempts.settled(item, failed)


def _learned(item: BeginItem, body: IncomingBody) -> BeginItem:
    """`item` with the trailing metadata of the body."""
    trailing = body.trailing_metadata()
    return msgspec.structs.replace(item, metadata=item.metadata | trailing) if trailing else item


def _known(item: BeginItem, manifest: Manifest) -> BeginItem:
    """`item` with the body's digest and size; BadDigest when another digest was announced."""
    if item.digest is not None and item.digest != manifest.digest:
        raise BadDigest(f"the body has digest {manifest.digest}, but {item.digest} was announced; nothing was saved")
    if item.size is not None and item.size != manifest.size:
        raise IncompleteBody(f"the body has {manifest.size} bytes, but {item.size} were declared; nothing was saved")
    return msgspec.structs.replace(item, digest=manifest.digest, size=manifest.size)


def _committed(answer: WriteReply) -> CommittedReply:
    if answer.version is None:
        raise Unavailable(f"file server {answer.holder} stored the content but returned no version; try again")
    crash_point("proxy.write.answered")
    SENT.inc()
    return CommittedReply(
        cursor=answer.cursor or answer.version.cursor,
        version=answer.version,
        copies=answer.copies,
        file_server=answer.holder,
    )
