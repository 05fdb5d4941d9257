"""Files under a named key (SSE-KMS) as doors see them that know nothing of encryption.

Their digest, manifest and receipts are those of the plain content, so that whoever reads can check the bytes. The
digest is among the sealed facts of what was written in one piece; for what was put together from parts, and for
manifests, the content is read once.
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
from client_proxy.encryption.named_keys import NewKey, opened_key
from client_proxy.encryption.sealed_content import Parts, Seal, Unsealed, plain_digest_fact
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, MissingChunks, PreconditionFailed
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import BeginItem, CommittedReply, FileVersion, Preconditions
from lockstep_store.wire.messages.kms import KMS_FACT, KMS_KEY_FACT
from lockstep_store.wire.messages.s3 import CHECKSUM_FACTS, CUSTOMER_KEY_FACT, ETAG_FACT

MAX_KNOWN = 1000
MAX_MISSING = 100_000
_OF_CONTENT = (KMS_FACT, CHECKSUM_FACTS, ETAG_FACT, "s3:parts-count")


class PlainFile(Unsealed):
    """An open file under a named key. `known` has the plain digests of versions that were read for them before."""

    def __init__(self, opened: OpenFile, key: ContentKey, parts: Parts, known: BoundedMap[str, Digest]) -> None:
        super().__init__(opened, key, parts)
        facts = dict(self.version.metadata)
        told = facts.pop(plain_digest_fact(key), None)
        self._plain_manifest: Manifest | None = None
        id = self.version.version
        digest = Digest.parse(told) if told else known.get(id)
        if digest is None:
            digest = self.manifest().digest
            known[id] = digest
        self.version = msgspec.structs.replace(self.version, digest=digest, metadata=facts, data_key=None)

    def __enter__(self) -> PlainFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return dataclasses.replace(super().receipt(start, stop), digest=self.version.digest)

    def manifest(self) -> Manifest:
        """Of the plain content, which is read for it."""
        if self._plain_manifest is None:
            self._plain_manifest = Manifest((chunk.digest, chunk.length) for chunk in chunk_blocks(self.blocks()))
        return self._plain_manifest


class PlainFiles:
    """Reads and writes of such files, for the file store. Thread-safe."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._known: BoundedMap[str, Digest] = BoundedMap(MAX_KNOWN)

    def open(self, opened: OpenFile, parts: Parts) -> PlainFile:
        """What refused the data key, when the directory refused it."""
        return PlainFile(opened, opened_key(opened.version.data_key), parts, self._known)

    def write(
        self, item: BeginItem, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata, new: NewKey
    ) -> CommittedReply:
        """Commit `blocks` as `item` says, encrypted; the answer has the digest of the plain content."""
        seal = Seal(new.key, keep_plain_digest=True)
        item = msgspec.structs.replace(item, metadata=item.metadata | seal.metadata | new.facts)
        committed = self._writer.write(item, seal.blocks(blocks), lambda: seal.late(trailing_metadata()))
        assert seal.plain_digest is not None
        version = msgspec.structs.replace(committed.version, digest=seal.plain_digest)
        return msgspec.structs.replace(committed, version=version)

    def write_stream(
        self, item: BeginItem, stream: StreamReader, announced: Digest | None, new: NewKey
    ) -> CommittedReply:
        """The same with a client's chunk stream. MissingChunks names all that came without bytes: the cluster has none
        of these bytes plain."""
        try:
            return self.write(item, _plain_blocks(stream, announced), no_trailing_metadata, new)
        except _WithoutBytes as lacking:
            raise MissingChunks(
                "the bucket's files are under a named key: every chunk needs its bytes",
                digests=[digest.hex() for digest in lacking.digests[:MAX_MISSING]],
            ) from None

    def agrees(self, source: FileVersion, new: NewKey) -> bool:
        """Whether a copy under `new` may be the very same bytes: they are under that key, or under a customer's."""
        facts = source.metadata
        return CUSTOMER_KEY_FACT in facts or facts.get(KMS_KEY_FACT) == new.facts[KMS_KEY_FACT]


def kept_metadata(source: FileVersion) -> dict[str, str]:
    """Of a version that is copied by writing it anew what does not follow from its bytes."""
    return {name: text for name, text in source.metadata.items() if not name.startswith(_OF_CONTENT)}


class _WithoutBytes(Exception):
    """Chunks of a client's stream came without their bytes. The writer would take the refusal itself for a master's."""

    def __init__(self, digests: list[Digest]) -> None:
        super().__init__()
        self.digests = digests


def _plain_blocks(stream: StreamReader, announced: Digest | None) -> Iterator[bytes]:
    """A client's chunk stream as bytes. BadDigest when they do not make up what was `announced`."""
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


def judged(wanted: Preconditions, current: Callable[[], FileVersion | None]) -> Preconditions:
    """`wanted` for the commit. People know a file under a named key by its plain digest, which the directory does not
    have; so conditions that name digests are judged here against `current`, the path's version now (or None), and hold
    then only while that very version is current."""
    named = [*(wanted.if_match or []), *(wanted.if_none_match or [])]
    if not any(digest != "*" for digest in named):
        return wanted
    version = current()
    if version is None:
        return wanted
    digest = version.digest.hex()
    if digest in (wanted.if_none_match or []):
        raise PreconditionFailed("precondition failed: the file already exists", digest=digest, version=version.version)
    if digest in (wanted.if_match or []):
        return msgspec.structs.replace(wanted, if_match=["*"], if_version=version.version)
    return wanted
