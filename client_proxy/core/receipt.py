"""The receipt of a read or a write, by which a person can check it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import CommittedReply

CacheUse = Literal["hit", "delta", "miss", ""]


@dataclass(frozen=True)
class Receipt:
    """`cursor` is the place in the journal as of which the answer is true.

    `cache` is for reads: all (hit), some (delta) or none (miss) of the chunks were in the proxy's cache. `copies` is
    for writes: the durable copies. `file_server` is the id of the file server that sent or received the bytes, empty
    when none did.
    """

    digest: Digest
    version: str
    cursor: int
    cache: CacheUse
    copies: int
    file_server: str

    @classmethod
    def of_write(cls, committed: CommittedReply) -> Receipt:
        """The receipt of a committed write, copy or restore."""
        version = committed.version
        return cls(version.digest, version.version, committed.cursor, "", committed.copies, committed.file_server)
