"""Reads and writes files under named keys (SSE-KMS) for doors that know nothing of encryption.

Such a file shows the digest, manifest and receipts of its decrypted content, so a reader can verify the bytes. The
digest of a file that was written in one piece is stored, encrypted, in its metadata. For a completed upload, and for
every manifest, the content is read once and hashed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

import msgspec

from client_proxy.core.blob_writer import BlobWriter, TrailingMetadata, no_trailing_metadata
from client_proxy.core.open_file import OpenFile
from client_proxy.core.receipt import Receipt
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.encrypted_content import DecryptedContent, EncryptedContent, Parts, content_digest_name
from client_proxy.encryption.named_keys import NewContentKey, opened_key
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, MissingChunks, PreconditionFailed
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, Preconditions
from lockstep_store.wire.messages.kms import KMS_ENTRY, KMS_KEY_ENTRY
from lockstep_store.wire.messages.s3 import CHECKSUM_ENTRIES, CUSTOMER_KEY_ENTRY, ETAG_ENTRY
from lockstep_store.wire.messages.writes import BeginItem

MAX_DIGESTS = 1000
MAX_MISSING = 100_000
_DESCRIBES_BYTES = (KMS_ENTRY, CHECKSUM_ENTRIES, ETAG_ENTRY, "s3:parts-count")
"""Metadata that describes the stored bytes begins with one of these."""


class DecryptedFile(DecryptedContent):
    """An open file under a named key. `digests` caches, by version, digests that took a read of the content."""

    def __init__(self, opened: OpenFile, key: ContentKey, parts: Parts, digests: BoundedMap[str, Digest]) -> None:
        super().__init__(opened, key, parts)
        metadata = dict(self.version.metadata)
        stored = metadata.pop(content_digest_name(key), None)
        self._content_manifest: Manifest | None = None
        id = self.version.version
        digest = Digest.parse(stored) if stored else digests.get(id)
        if digest is None:
            digest = self.manifest().digest
            digests[id] = digest
        self.version = msgspec.structs.replace(self.version, digest=digest, metadata=metadata, data_key=None)

    def __enter__(self) -> DecryptedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return dataclasses.replace(super().receipt(start, stop), digest=self.version.digest)

    def manifest(self) -> Manifest:
        """The manifest of the decrypted content, computed by reading it once."""
        if self._content_manifest is None:
            self._content_manifest = Manifest((chunk.digest, chunk.length) for chunk in chunk_blocks(self.blocks()))
        return self._content_manifest


class DecryptedFiles:
    """Opens and writes files under named keys, for the file store. Thread-safe."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._digests: BoundedMap[str, Digest] = BoundedMap(MAX_DIGESTS)

    def open(self, opened: OpenFile, parts: Parts) -> DecryptedFile:
        """Decrypt an open file. Raises the directory's error when it refused the data key."""
        return DecryptedFile(opened, opened_key(opened.version.data_key), parts, self._digests)

    def write(
        self, item: BeginItem, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata, new: NewContentKey
    ) -> CommittedReply:
        """Encrypt `blocks` and commit them as `item`. The reply has the digest of the decrypted content."""
        content = EncryptedContent(new.key, keep_content_digest=True)
        item = msgspec.structs.replace(item, metadata=item.metadata | content.metadata | new.metadata)
        committed = self._writer.write(
            item, content.blocks(blocks), lambda: content.trailing_metadata(trailing_metadata())
        )
        assert content.content_digest is not None
        version = msgspec.structs.replace(committed.version, digest=content.content_digest)
        return msgspec.structs.replace(committed, version=version)

    def write_stream(
        self,
        item: BeginItem,
        stream: StreamReader,
        announced: Digest | None,
        new: NewContentKey,
        trailing_metadata: TrailingMetadata = no_trailing_metadata,
    ) -> CommittedReply:
        """Write a client's chunk stream as `write` does.

        MissingChunks names every chunk that came without bytes, because the cluster stores none of them decrypted.
        """
        try:
            return self.write(item, _stream_bytes(stream, announced), trailing_metadata, new)
        except _WithoutBytes as lacking:
            raise MissingChunks(
                "the bucket encrypts its files with a named key: send every chunk with its bytes",
                digests=[digest.hex() for digest in lacking.digests[:MAX_MISSING]],
            ) from None

    def can_share_bytes(self, source: FileVersion, new: NewContentKey) -> bool:
        """Whether a copy under `new` may share the source's bytes: it has the same named key, or a customer's."""
        metadata = source.metadata
        return CUSTOMER_KEY_ENTRY in metadata or metadata.get(KMS_KEY_ENTRY) == new.metadata[KMS_KEY_ENTRY]


def copied_metadata(source: FileVersion) -> dict[str, str]:
    """Metadata to carry over when a copy is rewritten."""
    return {name: text for name, text in source.metadata.items() if not name.startswith(_DESCRIBES_BYTES)}


class _WithoutBytes(Exception):
    """Chunks came without their bytes. The writer would mistake MissingChunks itself for a master's."""

    def __init__(self, digests: list[Digest]) -> None:
        super().__init__()
        self.digests = digests


def _stream_bytes(stream: StreamReader, announced: Digest | None) -> Iterator[bytes]:
    """The bytes of a client's chunk stream. BadDigest when their digest is not the `announced` one."""
    entries, missing = [], []
    for chunk in stream:
        entries.append((chunk.digest, chunk.length))
        if chunk.data is None:
            missing.append(chunk.digest)
        elif not missing:
            yield bytes(chunk.data)
    if missing:
        raise _WithoutBytes(list(dict.fromkeys(missing)))
    digest = Manifest(entries).digest
    if announced is not None and digest != announced:
        raise BadDigest(f"the body has digest {digest}, but {announced} was announced; nothing was saved")


def evaluated_conditions(requested: Preconditions, current: Callable[[], FileVersion | None]) -> Preconditions:
    """Preconditions for the commit, with digests of decrypted contents replaced by a version.

    Clients know a file under a named key by the digest of its decrypted content, which the directory does not have.
    So conditions on digests are evaluated here against `current`, the path's current version as clients see it (None:
    not such a file). The commit then requires that this version is still current.
    """
    named = [*(requested.if_match or []), *(requested.if_none_match or [])]
    if not any(digest != "*" for digest in named):
        return requested
    version = current()
    if version is None:
        return requested
    digest = version.digest.hex()
    if digest in (requested.if_none_match or []):
        raise PreconditionFailed(
            "precondition failed: the file already has this content", digest=digest, version=version.version
        )
    if digest in (requested.if_match or []):
        return msgspec.structs.replace(requested, if_match=["*"], if_version=version.version)
    return requested
