"""CopyObject: makes a new version from an old one. No content is copied unless a key changes the bytes.

The copy is one transaction at the directory. Conditions on the source are judged here, against one version, and the
directory copies only while the source is still that version; otherwise it is looked up again. The directory judges the
conditions on the target, as for any write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from client_proxy.core.blob_writer import TrailingMetadata
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Copy, Read, Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.body_checks import check_no_range
from client_proxy.doors.s3.objects.conditional import Conditions, write_preconditions
from client_proxy.doors.s3.objects.copy_source import (
    ObjectSource,
    read_source,
    source_key,
    source_version,
    while_overwritten,
)
from client_proxy.doors.s3.objects.object_encryption import (
    Encryptor,
    decrypted,
    decrypted_version,
    key_of,
    parts_of,
    same_bytes,
)
from client_proxy.doors.s3.objects.object_metadata import (
    checksums_of,
    chosen_metadata,
    content_metadata,
    content_only,
    etag_of,
    expiration_of,
    has_checksum,
    kept_metadata,
    without_checksums,
)
from client_proxy.doors.s3.objects.object_write import ObjectWrite, read_object_write
from client_proxy.doors.s3.objects.put_object import MAX_PUT_BYTES
from client_proxy.doors.s3.objects.rewrites import Rewrite
from client_proxy.doors.s3.objects.tagging import tag_settings, tags_in
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import copies_header
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of, written_version_id
from client_proxy.doors.s3.security.encryption import CustomerKey, encryption_members
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.encrypted_content import Parts
from client_proxy.encryption.named_keys import NamedKeyClient, NewContentKey
from lockstep_store.wire.messages.files import CommittedReply, FileVersion
from lockstep_store.wire.messages.uploads import VersionPart

_CHANGES = (
    "StorageClass",
    "WebsiteRedirectLocation",
    "ChecksumAlgorithm",
    "ServerSideEncryption",
    "SSECustomerAlgorithm",
    "CopySourceSSECustomerAlgorithm",
)


class CopyFiles(Protocol):
    """The file store as CopyObject uses it."""

    @property
    def keys(self) -> NamedKeyClient: ...
    def stat(self, request: Stat) -> FileVersion: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...
    def open(self, request: Read) -> OpenFile: ...
    def copy(self, request: Copy) -> CommittedReply: ...
    def write(
        self, request: Write, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = ...
    ) -> CommittedReply: ...


class ObjectCopy(msgspec.Struct, frozen=True):
    """What a CopyObject requests. `write` has metadata and tags only where the copy replaces its source's."""

    source: ObjectSource
    source_conditions: Conditions
    source_key: CustomerKey | None
    write: ObjectWrite
    replaces_metadata: bool
    replaces_tags: bool
    changes_something: bool

    @property
    def onto_itself(self) -> bool:
        target = (self.write.bucket, self.write.path)
        return (self.source.bucket, self.source.key) == target and self.source.version is None


def read_object_copy(call: S3Call) -> ObjectCopy:
    """The copy that a call requests."""
    check_no_range(call.request.headers, "range", "x-amz-copy-source-range", "content-range")
    replaces_metadata = call.get("MetadataDirective") == "REPLACE"
    replaces_tags = call.get("TaggingDirective") == "REPLACE"
    return ObjectCopy(
        source=read_source(call.values["CopySource"]),
        source_conditions=Conditions.of(call.values, "CopySource"),
        source_key=source_key(call.values),
        write=read_object_write(call, with_metadata=replaces_metadata, with_tags=replaces_tags),
        replaces_metadata=replaces_metadata,
        replaces_tags=replaces_tags,
        changes_something=replaces_metadata or any(call.get(name) for name in _CHANGES),
    )


