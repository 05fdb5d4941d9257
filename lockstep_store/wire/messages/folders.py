"""Folders: moved and deleted by client proxies, with everything in them.

A folder is the common beginning of its files' paths, up to and with a slash. An empty one is an object of no bytes with
that path.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.errors import Problem
from lockstep_store.wire.messages.base import Bucket, Credential, Message, PathText, Size, Text, WriteId

FOLDER_TYPE = "application/x-directory"
"""The content type of a folder's own object, as S3 clients write it."""
MAX_PROBLEMS = 1000
"""In one reply."""
MAX_FOLDER_CHANGES = 100
FolderChangeKind = Literal["move", "delete"]
FolderChangeState = Literal["running", "done", "incomplete", "stopped"]


class FolderReply(Message):
    """A folder that a person asked for. `created`: there was nothing in it before.

    `version` is that of its own object; empty if it is not known.
    """

    bucket: str
    path: str
    created: bool
    version: str = ""


class FolderProblem(Message):
    """A file that a change of its folder could not move or delete, and why."""

    path: PathText
    problem: Problem


class FolderChange(Message):
    """A move or deletion of a folder, and how far it is.

    `running`: it goes on by itself, also after a restart. `incomplete`: it ended, and `failed` files stay where they
    are. `stopped`: a person stopped it, or `reason` says what did.
    """

    id: str
    kind: FolderChangeKind
    bucket: str
    path: str
    account: str
    state: FolderChangeState
    total: Size
    """How many files the folder had when the change began."""
    done: Size
    failed: Size
    began_at: float
    to_bucket: str = ""
    to_path: str = ""
    ended_at: float | None = None
    cursor: int = 0
    """A position in the journal behind everything that is done."""
    reason: str = ""
    problems: list[FolderProblem] = []
    """A page of the files that could not be done, in path order; only in replies about one change."""
    next_after: str | None = None
    """The place of the next page of problems; None on the last."""


class MoveFolderRequest(Message):
    """Move everything below the folder `path` to `to_path`. The slash at their ends may be left out.

    With `merge` the target may have files already, but none of the same name.
    """

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText
    to_bucket: Bucket
    to_path: PathText
    merge: bool = False


class DeleteFolderRequest(Message):
    """Delete everything below the folder `path`. The slash at its end may be left out."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText


class FolderChangesRequest(Message):
    """The newest changes of folders that the person made."""

    credential: Credential
    limit: Annotated[int, Meta(ge=1, le=MAX_FOLDER_CHANGES)] = MAX_FOLDER_CHANGES


class FolderChangesReply(Message):
    """Newest first."""

    changes: list[FolderChange]


class FolderChangeRequest(Message):
    credential: Credential
    id: Text
    after: PathText = ""
    """Problems behind this path only."""
    limit: Annotated[int, Meta(ge=1, le=MAX_PROBLEMS)] = MAX_PROBLEMS


class SteerFolderChangeRequest(Message):
    """`retry` what failed or was stopped, or `stop` what is running."""

    credential: Credential
    id: Text
    action: Literal["retry", "stop"]


MOVE_FOLDER = Call("/v1/folders/move", MoveFolderRequest, FolderChange)
DELETE_FOLDER = Call("/v1/folders/delete", DeleteFolderRequest, FolderChange)
FOLDER_CHANGES = Call("/v1/folders/changes", FolderChangesRequest, FolderChangesReply)
FOLDER_CHANGE = Call("/v1/folders/change", FolderChangeRequest, FolderChange)
STEER_FOLDER_CHANGE = Call("/v1/folders/steer", SteerFolderChangeRequest, FolderChange)
