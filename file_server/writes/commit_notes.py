"""Commit notes: what this file server, as a master, remembers of the versions it committed.

They are for the day on which the directory is restored from an older backup: then they are the only record of what
was committed since. They are written along with whatever the index writes next, within a second, and nobody waits for
them: a note lost in a crash costs a name in that one case, waiting would cost every write its share of a flush.
"""

from __future__ import annotations

from file_server.store.chunk_store import ChunkStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import BadRequest, LockstepError, TicketRefused
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from lockstep_store.wire.tickets import unchecked_write_id

STEP_SECONDS = 1.0


class CommitNotes:
    """`add` is called by every commit, `step` is a background job."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store

    def add(self, ticket: str, version: FileVersion) -> None:
        """The directory committed `version` for the write of `ticket`, which was checked before. Never waits.

        A part of an upload is no version and has no note: its upload may not be there any more after a restore.
        """
        if not version.version:
            return
        self._store.note(version.cursor, version.digest, lambda: encoded_note(ticket, version))

    def step(self) -> float:
        """Write what no other write has taken along; seconds until the next look."""
        try:
            self._store.keep_notes()
        except LockstepError as error:
            log.debug("commit notes wait for the disk: %s", error)
        return STEP_SECONDS


def encoded_note(ticket: str, version: FileVersion) -> bytes:
    """A note as it is stored; empty for a ticket that cannot be read, which then has no note."""
    try:
        return encode(CommitNote(unchecked_write_id(ticket), version))
    except (BadRequest, TicketRefused):
        return b""
