"""Encrypts new content, and decrypts versions and parts with their metadata, under a customer's or a named key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from client_proxy.core.open_file import OpenFile
from client_proxy.doors.s3.objects.object_metadata import (
    CHECKSUM_ALGORITHM,
    CHECKSUM_TYPE,
    checksum_name,
    default_sums,
    sums_in,
)
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import CustomerKey
from client_proxy.encryption.content_keys import ContentKey, Metadata
from client_proxy.encryption.encrypted_content import (
    DecryptedContent,
    EncryptedContent,
    Parts,
    check_whole,
    is_in_parts,
    part_of,
)
from client_proxy.encryption.named_keys import NewContentKey, opened_key
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.files import DataKey, FileVersion
from lockstep_store.wire.messages.kms import KMS_CONTEXT_ENTRY, KMS_ENTRY, KMS_KEY_ENTRY
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_ENTRY
from lockstep_store.wire.messages.uploads import PartInfo, UploadInfo, UploadPartsReply, VersionPart


class PartLookup(Protocol):
    """The file store as this module uses it."""

    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...


# ---------------------------------------------------------------- versions


def key_of(version: FileVersion, key: CustomerKey | None) -> ContentKey | None:
    """The key of a version's content; None for the cluster's storage keys alone.

    S3Error when `key` is not the customer's key that it was written with, or the named key is not available.
    """
    if CUSTOMER_KEY_ENTRY not in version.metadata:
        if key is not None:
            raise S3Error("InvalidRequest", "the object is not encrypted with a customer's key; send none")
        return _named(version.data_key) if KMS_ENTRY in version.metadata else None
    if key is None:
        raise S3Error(
            "InvalidRequest", "the object is encrypted with a customer's key (SSE-C); send that key to read it"
        )
    if not key.content_key.matches(version.metadata):
        raise S3Error("AccessDenied", "this is not the customer's key that the object was written with")
    return key.content_key


def decrypted(opened: OpenFile, key: ContentKey | None, parts: Parts) -> OpenFile:
    """Return `opened`, decrypted under its `key_of`."""
    return opened if key is None else DecryptedContent(opened, key, parts)


def parts_of(files: PartLookup, credential: str, version: FileVersion, key: ContentKey | None) -> Parts:
    """The parts of a completed upload with decrypted metadata, looked up once at most."""

    known: list[Sequence[VersionPart]] = []

    def parts() -> Sequence[VersionPart]:
        if not known:  # functools.cache would cost every read more than all else here
            found = files.parts_of(credential, version)
            known.append(found if key is None else [part._replace(facts=key.decrypted(part.facts)) for part in found])
        return known[0]

    return parts


def decrypted_version(version: FileVersion, key: ContentKey | None, parts: Parts) -> FileVersion:
    """Return `version` with its metadata decrypted under its `key_of`.

    A completed upload has no checksum of its own: it is computed from the parts'.
    """
    if key is None:
        return version
    check_whole(version, key)
    metadata = key.decrypted(version.metadata)
    if is_in_parts(metadata, key):
        metadata |= _whole_checksum(metadata, parts())
    return msgspec.structs.replace(version, metadata=metadata)


def _whole_checksum(metadata: Metadata, parts: Sequence[VersionPart]) -> dict[str, str]:
    """The checksum of a completed upload, by the algorithm in its `metadata`, as metadata has it."""
    name = metadata.get(CHECKSUM_ALGORITHM)
    if name is None:
        whole = checksums.default_of_parts(default_sums((part.facts, part.size) for part in parts))
    else:
        algorithm = checksums.by_name(name)
        sums = [(sums_in(part.facts)[algorithm.member], part.size) for part in parts]
        whole = {name: checksums.of_parts(algorithm, metadata[CHECKSUM_TYPE], sums)}
    return {checksum_name(name): value for name, value in whole.items()}


class Encryptor:
    """Encrypts one new content. Iterate `blocks` once, then ask for `trailing_metadata`.

    `metadata` is known before the content is.
    """

    def __init__(self, new: NewContentKey) -> None:
        self._key = new.key
        # Every door reads content under a named key, so the digest of its decrypted content is stored, encrypted.
        self._content = EncryptedContent(new.key, keep_content_digest=new.key.prefix == KMS_ENTRY)
        self.metadata = self._content.metadata | new.metadata

    def blocks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """The encrypted content."""
        return self._content.blocks(plain)

    def trailing_metadata(self, plain: dict[str, str]) -> dict[str, str]:
        """Metadata of the content in its stored form."""
        return self._content.trailing_metadata(plain)

    def decrypted(self, version: FileVersion) -> FileVersion:
        """The version that was written, with its metadata decrypted."""
        return decrypted_version(version, self._key, list)


class PartEncryptor(Encryptor):
    """Encrypts one new part of `upload` under the upload's key."""

    def __init__(self, upload: UploadInfo, number: int, key: ContentKey) -> None:
        self._key = key
        self._content = EncryptedContent(key, part_of(upload.metadata, key, number))
        self.metadata = self._content.metadata


def same_bytes(metadata: Metadata, new: NewContentKey | None) -> bool:
    """Whether a copy may share its source's bytes: both are encrypted under the same key, which is no customer's."""
    wanted = new.metadata if new else {}
    if CUSTOMER_KEY_ENTRY in metadata or (new is not None and new.key.prefix == CUSTOMER_KEY_ENTRY):
        return False
    return all(metadata.get(name) == wanted.get(name) for name in (KMS_KEY_ENTRY, KMS_CONTEXT_ENTRY))


# ---------------------------------------------------------------- uploads


def upload_key(reply: UploadPartsReply, key: CustomerKey | None) -> ContentKey | None:
    """The key of an upload's parts; None for the cluster's storage keys alone.

    S3Error when `key` is not the customer's key that it was created with, or the named key is not available.
    """
    metadata = reply.upload.metadata
    if CUSTOMER_KEY_ENTRY not in metadata:
        if key is not None:
            raise S3Error("InvalidRequest", "the upload was created without a customer's key; send none")
        return _named(reply.data_key) if KMS_ENTRY in metadata else None
    if key is None:
        raise S3Error(
            "InvalidRequest", "the upload was created with a customer's key (SSE-C); send that key with each part"
        )
    if not key.content_key.matches(metadata):
        raise S3Error("InvalidRequest", "this is not the customer's key that the upload was created with")
    return key.content_key


def decrypted_part(part: PartInfo, key: ContentKey | None) -> PartInfo:
    """Return `part` with its metadata decrypted."""
    return part if key is None else msgspec.structs.replace(part, metadata=key.decrypted(part.metadata))


def is_encrypted(upload: UploadInfo) -> bool:
    """Whether a key encrypts the parts."""
    return CUSTOMER_KEY_ENTRY in upload.metadata or KMS_ENTRY in upload.metadata


def needs_customer_key(upload: UploadInfo) -> bool:
    return CUSTOMER_KEY_ENTRY in upload.metadata


def _named(data_key: DataKey | None) -> ContentKey:
    try:
        return opened_key(data_key)
    except LockstepError as error:
        raise as_s3_error(error) from error
