"""Remembers the directory's latest epoch, lock number and change, which reveal a directory on older metadata.

The reply to each heartbeat has them; each registration sends them back. They are written with the index's next
transaction, within about a second, and nothing waits for that: after a crash they may be a little older, never wrong.
"""

from __future__ import annotations

from file_server.store.chunk_store import ChunkStore
from lockstep_store.wire.messages.servers import SeenMarks

PREFIX = "seen_"
_NAMES = ("epoch", "mark", "lock_number", "cursor")


class DirectoryMarks:
    """The marks stored on this file server's disk."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store
        self.seen = SeenMarks(**{name: store.remembered(PREFIX + name) for name in _NAMES})

    def learn(self, marks: SeenMarks) -> None:
        """Remember the marks in a heartbeat's reply. They are empty until the directory has confirmed its metadata."""
        if not marks.epoch:
            return
        highest = SeenMarks(
            marks.epoch,
            marks.mark,
            max(marks.lock_number, self.seen.lock_number),
            max(marks.cursor, self.seen.cursor),
        )
        if highest != self.seen:
            self.seen = highest
            self._store.keep_soon({PREFIX + name: getattr(highest, name) for name in _NAMES})
