"""Encrypts contents on their way to the writer, and decrypts them on their way from the reader.

A content is one cipher stream. So is each part of an upload, with a salt of its own. A completed upload is its parts,
one after the other, and the table of its parts (PARTS_SETTING) has what is needed to read each. So completing an
upload needs no key and touches no byte.

Every byte read is checked against the blob's digest anyway, so authenticating the digest authenticates each byte of a
range. Authentication tags per segment were refused: they would change sizes and offsets everywhere, and add nothing.
A part's own digest is authenticated together with its number and its upload: the chunks between two parts' boundaries
must have that digest before one of their bytes is returned. The directory is trusted to say which parts an upload was
completed with, as it is to say which version of a path is current.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from client_proxy.core.open_file import OpenFile
from client_proxy.core.receipt import Receipt
from client_proxy.encryption.content_keys import ContentKey, DerivedKeys, Metadata, as_text, from_text
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Damaged
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import CHECKSUM_ENTRIES, ETAG_ENTRY
from lockstep_store.wire.messages.uploads import VersionPart

Parts = Callable[[], Sequence[VersionPart]]
"""Looks up the parts of a completed upload, when they are needed."""
_WHOLE = b"digest"


def is_in_parts(metadata: Metadata, key: ContentKey) -> bool:
    """Whether a version under `key` is a completed upload, whose parts are separate cipher streams."""
    return f"{key.prefix}-digest" not in metadata


def part_of(upload: Metadata, key: ContentKey, number: int) -> bytes:
    """The role in which a part's digest is authenticated.

    `upload` is the metadata of the upload, or of the version that completed it.
    """
    return b"digest of part %d of %s" % (number, as_text(from_text(upload, key.prefix)).encode())


def content_digest_name(key: ContentKey) -> str:
    """The name of the encrypted metadata entry with the digest of the decrypted content."""
    return f"{key.prefix}-plain"


class EncryptedContent:
    """Encrypts one content. Iterate `blocks` once, then call `trailing_metadata`.

    Its digest is authenticated in `role` (see `part_of`). With `keep_content_digest`, the digest of the content before
    encryption is stored, encrypted, in the metadata; `content_digest` has it once the blocks have been read.
    """

    def __init__(self, key: ContentKey, role: bytes = _WHOLE, *, keep_content_digest: bool = False) -> None:
        self._key = key
        self._role = role
        metadata = key.new_metadata()
        self._keys = key.derived(metadata)
        self.metadata = metadata if role == _WHOLE else {key.prefix: metadata[key.prefix]}
        """Known before the content is. A part needs no mark: it shares its upload's key, which has one."""
        self._digest: Digest | None = None
        self._keeps_content_digest = keep_content_digest
        self.content_digest: Digest | None = None

    def blocks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """The encrypted content, which has the same length."""
        stream = self._keys.stream(0)
        if self._keeps_content_digest:
            plain = self._digested(plain)
        entries = []
        # The chunks must be those that the writer will cut, because the digest of the blob is authenticated.
        for chunk in chunk_blocks(stream.update(block) for block in plain):
            entries.append((chunk.digest, chunk.length))
            yield bytes(chunk.data or b"")
        self._digest = Manifest(entries).digest

    def _digested(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        entries = []
        for chunk in chunk_blocks(plain):
            entries.append((chunk.digest, chunk.length))
            yield bytes(chunk.data or b"")
        self.content_digest = Manifest(entries).digest

    def trailing_metadata(self, metadata: dict[str, str]) -> dict[str, str]:
        """Metadata of the decrypted content in its stored form, which reveals nothing without the key."""
        assert self._digest is not None, "the content was not read yet"
        stored = {f"{self._key.prefix}-digest": as_text(self._keys.mac(self._role, bytes(self._digest)))}
        if ETAG_ENTRY in metadata:
            stored[ETAG_ENTRY] = self._keys.mac(b"etag", metadata[ETAG_ENTRY].encode()).hex()[:32]
        sums = {name: text for name, text in metadata.items() if name.startswith(CHECKSUM_ENTRIES)}
        if self.content_digest is not None:
            sums[content_digest_name(self._key)] = self.content_digest.hex()
        if sums:
            stored[f"{self._key.prefix}-sums"] = as_text(self._keys.encrypt_metadata(sums))
        return stored


class _Stream(NamedTuple):
    """Bytes [start, stop) of a content, one cipher stream. `code` authenticates their digest."""

    start: int
    stop: int
    keys: DerivedKeys
    role: bytes
    code: bytes

    def check(self, digest: Digest, version: FileVersion) -> None:
        if not hmac.compare_digest(self.keys.mac(self.role, bytes(digest)), self.code):
            raise _not_authentic(version)


class DecryptedContent:
    """An open file whose blocks are decrypted as they are read. Offsets and sizes are the same as when encrypted.

    Damaged, at once or when a part is reached, if the content fails authentication.
    """

    def __init__(self, opened: OpenFile, key: ContentKey, parts: Parts) -> None:
        stored = opened.version
        self._opened = opened
        self._key = key
        self._parts = parts
        self._in_parts = is_in_parts(stored.metadata, key)
        self._streams: list[_Stream] | None = None
        self._checked: set[int] = set()
        if not self._in_parts:
            self._streams = [_whole(stored, key)]
        self.version = msgspec.structs.replace(stored, metadata=key.decrypted(stored.metadata))
        """Its metadata is decrypted."""

    @property
    def cursor(self) -> int:
        return self._opened.cursor

    @property
    def leased(self) -> bool:
        return self._opened.leased

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return self._opened.receipt(start, stop)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._decrypted(self._opened.blocks(start, stop), start)

    def manifest(self) -> Manifest:
        """The manifest of the stored, encrypted content."""
        return self._opened.manifest()

    def close(self) -> None:
        self._opened.close()

    def _decrypted(self, blocks: Iterable[bytes], at: int) -> Iterator[bytes]:
        streams = iter(self._found_streams())
        stream, cipher = next(streams), None
        for block in blocks:
            left = memoryview(block)
            while left:
                while at >= stream.stop:
                    stream, cipher = next(streams), None
                if cipher is None:
                    self._check(stream)
                    cipher = stream.keys.stream(at - stream.start)
                piece = left[: stream.stop - at]
                yield cipher.update(piece)
                at += len(piece)
                left = left[len(piece) :]

    def _found_streams(self) -> list[_Stream]:
        if self._streams is None:
            self._streams = _parts_of(self._opened.version, self._key, self._parts())
        return self._streams

    def _check(self, stream: _Stream) -> None:
        """Authenticate the chunks of a part once."""
        if self._in_parts and stream.start not in self._checked:
            entries = []
            for _, digest, length, first, last in self._opened.manifest().span(stream.start, stream.stop):
                if (first, last) != (0, length):
                    raise _not_authentic(self.version)
                entries.append((digest, length))
            stream.check(Manifest(entries).digest, self.version)
            self._checked.add(stream.start)


def check_whole(version: FileVersion, key: ContentKey) -> None:
    """Authenticate the digest of a version, unless it is a completed upload. Damaged if that fails."""
    if not is_in_parts(version.metadata, key):
        _whole(version, key)


def _whole(version: FileVersion, key: ContentKey) -> _Stream:
    metadata = version.metadata
    stream = _Stream(0, version.size, key.derived(metadata), _WHOLE, from_text(metadata, f"{key.prefix}-digest"))
    stream.check(version.digest, version)
    return stream


def _parts_of(version: FileVersion, key: ContentKey, parts: Sequence[VersionPart]) -> list[_Stream]:
    bounds = [0]
    for part in parts:
        bounds.append(bounds[-1] + part.size)
    if not parts or bounds[-1] != version.size:
        raise _not_authentic(version)
    return [
        _Stream(
            start,
            stop,
            key.derived(part.facts),
            part_of(version.metadata, key, part.number),
            from_text(part.facts, f"{key.prefix}-digest"),
        )
        for part, (start, stop) in zip(parts, pairwise(bounds), strict=True)
    ]


def _not_authentic(version: FileVersion) -> Damaged:
    return Damaged(
        f"the content of {version.path!r} failed authentication: it is not what was written with its key; "
        "restore an older version",
        bucket=version.bucket,
        path=version.path,
        version=version.version,
    )
