"""Uploads one file: whole, as a delta against the current version, or resumed after a lost connection.

The first of these that applies:

- A large file with a current version: its chunks, with bytes only for those that the version lacks.
- A large file whose upload was interrupted: first its chunks without bytes, to learn which have not arrived.
- Any other file: plain bytes with their length.

After a lost connection the write may have been committed. It was if the path's current version has the content that
was sent and, under a lock, was written under that lock. With a condition, the version may be another writer's who won
the race. So the upload is repeated, and if the condition then fails, the outcome cannot be determined. Otherwise the
upload is retried as an interrupted one, also after a 503, which the cluster returns when a file server dies in the
middle of a large file. A file that changes while it is read is never saved: its last block is sent only after a check.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from lockstep_store.client.api.answers import UNCONDITIONAL, RemoteFile, Saved, WriteOptions, label
from lockstep_store.client.api.body import Body
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import FileChanged
from lockstep_store.client.transfers.interrupted_uploads import InterruptedUploads
from lockstep_store.client.transfers.local_chunks import LocalFile
from lockstep_store.wire.chunk_stream import MAGIC, encode_stream, end_frame, frame_header, stream_length
from lockstep_store.wire.chunking import Chunk, chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadDigest,
    IncompleteBody,
    LockStale,
    LockstepError,
    MissingChunks,
    NotFound,
    PeerUnreachable,
    PreconditionFailed,
    StorageFull,
    Unavailable,
    Undecided,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import CommittedReply, FileVersion

LARGE_BYTES = 4 * 1024 * 1024
ATTEMPTS = 4
MAX_ROUNDS = 8
PAUSES_SECONDS = (0.5, 2.0, 5.0)

Progress = Callable[[int], None]
"""Called with the number of bytes transferred since the last call."""


def no_progress(count: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Sent:
    """A finished upload. `bytes_sent` counts content on the wire; `delta`: some chunks were left out."""

    saved: Saved
    bytes_sent: int
    delta: bool


def upload(
    api: ApiCalls,
    source: Path,
    bucket: str,
    path: str,
    *,
    options: WriteOptions = UNCONDITIONAL,
    progress: Progress = no_progress,
    interrupted: InterruptedUploads | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Save the file `source` as `bucket`:`path`.

    LocalFileError if it cannot be read, FileChanged if it changed during both of two attempts. The cluster's errors
    are raised unchanged.
    """
    try:
        return _upload_as_it_is(api, source, (bucket, path), options, progress, interrupted, sleep)
    except FileChanged:
        return _upload_as_it_is(api, source, (bucket, path), options, progress, interrupted, sleep)


def _upload_as_it_is(
    api: ApiCalls,
    source: Path,
    where: tuple[str, str],
    options: WriteOptions,
    progress: Progress,
    interrupted: InterruptedUploads | None,
    sleep: Callable[[float], None],
) -> Sent:
    with LocalFile(source) as file:
        if interrupted is None or file.size <= LARGE_BYTES:
            return _Upload(api, file, where, options, progress, sleep).run(resumed=False)
        note = (*where, file.size)
        resumed = interrupted.begin(*note)
        try:
            sent = _Upload(api, file, where, options, progress, sleep).run(resumed)
        except LockstepError as error:
            if not isinstance(error, Unavailable):
                interrupted.done(*note)
            raise
        interrupted.done(*note)
        return sent


def upload_stream(
    api: ApiCalls, source: BinaryIO, bucket: str, path: str, *, options: WriteOptions = UNCONDITIONAL
) -> Sent:
    """Save `source` up to its end, of any length and without a temporary file. Never retried."""
    count = 0

    def blocks() -> Iterator[bytes]:
        nonlocal count
        while block := source.read(1024 * 1024):
            count += len(block)
            yield block

    # A chunk stream proves its own end, so it needs no length; plain bytes without one would be refused.
    saved = api.put_chunks(path, Body(encode_stream(chunk_blocks(blocks())), None), options, bucket=bucket)
    return Sent(saved, count, delta=False)


