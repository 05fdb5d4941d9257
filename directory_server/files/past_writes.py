"""Replies of earlier writes, so that a repeated call gets the same reply and writes nothing."""

from __future__ import annotations

from directory_server.files.moment import Moment
from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import BadRequest, TicketRefused, TooFewHolders
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.files import DeleteReply, FileVersion


class PastAnswer(Message):
    """The stored reply of a write whose version row is gone, or may be."""

    bucket: str
    path: str
    version: FileVersion | None = None
    deleted: DeleteReply | None = None
    given_up: bool = False
    """It was never committed, and never will be."""


_past_answers = decoder(PastAnswer)


def answer_of(reader: Reader, write_id: str, bucket: str, path: str) -> PastAnswer | None:
    """Return the reply of this very write, if it was committed; BadRequest when the id was another write's."""
    row = reader.one(files.WRITE_BEFORE, write_id=write_id)
    if row is None:
        return None
    stored, *version = row
    if stored is not None:
        past = _past_answers.decode(stored)
    else:
        past = PastAnswer(version[0], version[1], version=files.as_version(tuple(version)))
    if (past.bucket, past.path) != (bucket, path):
        raise BadRequest("this write id was used for another write; use a new id for each write")
    return past


def written_before(reader: Reader, write_id: str, bucket: str, path: str) -> FileVersion | None:
    """Return the version that this very write made; BadRequest when the id was a delete's."""
    past = answer_of(reader, write_id, bucket, path)
    if past is None:
        return None
    if past.given_up:
        raise TicketRefused("this write was given up by the proxy that began it; begin a new write")
    if past.version is None or past.version.delete_marker:
        raise BadRequest("this write id was used for a delete; use a new id for each write")
    return past.version


def deleted_before(reader: Reader, write_id: str, bucket: str, path: str) -> DeleteReply | None:
    """Return the reply of this very delete; BadRequest when the id was a write's."""
    past = answer_of(reader, write_id, bucket, path)
    if past is not None and past.deleted is None:
        raise BadRequest("this write id was used for a write: use a new id for each request")
    return past.deleted if past is not None else None


def give_up(tx: Tx, write_id: str, bucket: str, path: str, moment: Moment) -> FileVersion | None:
    """Refuse this write from now on; return its version when it was committed already. Safe to repeat."""
    past = answer_of(tx, write_id, bucket, path)
    if past is None:
        remember(tx, write_id, PastAnswer(bucket, path, given_up=True), moment)
    return past.version if past is not None else None


def count_copies(reader: Reader, version: FileVersion, promised: int) -> int:
    """Return how many copies there are now of a version that an earlier attempt of this write made.

    TooFewHolders while fewer than promised, because a disk was lost since: the write is then not confirmed.
    """
    copies = len(reader.all(files.HOLDERS, digest=version.digest))
    if copies < promised:
        missing = promised - copies
        raise TooFewHolders(
            f"version {version.version} of {version.path!r} was written, but {missing} of its {promised} copies "
            f"{'was' if missing == 1 else 'were'} lost since: retry when repair has restored "
            f"{'it' if missing == 1 else 'them'}",
            up=copies,
            needed=promised,
        )
    return copies


def remember_deletion(tx: Tx, write_id: str, bucket: str, path: str, reply: DeleteReply, moment: Moment) -> None:
    """Store a delete's reply for its repeats."""
    remember(tx, write_id, PastAnswer(bucket, path, deleted=reply), moment)


def remember(tx: Tx, write_id: str, answer: PastAnswer, moment: Moment) -> None:
    """Store a write's reply, because its version row goes."""
    tx.run(files.INSERT_PAST_WRITE, write_id=write_id, answer=encode(answer).decode(), done_time=moment.time)
