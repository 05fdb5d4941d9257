"""The receipt of a read or a write, with which a person can check the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import CommittedReply

CacheUse = Literal["hit", "delta", "miss", ""]


@dataclass(frozen=True)
class Receipt:
    """The facts of one read or write. `cursor` is the journal position at which they were true.

    `cache` is for reads: all (hit), some (delta) or none (miss) of the chunks were in the proxy's cache. `copies` is
    for writes: the durable copies. `file_server` is the id of the file server that sent or received the bytes, empty
    when none did. `leased`: the version was known under a read lease to be current, without asking the directory.
    """

    digest: Digest
    version: str
    cursor: int
    cache: CacheUse
    copies: int
    file_server: str
    leased: bool = False

    @classmethod
    def of_write(cls, committed: CommittedReply) -> Receipt:
        """The receipt of a committed write, copy or restore."""
        version = committed.version
        return cls(version.digest, version.version, committed.cursor, "", committed.copies, committed.file_server)
