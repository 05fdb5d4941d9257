"""Saves files that are written here.

Nothing is overwritten unseen: a save names the version that it may replace, and a file that exists is written under its
lock. A new file needs no lock: its save is refused if another one took the name meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from lockstep_store.client.api.answers import WriteOptions
from lockstep_store.client.api.body import Body
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.lock_holder import LockHolder
from lockstep_store.client.mount.attributes import mode_of, modified_ns, with_attributes
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.working_file import WorkingFile
from lockstep_store.client.transfers.upload import upload
from lockstep_store.wire.chunk_stream import MAGIC, end_frame, frame_header, stream_length
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.content_types import FOUND_TYPE
from lockstep_store.wire.manifest import MIN_CHUNK_BYTES, Manifest
from lockstep_store.wire.messages.files import FileVersion


class Saver:
    """Saves files of one bucket, in one person's name."""

    def __init__(self, api: ApiCalls, bucket: str, calls: TimedCalls) -> None:
        self._api = api
        self._bucket = bucket
        self._calls = calls

    def save(self, file: WorkingFile, *, release: bool) -> FileVersion:
        """Save the content; with `release` the lock ends in the same commit.

        PreconditionFailed if the file is no longer at the version that this machine began with.
        """
        if file.lock is not None:
            file.lock.check()
        options = self._options(file.base, file.metadata(), file.lock, release=release)
        source, key = file.content, file.key
        sent = self._calls.save(lambda: upload(self._api, source, self._bucket, key, options=options))
        version = _with_metadata(sent.saved.version, options)
        if release and file.lock is not None:
            file.lock.released()
            file.lock = None
        file.saved(version)
        return version

    def restate(self, version: FileVersion, *, at_ns: int | None = None, mode: int | None = None) -> FileVersion:
        """Save a version again with another time or mode, without transferring content."""
        return self._calls.save(self._restate, version, at_ns, mode)

    def _restate(self, version: FileVersion, at_ns: int | None, mode: int | None) -> FileVersion:
        metadata = with_attributes(
            dict(version.metadata),
            modified_ns(version) if at_ns is None else at_ns,
            mode_of(version) if mode is None else mode,
        )
        if version.size <= MIN_CHUNK_BYTES:
            manifest = Manifest([(version.digest, version.size)])
        else:
            manifest = self._api.manifest(version.path, bucket=self._bucket, version=version.version)

        def stream() -> Iterator[bytes]:
            yield MAGIC
            for digest, length in manifest.chunks:
                yield frame_header(Chunk(digest, length, None))
            yield end_frame(manifest.digest, manifest.size)

        options = self._options(version, metadata, None, release=False)
        saved = self._api.put_chunks(
            version.path,
            Body(stream(), stream_length(0 for _ in manifest.chunks)),
            options,
            bucket=self._bucket,
            digest=manifest.digest,
            size=manifest.size,
            base_version=version.version,
        )
        return _with_metadata(saved.version, options)

    def _options(
        self, base: FileVersion | None, metadata: dict[str, str], lock: LockHolder | None, *, release: bool
    ) -> WriteOptions:
        return WriteOptions(
            lock_number=lock.number if lock is not None else None,
            release_lock=release and lock is not None,
            if_match=str(base.digest) if base is not None else "",
            if_none_match="" if base is not None else "*",
            content_type=base.content_type if base is not None and FOUND_TYPE not in base.metadata else "",
            metadata=metadata,
        )


def _with_metadata(version: FileVersion, options: WriteOptions) -> FileVersion:
    """The version as a listing shows it; an upload whose reply was lost knows less of it."""
    version.metadata = dict(options.metadata)
    return version
