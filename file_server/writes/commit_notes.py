"""Commit notes: a master's record of the versions that it committed.

If the directory is restored from an older backup, the notes are the only record of later commits. The store writes them
with its next transaction, within a second, and no write waits for them: a note lost in a crash costs a name in that one
case, but waiting would cost every write its share of a flush.
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
    """Every commit calls `add`; `step` is a background job."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store

    def add(self, ticket: str, version: FileVersion) -> None:
        """Add a note that the directory committed `version` for the write of `ticket`. Never waits.

        A part of an upload is not a version and gets no note: a restored directory may not have its upload.
        """
        if not version.version:
            return
        self._store.note(version.cursor, version.digest, lambda: encoded_note(ticket, version))

    def step(self) -> float:
        """Write the notes that still wait; return the seconds until the next step."""
        try:
            self._store.keep_notes()
        except LockstepError as error:
            log.debug("commit notes wait for the disk: %s", error)
        return STEP_SECONDS


def encoded_note(ticket: str, version: FileVersion) -> bytes:
    """Return a note in its stored form; empty, for no note, if the ticket cannot be read."""
    try:
        return encode(CommitNote(unchecked_write_id(ticket), version))
    except (BadRequest, TicketRefused):
        return b""
