"""Which chunks a person may leave out of a chunk stream: those that they may read now or sent before.

A file server only knows whether it has a chunk. If that were enough, anybody who knows a chunk's digest could have its
content, or learn that the cluster has it. So every other chunk is asked for, whether the cluster has it or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, MissingChunks
from lockstep_store.wire.messages.servers import MAX_MISSING_CHUNKS

MAX_REMEMBERED = 65_536
"""About 64 GiB of content in interrupted uploads, in some 10 MiB of memory."""
_KEY_BYTES = 16


class SentChunks:
    """The chunks of interrupted uploads, by who sent them through this proxy. Thread-safe.

    A hint that may be lost, by a restart or to newer entries: the bytes are then sent again.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._entries: BoundedMap[bytes, None] = BoundedMap(max_remembered)

    def remember(self, credential: str, digests: Iterable[Digest]) -> None:
        """Note that the person sent these chunks with their bytes."""
        for digest in digests:
            self._entries[_key(credential, digest)] = None

    def has(self, credential: str, digest: Digest) -> bool:
        """Return whether the person sent that chunk."""
        return _key(credential, digest) in self._entries


class ReadableChunks:
    """Chunks of contents that the person may read; `find` looks for these contents when it is first needed."""

    def __init__(self, find: Callable[[], Iterable[Digest]]) -> None:
        self._find = find
        self._found: frozenset[Digest] | None = None

    def __contains__(self, digest: object) -> bool:
        if self._found is None:
            self._found = frozenset(self._find())
        return digest in self._found


class LeftOutChunks:
    """The chunks that one stream leaves out: `accepted`, and `refused` because the person must send their bytes."""

    def __init__(self, may_leave_out: Callable[[Digest], bool]) -> None:
        self._may_leave_out = may_leave_out
        self.accepted: dict[Digest, None] = {}
        self.refused: dict[Digest, None] = {}

    def checked(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield the chunks, and raise MissingChunks in place of the end if any was refused.

        A chunk that came with its bytes earlier in the stream may be left out after that.
        """
        brought: set[Digest] = set()
        for chunk in chunks:
            if chunk.data is not None:
                brought.add(chunk.digest)
            elif chunk.digest not in brought:
                kind = self.accepted if self._may_leave_out(chunk.digest) else self.refused
                kind[chunk.digest] = None
            yield chunk
        if self.refused:
            raise _missing_chunks(self.refused)

    def all_missing(self, lacking: Callable[[list[Digest]], set[Digest]]) -> MissingChunks:
        """Return one refusal that also names the accepted chunks that a master lacks, as `lacking` answers.

        A second refusal for them would cost the client a round with all its bytes.
        """
        asked = list(islice(self.accepted, MAX_MISSING_CHUNKS))
        gone: set[Digest] = set()
        if asked:
            with suppress(LockstepError):
                gone = lacking(asked)
        return _missing_chunks(self.refused | {digest: None for digest in asked if digest in gone})


def _missing_chunks(digests: Collection[Digest]) -> MissingChunks:
    """The refusal that names the chunks to send with their bytes; it reads as a file server's does."""
    named = [str(digest) for digest in islice(digests, MAX_MISSING_CHUNKS)]
    plural = "chunk is" if len(digests) == 1 else "chunks are"
    return MissingChunks(f"{len(digests)} {plural} not stored here; send the bytes too", digests=named)


def _key(credential: str, digest: Digest) -> bytes:
    return hashlib.blake2b(digest, key=hashlib.sha256(credential.encode()).digest(), digest_size=_KEY_BYTES).digest()
