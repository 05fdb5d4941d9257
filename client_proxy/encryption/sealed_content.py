"""Contents under a key: encrypted on their way to the writer, decrypted on their way from the reader.

A content is one stream of cipher, and so is each part of an upload, with a salt of its own; a completed upload is its
parts, one after the other, and the table of its parts (PARTS_SETTING) has what is needed to read each. Completing
needs no key for that, and no byte is touched.

Every byte that is read is checked against the blob's digest anyway, so whoever vouches for the digest vouches for each
byte of a range; tags of segments of its own, which would change sizes and offsets everywhere, would add nothing. For a
part its own digest is vouched for, together with its number and its upload: the chunks between two parts' boundaries
must have that digest before one of their bytes is given out. Which parts an upload was completed with is the
directory's word, as it is which version of a path is current.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from client_proxy.core.open_file import OpenFile
from client_proxy.core.receipt import Receipt
from client_proxy.encryption.content_keys import ContentKey, DerivedKeys, Facts, as_text, from_text
from lockstep_store.wire.chunking import chunk_blocks
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Damaged
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import CHECKSUM_FACTS, ETAG_FACT
from lockstep_store.wire.messages.uploads import VersionPart

Parts = Callable[[], Sequence[VersionPart]]
"""The parts of a completed upload; asked for when they are needed."""
_WHOLE = b"digest"


def is_in_parts(facts: Facts, key: ContentKey) -> bool:
    """Whether a version under `key` is a completed upload: then each part has its own stream."""
    return f"{key.fact}-digest" not in facts


def part_of(upload: Facts, key: ContentKey, number: int) -> bytes:
    """What a part's digest is vouched for as. `upload` are the facts of the upload, or of the version made of it."""
    return b"digest of part %d of %s" % (number, as_text(from_text(upload, key.fact)).encode())


def plain_digest_fact(key: ContentKey) -> str:
    """The name of the sealed fact that has the digest of the plain content."""
    return f"{key.fact}-plain"


class Seal:
    """The encryption of one content. Iterate `blocks` once, then ask for `late`.

    `role` is what its digest is vouched for as (see `part_of`). `plain_digest` is then the digest that the content has
    for people, and is kept, sealed, with `keep_plain_digest`.
    """

    def __init__(self, key: ContentKey, role: bytes = _WHOLE, *, keep_plain_digest: bool = False) -> None:
        self._key = key
        self._role = role
        facts = key.new_facts()
        self._keys = key.derived(facts)
        self.metadata = facts if role == _WHOLE else {key.fact: facts[key.fact]}
        """Known before the content is. A part's key is its upload's, which has the mark."""
        self._digest: Digest | None = None
        self._keeps_plain_digest = keep_plain_digest
        self.plain_digest: Digest | None = None

    def blocks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """The content encrypted; of the same length."""
        stream = self._keys.stream(0)
        if self._keeps_plain_digest:
            plain = self._digested(plain)
        entries = []
        # Cut as the writer will cut it, because the digest that is vouched for is that of the whole blob.
        for chunk in chunk_blocks(stream.update(block) for block in plain):
            entries.append((chunk.digest, chunk.length))
            yield bytes(chunk.data or b"")
        self._digest = Manifest(entries).digest

    def _digested(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        entries = []
        for chunk in chunk_blocks(plain):
            entries.append((chunk.digest, chunk.length))
            yield bytes(chunk.data or b"")
        self.plain_digest = Manifest(entries).digest

    def late(self, facts: dict[str, str]) -> dict[str, str]:
        """`facts` of the plain content as they may be kept: nothing in them tells of it without the key."""
        assert self._digest is not None, "the content was not read yet"
        kept = {f"{self._key.fact}-digest": as_text(self._keys.mac(self._role, bytes(self._digest)))}
        if ETAG_FACT in facts:
            kept[ETAG_FACT] = self._keys.mac(b"etag", facts[ETAG_FACT].encode()).hex()[:32]
        sums = {name: text for name, text in facts.items() if name.startswith(CHECKSUM_FACTS)}
        if self.plain_digest is not None:
            sums[plain_digest_fact(self._key)] = self.plain_digest.hex()
        if sums:
            kept[f"{self._key.fact}-sums"] = as_text(self._keys.seal(sums))
        return kept


class _Stream(NamedTuple):
    """Bytes [start, stop) of a content, which are one stream of cipher. `vouched` is the code over their digest."""

    start: int
    stop: int
    keys: DerivedKeys
    role: bytes
    vouched: bytes

    def check(self, digest: Digest, version: FileVersion) -> None:
        if not hmac.compare_digest(self.keys.mac(self.role, bytes(digest)), self.vouched):
            raise _not_vouched_for(version)


class Unsealed:
    """An open file whose blocks are decrypted on their way; offsets and sizes are those of the plain content.

    Damaged, here or when a part is reached, for a content that the key does not vouch for.
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
        self.version = msgspec.structs.replace(stored, metadata=key.opened(stored.metadata))
        """With the facts that were sealed."""

    @property
    def cursor(self) -> int:
        return self._opened.cursor

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return self._opened.receipt(start, stop)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._decrypted(self._opened.blocks(start, stop), start)

    def manifest(self) -> Manifest:
        """Of what is stored."""
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
        """The chunks of a part are those that its key vouches for."""
        if self._in_parts and stream.start not in self._checked:
            entries = []
            for _, digest, length, first, last in self._opened.manifest().span(stream.start, stream.stop):
                if (first, last) != (0, length):
                    raise _not_vouched_for(self.version)
                entries.append((digest, length))
            stream.check(Manifest(entries).digest, self.version)
            self._checked.add(stream.start)


def check_whole(version: FileVersion, key: ContentKey) -> None:
    """Damaged unless the key vouches for the digest of a version that is no completed upload."""
    if not is_in_parts(version.metadata, key):
        _whole(version, key)


def _whole(version: FileVersion, key: ContentKey) -> _Stream:
    facts = version.metadata
    stream = _Stream(0, version.size, key.derived(facts), _WHOLE, from_text(facts, f"{key.fact}-digest"))
    stream.check(version.digest, version)
    return stream


def _parts_of(version: FileVersion, key: ContentKey, parts: Sequence[VersionPart]) -> list[_Stream]:
    bounds = [0]
    for part in parts:
        bounds.append(bounds[-1] + part.size)
    if not parts or bounds[-1] != version.size:
        raise _not_vouched_for(version)
    return [
        _Stream(
            start,
            stop,
            key.derived(part.facts),
            part_of(version.metadata, key, part.number),
            from_text(part.facts, f"{key.fact}-digest"),
        )
        for part, (start, stop) in zip(parts, pairwise(bounds), strict=True)
    ]


def _not_vouched_for(version: FileVersion) -> Damaged:
    return Damaged(
        f"the content of {version.path!r} is not what its key vouches for: something replaced it",
        bucket=version.bucket,
        path=version.path,
        version=version.version,
    )
