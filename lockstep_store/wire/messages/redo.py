"""Redo records: what each transaction of the directory changed, for those who keep them for a later restore.

A place in the directory's history is a record's sequence and the chain up to it, a hash in hexadecimal. Whoever names
a place gets the records behind it, or learns that the directory cannot go on from there.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, Message, Size

Chain = Annotated[str, Meta(pattern="^[0-9a-f]{0,64}$")]
MAX_BATCH_BYTES = 1 << 20
"""Of the records' text, unless one alone is longer; compressed to about a tenth."""


class RedoPlace(Message):
    """The record `sequence` and the chain up to it; sequence 0 is no place."""

    sequence: Size = 0
    chain: Chain = ""


class RedoBatch(Message):
    """The records behind `before` up to `through`.

    `payload` is the zlib compression of a JSON list of them; for file servers it is sealed, so that only the directory
    can read it.
    """

    before: RedoPlace
    through: RedoPlace
    made_at: float
    """Wall clock of the directory when it sent the batch: later changes are not in it."""
    payload: bytes
    sealed_by: str = ""
    """The id of the authority whose key seals the payload; empty when it is plain, or an earlier version sealed it."""


class RedoRequest(Message):
    """The records behind a place that the caller has got to."""

    after: RedoPlace


class FollowRequest(Message):
    """Administrator: the same, not sealed."""

    credential: Credential
    after: RedoPlace


class RedoReply(Message):
    newest: RedoPlace
    """How far the directory is."""
    made_at: float
    batch: RedoBatch | None = None
    """None when there is nothing behind the place, or when the place is unknown."""
    known: bool = True
    """False: the directory never was at the place, or has removed the records behind it."""
    oldest: RedoPlace = field(default_factory=RedoPlace)
    """Every record behind this place is there."""


FOLLOW_REDO = Call("/v1/backup/follow", FollowRequest, RedoReply)