class _Upload:
    """The upload of one file."""

    def __init__(
        self,
        api: ApiCalls,
        file: LocalFile,
        where: tuple[str, str],
        options: WriteOptions,
        progress: Progress,
        sleep: Callable[[float], None],
    ) -> None:
        self._api = api
        self._file = file
        self._bucket, self._path = where
        self._options = options
        self._progress = progress
        self._sleep = sleep
        self._large = file.size > LARGE_BYTES
        self._before = api.stat_or_none(where[1], bucket=where[0]) if self._large else None
        self._manifest: Manifest | None = None
        self._reported = 0
        self._sent = 0

    def run(self, resumed: bool) -> Sent:
        """Upload it, in at most `ATTEMPTS` attempts. `resumed`: an earlier command began the same upload."""
        begun = was_cut = False
        for attempt in range(ATTEMPTS):
            last = attempt + 1 == ATTEMPTS
            try:
                return self._once(ask_first=self._large and (resumed or begun))
            except StorageFull:
                raise  # retrying cannot help
            except Unavailable as error:
                begun = begun or not error.facts.get("unsent")
                was_cut = was_cut or (begun and not _says_not_done(error))
                found = self._committed(sure=False) if was_cut else None
                if found is not None:
                    return found
                if last or error.facts.get("final"):
                    raise
                self._sleep(PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS) - 1)])
            except (BadDigest, IncompleteBody):
                self._file.check_unchanged()  # the likely cause, with the better message
                if last:
                    raise
            except (PreconditionFailed, LockStale):
                # After a lost connection our own commit can be the cause: it changed the path or released the lock.
                found = self._committed(sure=True) if was_cut else None
                if found is None:
                    raise
                return found
        raise AssertionError("the last attempt returns or raises")

    def _once(self, ask_first: bool) -> Sent:
        base = self._base() if self._large else None
        if base is None and not ask_first:
            return self._plain()
        if self._manifest is None:
            self._manifest = self._file.manifest(base)
        known = self._manifest if base is None or ask_first else base
        return self._as_chunks(self._manifest, {digest for digest, _ in known.chunks})

    def _base(self) -> Manifest | None:
        if self._before is None or self._before.size == 0:
            return None
        try:
            return self._api.manifest(self._path, bucket=self._bucket, version=self._before.version)
        except NotFound:
            return None  # removed since: send plain bytes

    def _plain(self) -> Sent:
        self._sent = 0
        if not self._file.size:
            self._file.check_unchanged()
        saved = self._api.put_body(
            self._path, Body(self._plain_blocks(), self._file.size), self._options, bucket=self._bucket
        )
        return Sent(saved, self._sent, delta=False)

    def _plain_blocks(self) -> Iterator[bytes]:
        for block in self._file.blocks():
            yield block
            self._sent += len(block)
            self._advance_to(self._sent)

    def _as_chunks(self, manifest: Manifest, withheld: set[Digest]) -> Sent:
        withheld = withheld & {digest for digest, _ in manifest.chunks}
        for _ in range(MAX_ROUNDS):
            try:
                return self._send(manifest, withheld)
            except MissingChunks as error:
                missing = {Digest.parse(digest) for digest in error.facts.get("digests", [])}
                if not missing & withheld:
                    break
                withheld = withheld - missing
        # It requests chunks that were sent, or too many rounds have passed: send every byte once.
        return self._send(manifest, set())

    def _send(self, manifest: Manifest, withheld: set[Digest]) -> Sent:
        self._sent = 0
        length = stream_length(0 if digest in withheld else length for digest, length in manifest.chunks)
        body = Body(self._stream(manifest, withheld), length)
        saved = self._api.put_chunks(
            self._path,
            body,
            self._options,
            bucket=self._bucket,
            digest=manifest.digest,
            size=manifest.size,
            base_version=self._before.version if self._before is not None and withheld else "",
        )
        self._advance_to(manifest.size)
        return Sent(saved, self._sent, delta=bool(withheld))

    def _stream(self, manifest: Manifest, withheld: set[Digest]) -> Iterator[bytes]:
        only_asking = all(digest in withheld for digest, _ in manifest.chunks)
        yield MAGIC
        offset = 0
        for digest, length in manifest.chunks:
            data = None if digest in withheld else self._file.read(offset, length)
            yield frame_header(Chunk(digest, length, data))
            if data is not None:
                yield data
                self._sent += length
            offset += length
            if not only_asking:
                self._advance_to(offset)
        self._file.check_unchanged()
        yield end_frame(manifest.digest, manifest.size)

    def _advance_to(self, done: int) -> None:
        if done > self._reported:
            self._progress(done - self._reported)
            self._reported = done

    def _committed(self, *, sure: bool) -> Sent | None:
        """The write whose reply was lost, if it was committed.

        `sure`: the cluster refused a repetition, as it does after a commit of ours. Otherwise, if the version before is
        unknown, equal content does not prove that a write under a lock was committed and released it. Undecided if
        equal content does not prove that a conditional write was ours.
        """
        number = self._options.lock_number
        is_conditional = number is None and bool(self._options.if_match or self._options.if_none_match)
        if is_conditional and not sure:
            return None
        try:
            current = self._api.stat(self._path, bucket=self._bucket)
        except LockstepError:
            return None
        if current.size != self._file.size or (self._before and current.version == self._before.version):
            return None
        if not sure and not self._large and number is not None:
            return None
        if self._manifest is None:
            self._manifest = self._file.manifest()
        if current.digest != self._manifest.digest:
            return None
        if number is not None and not self._was_written_under(number, current.version):
            return None
        if is_conditional:
            raise Undecided(
                "the reply to an earlier attempt was lost, and "
                f"{label(self._bucket, self._path)} now has exactly this content, written by that attempt or by "
                "someone else: check who wrote it before you continue"
            )
        self._advance_to(self._file.size)
        return Sent(_as_saved(current), self._sent, delta=False)

    def _was_written_under(self, lock_number: int, version: str) -> bool:
        try:
            found = self._api.versions(self._path, bucket=self._bucket)
        except LockstepError:
            return False
        return any((one.version, one.lock_number) == (version, lock_number) for one in found)


def _says_not_done(error: Unavailable) -> bool:
    """Whether a proxy itself answered 503, which promises that nothing was done. Intermediaries promise nothing."""
    return "request_id" in error.facts and not isinstance(error, PeerUnreachable | Undecided)


def _as_saved(current: RemoteFile) -> Saved:
    version = FileVersion(
        bucket=current.bucket,
        path=current.path,
        version=current.version,
        digest=current.digest,
        size=current.size,
        author="",
        created_at=0.0,
        cursor=current.receipt.cursor,
        content_type=current.content_type,
    )
    receipt = replace(current.receipt, copies="all fsynced")  # what is visible has its promised copies on disk
    return Saved(CommittedReply(cursor=current.receipt.cursor, version=version, copies=0), receipt)
