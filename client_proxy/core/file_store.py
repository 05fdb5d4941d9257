"""The files of the cluster as every door of the proxy sees them: menu and CLI through REST, REST, S3.

A door turns its protocol's request into one call here and encodes what comes back. Who may do what is decided at the
directory; fetching, caching and checking bytes is the reader's job, getting them to a master is the writer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from client_proxy.core.blob_reader import BlobReader, OpenFile
from client_proxy.core.blob_writer import BlobWriter, Facts, no_facts
from client_proxy.core.composition import Composition, Stored
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.receipt import Receipt
from client_proxy.core.store_items import begin, look_up, new_write_id
from client_proxy.encryption.named_keys import NamedKeys
from client_proxy.encryption.plain_files import PlainFile, PlainFiles, judged, kept_metadata
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Damaged, Forbidden, NotFound, Unavailable
from lockstep_store.wire.messages.files import (
    COPY,
    DELETE,
    LIST,
    MAX_LISTING,
    NO_PRECONDITIONS,
    VERSIONS,
    CommittedReply,
    CopyRequest,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    Holder,
    ListReply,
    ListRequest,
    LookupItem,
    Preconditions,
    UploadStep,
    VersionsReply,
    VersionsRequest,
)
from lockstep_store.wire.messages.kms import KMS_FACT
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_FACT, OBJECT_SETTINGS, ObjectSettingsRequest
from lockstep_store.wire.messages.uploads import PARTS_SETTING, VersionPart

_parts = decoder(list[VersionPart])
__all__ = ["FileStore", "OpenFile", "Receipt"]


class FileStore:
    """Every method takes the person's credential as they sent it, and raises `lockstep_store.wire.errors` classes only.

    Unavailable (503) means that nothing is known to have happened or that it may be asked again; all writing
    methods carry a write id of their own inside, so an answer lost between programs never makes a second version.
    """

    def __init__(
        self, directory: DirectoryClient, reader: BlobReader, writer: BlobWriter, clock: Clock | None = None
    ) -> None:
        self._directory = directory
        self._reader = reader
        self._writer = writer
        self.keys = NamedKeys(directory, clock or SystemClock())
        self._plain = PlainFiles(writer)

    def stat(
        self, credential: str, bucket: str, path: str, version: str | None = None, *, with_settings: bool = False
    ) -> FileVersion:
        """The current version of a path (or the one named), looked up after this call began. NotFound if none.

        With `version` it may be a delete marker: see its `delete_marker`.
        """
        return self._directory.lookup(look_up(credential, bucket, path, version, with_settings))

    def open(
        self,
        credential: str,
        bucket: str,
        path: str,
        version: str | None = None,
        *,
        with_settings: bool = False,
        with_lock: bool = False,
        as_stored: bool = False,
    ) -> OpenFile | PlainFile:
        """A file ready to be read; nothing is fetched yet. NotFound if there is none, or for a delete marker.

        The version is fixed by this call: what is read afterwards is that version, whatever is written meanwhile.
        Use it in a `with` block, or call its `close()`. Files under a named key are decrypted, and have the digest of
        the plain content; what a customer's key encrypted is BadRequest. With `as_stored` the caller deals with both.
        """
        item = LookupItem(credential, bucket, path, version, with_settings, with_lock)
        found = self._directory.lookup_at(item)
        if found.version.delete_marker:
            raise NotFound(
                f"version {found.version.version} of {path!r} in bucket {bucket!r} marks its deletion: "
                "read an older version instead",
                delete_marker=True,
                version=found.version.version,
                null_version=found.version.null_version,
            )
        if CUSTOMER_KEY_FACT in found.version.metadata and not as_stored:
            raise BadRequest(
                f"{path!r} in bucket {bucket!r} is encrypted with a customer's key (SSE-C), which the cluster does not "
                "have: read it through S3 and send that key along",
                bucket=bucket,
                path=path,
            )
        exact = look_up(credential, bucket, path, found.version.version)
        opened = self._reader.open(found.version, found.cursor, holders_now=lambda: self._holders_now(exact))
        if as_stored or KMS_FACT not in found.version.metadata:
            return opened
        return self._plain.open(opened, lambda: self.parts_of(credential, found.version))

    def _holders_now(self, exact: LookupItem) -> list[Holder]:
        """The holders as the directory knows them now; Damaged when it knows that no copy is good any more."""
        version = self._directory.lookup(exact)
        if not version.damaged:
            return version.holders
        good = version.last_good_version
        raise Damaged(
            f"every copy of version {version.version} of {version.path!r} in bucket {version.bucket!r} is damaged; "
            + (
                f"the newest version that can be read is {good}: restore that one" if good else "no version can be read"
            ),
            bucket=version.bucket,
            path=version.path,
            version=version.version,
            last_good_version=good,
        )

    def write(
        self,
        credential: str,
        bucket: str,
        path: str,
        blocks: Iterable[bytes],
        *,
        size: int | None,
        lock_number: int | None = None,
        release_lock: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
        content_type: str = "",
        metadata: dict[str, str] | None = None,
        late_metadata: Facts = no_facts,
        settings: dict[str, str] | None = None,
        upload: UploadStep | None = None,
        ask_first: bool = False,
        as_stored: bool = False,
    ) -> CommittedReply:
        """Make `blocks` (plain bytes, of any lengths, `size` in all when known) the path's new current version.

        Returns once the promised copies are on disk and the directory has committed. When `blocks` raises or does
        not add up to `size` (IncompleteBody), nothing is committed. `late_metadata` is asked after the last block, and
        joins the metadata; `settings` are what S3 says of the version. Locked, LockStale, PreconditionFailed and
        Forbidden come from the directory. As a step of an `upload` it becomes that part, and no version is made.
        With `ask_first` they come, where they are plain already, before anything is taken from `blocks`. In a bucket
        whose contents are under a named key by default `blocks` are encrypted, unless they are `as_stored`: then the
        caller has decided about that.
        """
        wish = None if as_stored else self.keys.default_of(bucket)
        if not as_stored:
            preconditions = self._judged(credential, bucket, path, preconditions)
        item = begin(credential, bucket, path, size, lock_number, release_lock, preconditions, content_type, metadata)
        item.settings = settings or {}
        item.upload = upload
        if ask_first:
            with suppress(Unavailable):  # the write itself knows how to wait for servers
                self._directory.begin(item)  # keeps nothing while it names no content
        if wish is not None:
            return self._plain.write(item, blocks, late_metadata, self.keys.new_key(wish))
        return self._writer.write(item, blocks, late_metadata)

    def _judged(self, credential: str, bucket: str, path: str, wanted: Preconditions) -> Preconditions:
        """Conditions that name the digests of plain contents, for a directory that does not know them."""

        def current() -> FileVersion | None:
            with suppress(NotFound, Forbidden):  # who may only write has the directory judge what they name
                version = self.stat(credential, bucket, path)
                if KMS_FACT in version.metadata:
                    with self.open(credential, bucket, path, version.version) as opened:
                        return opened.version
            return None

        return judged(wanted, current)

    def compose(
        self,
        credential: str,
        bucket: str,
        path: str,
        contents: Sequence[Stored],
        *,
        upload: UploadStep,
        write_id: str = "",
        lock_number: int | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
        metadata: dict[str, str] | None = None,
    ) -> CommittedReply:
        """The same with `contents`, which the cluster holds, one after the other, as a step of a multipart upload.

        Only their manifests are read, and no bytes move unless the master lacks some. With a `write_id` of the
        caller's the step is done once, however often it is asked for.
        """
        pieces = self._reader.pieces(contents)
        composition = Composition(pieces, lambda source, wanted: self._reader.fetcher.chunks(source, wanted)[0])
        item = begin(credential, bucket, path, None, lock_number, False, preconditions, "", metadata)
        item.write_id = write_id or item.write_id
        item.upload = upload
        return self._writer.write_composed(item, composition)

    def composed_before(
        self, credential: str, bucket: str, path: str, upload: UploadStep, write_id: str
    ) -> FileVersion | None:
        """The version that the step of that `write_id` made; NotFound with the fact `upload` when the upload is gone
        without it, None while it is still under way."""
        item = begin(credential, bucket, path, None, None, False, NO_PRECONDITIONS, "", None)
        item.write_id = write_id
        item.upload = upload
        return self._directory.begin(item).version

    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]:
        """The parts that a version was put together from, in order; empty for any other version."""
        request = ObjectSettingsRequest(credential, version.bucket, version.path, version.version)
        told = self._directory.call(OBJECT_SETTINGS, request).settings.get(PARTS_SETTING)
        return [] if told is None else _parts.decode(told)

    def write_chunks(
        self,
        credential: str,
        bucket: str,
        path: str,
        stream: StreamReader,
        *,
        digest: Digest | None,
        size: int | None,
        lock_number: int | None = None,
        release_lock: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
        content_type: str = "",
        metadata: dict[str, str] | None = None,
    ) -> CommittedReply:
        """The same from a client's chunk stream, whose frames may leave out bytes that the cluster has.

        MissingChunks names the chunks to send again with their bytes. With `digest` announced and known to the
        cluster, the version is made without reading the stream at all. In a bucket whose contents are under a named
        key every chunk needs its bytes.
        """
        wish = self.keys.default_of(bucket)
        preconditions = self._judged(credential, bucket, path, preconditions)
        item = begin(credential, bucket, path, size, lock_number, release_lock, preconditions, content_type, metadata)
        if wish is not None:
            return self._plain.write_stream(item, stream, digest, self.keys.new_key(wish))
        return self._writer.write_chunks(item, stream, digest)

    def delete(
        self,
        credential: str,
        bucket: str,
        path: str,
        *,
        version: str | None = None,
        lock_number: int | None = None,
        release_lock: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
        mark_missing: bool = False,
        bypass_governance: bool = False,
    ) -> DeleteReply:
        """Without `version` the path stops being current (a delete marker where versions are kept, with
        `mark_missing` also for a path that is not there); with it, that version goes for good."""
        request = DeleteRequest(
            credential=credential,
            write_id=new_write_id(),
            bucket=bucket,
            path=path,
            version=version,
            lock_number=lock_number,
            release_lock=release_lock,
            preconditions=self._judged(credential, bucket, path, preconditions),
            mark_missing=mark_missing,
            bypass_governance=bypass_governance,
        )
        return self._directory.call(DELETE, request)

    def copy(
        self,
        credential: str,
        source_bucket: str,
        source_path: str,
        bucket: str,
        path: str,
        *,
        source_version: str | None = None,
        move: bool = False,
        lock_number: int | None = None,
        source_lock_number: int | None = None,
        release_lock: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        settings: dict[str, str] | None = None,
        source_if_version: str | None = None,
        as_stored: bool = False,
    ) -> CommittedReply:
        """A new version at the target with the source's content; no bytes move. With `move`, the source is deleted
        in the same transaction. Restoring an old version is copying it onto its own path. `settings` are what S3 says
        of the new version; `source_if_version` is the version that the source must still have then. Where the target's
        contents are under another named key by default than the source the content is written anew, unless it is to be
        copied `as_stored`; what is moved stays as it is."""
        if not as_stored:
            preconditions = self._judged(credential, bucket, path, preconditions)
            wish = None if move else self.keys.default_of(bucket)
            new = None if wish is None else self.keys.new_key(wish)
            found = self.stat(credential, source_bucket, source_path, source_version) if new else None
            if found is not None:
                source_if_version = found.version
            if new and found and not self._plain.agrees(found, new):
                item = begin(
                    credential,
                    bucket,
                    path,
                    found.size,
                    lock_number,
                    release_lock,
                    preconditions,
                    found.content_type if content_type is None else content_type,
                    kept_metadata(found) if metadata is None else metadata,
                )
                item.settings = settings or {}
                with self.open(credential, source_bucket, source_path, found.version) as opened:
                    return self._plain.write(item, opened.blocks(), no_facts, new)
        request = CopyRequest(
            credential=credential,
            write_id=new_write_id(),
            source_bucket=source_bucket,
            source_path=source_path,
            source_version=source_version,
            bucket=bucket,
            path=path,
            move=move,
            lock_number=lock_number,
            source_lock_number=source_lock_number,
            release_lock=release_lock,
            preconditions=preconditions,
            content_type=content_type,
            metadata=metadata,
            settings=settings or {},
            source_if_version=source_if_version,
        )
        return self._directory.call(COPY, request)

    def list(
        self,
        credential: str,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        limit: int = MAX_LISTING,
        after: str = "",
    ) -> ListReply:
        """One page of current versions in path order; give `next_after` as `after` for the next."""
        request = ListRequest(
            credential=credential, bucket=bucket, prefix=prefix, delimiter=delimiter, limit=limit, after=after
        )
        return self._directory.call(LIST, request)

    def versions(
        self,
        credential: str,
        bucket: str,
        path: str | None = None,
        *,
        prefix: str = "",
        limit: int = MAX_LISTING,
        after: tuple[str, str] | None = None,
        delimiter: str = "",
    ) -> VersionsReply:
        """All versions of one path, newest first; or, without `path`, of every path under `prefix`, where folders
        may count as one entry each."""
        request = VersionsRequest(
            credential=credential,
            bucket=bucket,
            path=path,
            prefix=prefix,
            limit=limit,
            after=after,
            delimiter=delimiter,
        )
        return self._directory.call(VERSIONS, request)
