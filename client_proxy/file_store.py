"""The cluster's files, as every door of the proxy reads and writes them.

A door turns its protocol's request into one call here and encodes the reply. The directory decides who may do what; the
reader fetches, caches and verifies bytes, and the writer sends them to a master.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from client_proxy.core import found_types
from client_proxy.core.blob_reader import BlobReader
from client_proxy.core.blob_writer import BlobWriter, TrailingMetadata, no_trailing_metadata
from client_proxy.core.composition import Composition, Stored
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.found_types import KnownTypes
from client_proxy.core.left_out_chunks import ReadableChunks
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Compose, Copy, Delete, PathChange, Read, Stat, Write
from client_proxy.encryption.decrypted_files import DecryptedFiles, copied_metadata, evaluated_conditions
from client_proxy.encryption.named_keys import NamedKeyClient, NewContentKey
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import Call, decoder
from lockstep_store.wire.content_types import Beginning
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Damaged, Forbidden, LockstepError, NotFound, Unavailable
from lockstep_store.wire.file_facts import stored_description, stored_tags
from lockstep_store.wire.messages.facts import FACTS, FactsRequest
from lockstep_store.wire.messages.files import (
    COPY,
    LIST,
    VERSIONS,
    CommittedReply,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    Holder,
    ListPage,
    ListRequest,
    LookupItem,
    VersionsPage,
    VersionsRequest,
)
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.s3 import (
    CUSTOMER_KEY_ENTRY,
    DESCRIPTION,
    OBJECT_SETTINGS,
    TAGS,
    ObjectSettingsRequest,
)
from lockstep_store.wire.messages.uploads import PARTS_SETTING, VersionPart
from lockstep_store.wire.messages.writes import BeginItem

Change = TypeVar("Change", bound=PathChange)
_parts = decoder(list[VersionPart])
_ENCODED_LIST = Call(LIST.path, ListRequest, msgspec.Raw)


class FileStore:
    """Thread-safe. Requests carry the person's credential as sent; errors are `lockstep_store.wire.errors` classes.

    After Unavailable (503) the call may be repeated. Every change carries a write id of its own, so a reply lost
    between two programs never makes a second version.
    """

    def __init__(
        self, directory: DirectoryClient, reader: BlobReader, writer: BlobWriter, clock: Clock | None = None
    ) -> None:
        self._directory = directory
        self._reader = reader
        self._writer = writer
        self.keys = NamedKeyClient(directory, clock or SystemClock())
        self._decrypted = DecryptedFiles(writer)

    def stat(self, request: Stat) -> FileVersion:
        """The current version of a path, or the one named, as of a moment after this call began; NotFound if none.

        A named `version` may be a delete marker: see its `delete_marker`.
        """
        return self._directory.lookup(request.item())

    def open(self, request: Read) -> OpenFile:
        """Open a file for reading. Fetches nothing yet. NotFound if there is none, or for a delete marker.

        The version is fixed by this call: later writes do not change what is read. Close it when done. A file under a
        named key is decrypted, and has the digest of the decrypted content. One that a customer's key encrypted is a
        BadRequest. With `raw`, both are returned encrypted.
        """
        found = self._directory.lookup_at(request.item())
        version = found.version
        if version.delete_marker:
            raise _deleted(request, version)
        if CUSTOMER_KEY_ENTRY in version.metadata and not request.raw:
            raise BadRequest(
                f"{request.path!r} in bucket {request.bucket!r} is encrypted with a customer's key (SSE-C), which the "
                "cluster does not have: read it through S3 and send that key",
                bucket=request.bucket,
                path=request.path,
            )
        exact = Stat(request.credential, request.bucket, request.path, version=version.version).item()
        opened = self._reader.open(
            version, found.cursor, leased=found.leased, holders_now=lambda: self._holders_now(exact)
        )
        if request.raw or KMS_ENTRY not in version.metadata:
            return opened
        return self._decrypted.open(opened, lambda: self.parts_of(request.credential, version))

    def _holders_now(self, exact: LookupItem) -> list[Holder]:
        """The current holders. Damaged if no good copy is left."""
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
        self, request: Write, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = no_trailing_metadata
    ) -> CommittedReply:
        """Make `blocks` (bytes, of any lengths) the path's new current version.

        Returns once the promised copies are on disk and the directory has committed. If `blocks` raises or has another
        size than declared (IncompleteBody), nothing is committed. `trailing_metadata` is called after the last block,
        and its result is added to the metadata. Locked, LockStale, PreconditionFailed and Forbidden come from the
        directory. A bucket that encrypts by default encrypts `blocks`, unless the request is `raw`.
        """
        item, key = self._begun(request)
        if found_types.are_wanted(request):
            blocks = beginning = Beginning(blocks)
            trailing_metadata = found_types.added(trailing_metadata, beginning.metadata)
        if key is not None:
            return self._decrypted.write(item, blocks, trailing_metadata, key)
        return self._writer.write(item, blocks, trailing_metadata)

    def write_chunks(self, request: Write, stream: StreamReader, announced: Digest | None = None) -> CommittedReply:
        """Write a client's chunk stream, whose frames may leave out chunks that the cluster has.

        They may leave out chunks of the path's current version and of `request.base_version`, if the person may read
        these, and chunks that the person sent before in an upload that was interrupted. MissingChunks names the chunks
        to send again with their bytes. Content that was `announced`, and that the cluster has and the person may read,
        becomes the version without reading the stream at all. In a bucket that encrypts by default every chunk needs
        its bytes.
        """
        item, key = self._begun(request)
        known = KnownTypes()
        trailing = no_trailing_metadata
        if found_types.are_wanted(request):
            trailing = partial(known.of_stream, stream)
        if key is not None:
            return self._decrypted.write_stream(item, stream, announced, key, trailing)
        readable = ReadableChunks(lambda: self._readable_chunks(request, known))
        return self._writer.write_chunks(item, stream, announced, readable, trailing)

    def _readable_chunks(self, request: Write, known: KnownTypes) -> set[Digest]:
        """The chunks that the request may leave out because the person may read them now."""
        digests: set[Digest] = set()
        for version in dict.fromkeys((None, request.base_version)):
            where = Stat(request.credential, request.bucket, request.path, version=version, reads_content=True)
            with suppress(LockstepError):  # then the bytes are sent
                found = self._directory.lookup_at(where.item())
                if not found.version.delete_marker:
                    with closing(self._reader.open(found.version, found.cursor)) as opened:
                        chunks = opened.manifest().chunks
                        digests.update(digest for digest, _ in chunks)
                        known.note(chunks, found.version)
        return digests

    def _begun(self, request: Write) -> tuple[BeginItem, NewContentKey | None]:
        """The write to begin, and the key to encrypt it with, or None."""
        if request.raw:
            item, default = request.item(), None
        else:
            default = self.keys.default_of(request.bucket)
            item = self._with_evaluated_conditions(request).item()
        if request.ask_first:
            with suppress(Unavailable):  # the write itself waits for file servers
                self._directory.begin(item)  # without a digest, begin stores nothing
        return item, None if default is None else self.keys.new_key(default, request.bucket, request.credential)

    def _with_evaluated_conditions(self, request: Change) -> Change:
        """`request` with conditions that the directory can decide, although it does not know decrypted digests."""

        def current() -> FileVersion | None:
            with suppress(
                NotFound, Forbidden
            ):  # without the right to read, the directory decides on the digests as given
                where = request.credential, request.bucket, request.path
                version = self.stat(Stat(*where))
                if KMS_ENTRY in version.metadata:
                    with closing(self.open(Read(*where, version=version.version))) as opened:
                        return opened.version
            return None

        decidable = evaluated_conditions(request.preconditions, current)
        return request if decidable is request.preconditions else replace(request, preconditions=decidable)

    def compose(self, request: Compose, contents: Sequence[Stored]) -> CommittedReply:
        """Join stored `contents`, in order, as a step of a multipart upload.

        Only their manifests are read. Bytes are sent only if the master lacks them.
        """
        pieces = self._reader.pieces(contents)
        composition = Composition(pieces, lambda source, wanted: self._reader.fetcher.chunks(source, wanted)[0])
        return self._writer.write_composed(request.item(), composition)

    def composed_before(self, request: Compose) -> FileVersion | None:
        """The version that the step with this `write_id` created, or None while it is under way.

        NotFound with the fact `upload` if the upload has ended without it.
        """
        return self._directory.begin(request.item()).version

    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]:
        """The parts of a completed upload, in order; empty for any other version."""
        request = ObjectSettingsRequest(credential, version.bucket, version.path, version.version)
        parts = self._directory.call(OBJECT_SETTINGS, request).settings.get(PARTS_SETTING)
        return [] if parts is None else _parts.decode(parts)

    def delete(self, request: Delete) -> DeleteReply:
        """Delete a path, or one version of it for good."""
        return self._directory.delete(self._with_evaluated_conditions(request).message())

    def delete_many(self, requests: Sequence[Delete]) -> list[DeleteReply | LockstepError]:
        """Delete several files in one call to the directory; each has its own outcome, in order."""
        outcomes: list[DeleteReply | LockstepError | None] = []
        messages: list[DeleteRequest] = []
        for request in requests:
            try:
                messages.append(self._with_evaluated_conditions(request).message())
                outcomes.append(None)
            except LockstepError as error:
                outcomes.append(error)
        replies = iter(self._directory.delete_many(messages) if messages else ())
        return [next(replies) if outcome is None else outcome for outcome in outcomes]

    def copy(self, request: Copy) -> CommittedReply:
        """Copy the source's content to the target. A `move` also deletes the source, in the same transaction.

        To restore an old version, copy it onto its own path. No bytes are sent, unless the target's bucket encrypts
        by default with a key that differs from the source's: then the content is rewritten. A move never rewrites.
        """
        if request.raw:
            return self._directory.call(COPY, request.message())
        request = self._with_evaluated_conditions(request)
        default = None if request.move else self.keys.default_of(request.bucket)
        if default is None:
            return self._directory.call(COPY, request.message())
        key = self.keys.new_key(default, request.bucket, request.credential)
        source = self.stat(
            Stat(request.credential, request.source_bucket, request.source_path, version=request.source_version)
        )
        if self._decrypted.can_share_bytes(source, key):
            return self._directory.call(COPY, replace(request, source_if_version=source.version).message())
        return self._rewrite(request, source, key)

    def _rewrite(self, request: Copy, source: FileVersion, key: NewContentKey) -> CommittedReply:
        """Copy by reading and writing, because `key` changes the bytes."""
        item = Write(
            request.credential,
            request.bucket,
            request.path,
            size=source.size,
            lock_number=request.lock_number,
            release_lock=request.release_lock,
            preconditions=request.preconditions,
            content_type=source.content_type if request.content_type is None else request.content_type,
            metadata=copied_metadata(source) if request.metadata is None else request.metadata,
            settings=self._copied_facts(request) | request.settings,
        ).item()
        read = Read(request.credential, request.source_bucket, request.source_path, version=source.version)
        with closing(self.open(read)) as opened:
            return self._decrypted.write(item, opened.blocks(), no_trailing_metadata, key)

    def _copied_facts(self, request: Copy) -> dict[str, str]:
        """What people said about the source, as settings. The directory adds this to a copy that it makes itself."""
        if (request.source_bucket, request.source_path) == (request.bucket, request.path):
            return {}
        asked = FactsRequest(request.credential, request.source_bucket, request.source_path, request.source_version)
        facts = self._directory.call(FACTS, asked)
        found = {
            DESCRIPTION: stored_description(facts.description),
            TAGS: stored_tags(list((facts.tags or {}).items())),
        }
        return {name: value for name, value in found.items() if value is not None}

    def list(self, request: ListRequest) -> ListPage:
        """One page of current versions in path order. Pass its `next_after` as `after` for the next."""
        return self._directory.call(LIST, request)

    def list_encoded(self, request: ListRequest) -> msgspec.Raw:
        """The same page as JSON of a ListReply. A thousand versions are neither decoded nor encoded."""
        return self._directory.call(_ENCODED_LIST, request)

    def versions(self, request: VersionsRequest) -> VersionsPage:
        """One page of all versions of a path, newest first. Without a path, of every path under `prefix`."""
        return self._directory.call(VERSIONS, request)


def _deleted(request: Read, marker: FileVersion) -> NotFound:
    return NotFound(
        f"version {marker.version} of {request.path!r} in bucket {request.bucket!r} is a delete marker: "
        "read an older version instead",
        delete_marker=True,
        version=marker.version,
        null_version=marker.null_version,
        deleted_at=marker.created_at,
    )
