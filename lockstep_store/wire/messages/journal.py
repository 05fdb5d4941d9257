"""The journal: every committed change, once and in order."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.base import MAX_LISTING, Bucket, Credential, Message, PathText, Size
from lockstep_store.wire.messages.locks import MAX_WAIT_SECONDS

ChangeKind = Literal["write", "copy", "move", "restore", "delete", "remove", "recover"]
"""`delete`: the path has no current version any more. `remove`: one version is gone for good. `recover`: found on the
file servers after an older backup of the directory was restored. After a `move` comes its source's `delete` or
`remove`."""


class Change(Message):
    """One committed change. The version's details are set only while that version exists."""

    cursor: int
    kind: str
    bucket: Bucket
    path: PathText
    version: str
    """The version created or removed."""
    at: float
    digest: Digest | None = None
    size: Size | None = None
    author: str = ""
    lock_number: int = 0


class ChangesRequest(Message):
    """Changes after `cursor` (None: from now on), in one bucket or in all that the person may use.

    If there is none yet, the reply waits up to `wait_seconds` for the first one.
    """

    credential: Credential
    bucket: Bucket | None = None
    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0.0


class ChangesReply(Message):
    changes: list[Change]
    cursor: int
    """The `cursor` of the next request: every earlier change was in a reply, or the person may not see it."""


CHANGES = Call("/v1/changes", ChangesRequest, ChangesReply)
