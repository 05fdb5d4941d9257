"""The journal: every change that was committed, once and in order. See lockstep_store/wire/messages/files.py."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import MAX_LISTING, Bucket, Credential, Message, PathText, Size
from lockstep_store.wire.messages.locks import MAX_WAIT_SECONDS

ChangeKind = Literal["write", "copy", "move", "restore", "delete", "remove", "recover"]
"""`delete`: the path stopped being current. `remove`: one version is gone for good. `recover`: found again on the file
servers after an older backup of the directory was restored. A move has its source's `delete` or `remove` behind it."""


class Change(Message):
    """One committed change. Facts of the version stand here while that version exists."""

    cursor: int
    kind: str
    bucket: Bucket
    path: PathText
    version: str
    """The version made, or the one removed."""
    at: float
    digest: Digest | None = None
    size: Size | None = None
    author: str = ""
    lock_number: int = 0


class ChangesRequest(Message):
    """Changes after `cursor` (None: from now on), of one bucket or of all that the person may use.

    Waits up to `wait_seconds` for the first one when there is none yet.
    """

    credential: Credential
    bucket: Bucket | None = None
    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0.0


class ChangesReply(Message):
    changes: list[Change]
    cursor: int
    """Give it with the next request: everything up to it was either in an answer or is not the person's to see."""


CHANGES = Call("/v1/changes", ChangesRequest, ChangesReply)
