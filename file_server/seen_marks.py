"""What this file server has seen of the directory, so that it notices one that runs on older metadata.

With each heartbeat the directory tells its epoch, last lock number and last change. They go to disk along with what
the index writes next, within a second or so, and back to the directory with each registration. Nobody waits for them:
marks that a crash loses make this server's word a little older, never wrong.
"""

from __future__ import annotations

from file_server.store.chunk_store import ChunkStore
from lockstep_store.wire.messages.servers import SeenMarks

PREFIX = "seen_"
_NAMES = ("epoch", "mark", "lock_number", "cursor")


class DirectoryMarks:
    """The marks of one file server's disk."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store
        self.seen = SeenMarks(**{name: store.remembered(PREFIX + name) for name in _NAMES})

    def learn(self, told: SeenMarks) -> None:
        """Remember what the directory told with a heartbeat; a start that is not yet confirmed tells nothing."""
        if not told.epoch:
            return
        highest = SeenMarks(
            told.epoch,
            told.mark,
            max(told.lock_number, self.seen.lock_number),
            max(told.cursor, self.seen.cursor),
        )
        if highest != self.seen:
            self.seen = highest
            self._store.keep_soon({PREFIX + name: getattr(highest, name) for name in _NAMES})