class CopyHandlers:
    """CopyObject."""

    def __init__(self, files: CopyFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"CopyObject": self.copy}

    def copy(self, call: S3Call) -> Values:
        """CopyObject."""
        copy = read_object_copy(call)
        values, copies = while_overwritten(copy.source, lambda: self._copy(copy))
        call.headers.append(copies_header(copies))
        return values

    def _copy(self, copy: ObjectCopy) -> tuple[Values, int]:
        write = copy.write
        source = source_version(
            self._files, write.credential, copy.source, copy.source_conditions, with_settings=not copy.replaces_tags
        )
        key = key_of(source, copy.source_key)
        parts = parts_of(self._files, write.credential, source, key)
        if copy.onto_itself and not copy.changes_something:
            raise S3Error(
                "InvalidRequest",
                "a copy onto itself must change something: the metadata, storage class, website redirect or encryption",
            )
        if source.size > MAX_PUT_BYTES:
            raise S3Error(
                "InvalidRequest", f"one copy may have at most {MAX_PUT_BYTES} bytes; copy more with a multipart upload"
            )
        new = write.version.encryption.new_key(self._files.keys, write.bucket, write.credential)
        # The checksums of an encrypted source are not at hand: another one is computed from the bytes.
        if same_bytes(source.metadata, new) and not (key and write.version.checksum):
            committed = self._link(copy, source)
            made = decrypted_version(committed.version, key, parts)
        else:
            committed = self._rewrite(copy, source, key, parts, new)
            made = decrypted_version(committed.version, new.key if new else None, list)
        return _reply(made, source, write.version.encryption.customer_key), committed.copies

    def _link(self, copy: ObjectCopy, source: FileVersion) -> CommittedReply:
        """Make a new version of the same content; no content is copied."""
        write = copy.write
        return self._files.copy(
            Copy(
                write.credential,
                write.bucket,
                write.path,
                source_bucket=copy.source.bucket,
                source_path=copy.source.key,
                source_version=copy.source.version,
                source_if_version=source.version,
                lock_number=write.conditions.lock_number,
                preconditions=write_preconditions(
                    self._files, write.credential, write.bucket, write.path, write.conditions
                ),
                content_type=write.version.content_type if copy.replaces_metadata else None,
                metadata=self._linked_metadata(copy, source),
                settings=_settings(copy, source),
                raw=True,
            )
        )

    def _rewrite(
        self, copy: ObjectCopy, source: FileVersion, key: ContentKey | None, parts: Parts, new: NewContentKey | None
    ) -> CommittedReply:
        """Make a new version by writing its bytes again, because a key changes them."""
        write, version = copy.write, copy.write.version
        opened = self._files.open(Read(write.credential, source.bucket, source.path, version=source.version, raw=True))
        try:
            encryptor = Encryptor(new) if new else None
            known = decrypted_version(source, key, parts)
            plain = decrypted(opened, key, parts)
            content = Rewrite(plain.blocks(), encryptor, _algorithms(known, version.checksum))
            metadata = version.metadata if copy.replaces_metadata else chosen_metadata(source) | version.metadata
            return self._files.write(
                Write(
                    write.credential,
                    write.bucket,
                    write.path,
                    size=source.size,
                    lock_number=write.conditions.lock_number,
                    preconditions=write_preconditions(
                        self._files, write.credential, write.bucket, write.path, write.conditions
                    ),
                    content_type=version.content_type if copy.replaces_metadata else source.content_type,
                    metadata=metadata | encryptor.metadata if encryptor else metadata,
                    settings=_settings(copy, source),
                    raw=True,
                ),
                content.blocks(),
                content.trailing_metadata,
            )
        finally:
            opened.close()

    def _linked_metadata(self, copy: ObjectCopy, source: FileVersion) -> dict[str, str]:
        algorithm = copy.write.version.checksum
        metadata = content_only(source) if copy.replaces_metadata else kept_metadata(source)
        metadata |= copy.write.version.metadata
        if algorithm is not None and not has_checksum(source, algorithm.name):
            sums = {algorithm.name: self._checksum(copy.write.credential, source, algorithm)}
            metadata = without_checksums(metadata) | content_metadata(etag_of(source), sums)
        return metadata

    def _checksum(self, credential: str, source: FileVersion, algorithm: Algorithm) -> str:
        """The checksum of the whole content, which is read once for it."""
        running = algorithm.start()
        opened = self._files.open(Read(credential, source.bucket, source.path, version=source.version))
        try:
            for block in opened.blocks():
                running.update(block)
        finally:
            opened.close()
        return checksums.encode(running)


def _settings(copy: ObjectCopy, source: FileVersion) -> dict[str, str]:
    kept = {} if copy.replaces_tags else tag_settings(tags_in(source.settings))
    return copy.write.version.settings | kept


def _algorithms(source: FileVersion, requested: Algorithm | None) -> list[Algorithm]:
    """The checksums of a rewritten copy: the requested one, or the source's, or the default one."""
    if requested is not None:
        return [requested]
    known = checksums_of(source)
    return [one for one in checksums.ALGORITHMS.values() if one.member in known] or [checksums.DEFAULT]


def _reply(made: FileVersion, source: FileVersion, key: CustomerKey | None) -> Values:
    result = {"ETag": f'"{etag_of(made)}"', "LastModified": made.created_at, **checksums_of(made)}
    values: Values = {
        "CopyObjectResult": result,
        **written_version_id(made),
        **expiration_of(made),
        **encryption_members(made.metadata, key),
    }
    copied = version_id_of(source)
    return values | {"CopySourceVersionId": copied["VersionId"]} if copied else values
