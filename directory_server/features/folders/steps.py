"""The steps of a folder's change, each inside the caller's transaction: one file, one batch, the end.

Each file is moved or deleted by the same rules as alone (`files.namespace`): rights, locks, retention, quotas, hooks
and journal. So a folder needs no rules of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from directory_server.files.batch import attempt
from directory_server.metadata.statements import files, folders
from directory_server.metadata.statements.folders import FolderChangeRow
from directory_server.metadata.store import Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, LockstepError, PreconditionFailed, to_problem
from lockstep_store.wire.messages.files import CommittedReply, CopyRequest, DeleteReply, DeleteRequest, Preconditions
from lockstep_store.wire.messages.folders import FolderChangeState
from lockstep_store.wire.names import check_key

_NOBODY = ""
"""The credential of a request whose person is known already."""
_ONLY_IF_ABSENT = Preconditions(if_none_match=["*"])


class FolderClock(Protocol):
    """The wall clock, and directory time."""

    def wall(self) -> float: ...
    def now(self) -> float: ...


class FileChanges(Protocol):
    """The changes of single files, inside the caller's transaction."""

    def copy_in(self, tx: Tx, person: Person, request: CopyRequest) -> CommittedReply: ...

    def delete_in(self, tx: Tx, person: Person, request: DeleteRequest) -> DeleteReply: ...


def target_of(change: FolderChangeRow, path: str) -> str:
    """Return the path that a move gives the file `path` of its folder."""
    return change.to_path + path[len(change.path) :]


def touched(change: FolderChangeRow, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the buckets and paths that the change of these files changes."""
    sources = [(change.bucket, path) for path in paths]
    if change.kind == "delete":
        return sources
    return sources + [(change.to_bucket, target_of(change, path)) for path in paths]


def do_file(tx: Tx, changes: FileChanges, person: Person, change: FolderChangeRow, path: str, number: int) -> None:
    """Move or delete one file. `number` is different for each file of the change, and each attempt."""
    write_id = f"{change.id}/{number}"
    # A folder that is merged into another keeps the other's own object.
    if change.kind == "delete" or (path == change.path and _exists(tx, change.to_bucket, change.to_path)):
        changes.delete_in(tx, person, DeleteRequest(_NOBODY, write_id, change.bucket, path))
        return
    target = check_key(target_of(change, path))
    try:
        changes.copy_in(
            tx,
            person,
            CopyRequest(
                _NOBODY,
                write_id,
                change.bucket,
                path,
                None,
                change.to_bucket,
                target,
                move=True,
                preconditions=_ONLY_IF_ABSENT,
            ),
        )
    except PreconditionFailed:
        raise AlreadyExists(
            f"{change.to_bucket}/{target} exists already: rename or delete one of the two files",
            bucket=change.to_bucket,
            path=target,
        ) from None


def do_all(tx: Tx, changes: FileChanges, person: Person, change: FolderChangeRow, paths: Sequence[str]) -> None:
    """Move or delete all files, or raise the first refusal with the file's name."""
    for number, path in enumerate(paths):
        try:
            do_file(tx, changes, person, change, path, number)
        except LockstepError as error:
            verb = "moved" if change.kind == "move" else "deleted"
            facts = {"file": path, **error.facts}
            raise type(error)(f"nothing was {verb}, because of {path!r}: {error}", **facts) from error


def do_some(
    tx: Tx, changes: FileChanges, person: Person, change: FolderChangeRow, paths: Sequence[str]
) -> FolderChangeRow:
    """Move or delete what can be, note a problem for each other file, and return how far the change is now."""
    done, failed, handled = change.done, change.failed, change.handled
    for path in paths:
        outcome = attempt(_alone, tx, changes, person, change, path, handled)
        if outcome is None:
            done += 1
        else:
            failed += 1
            folders.insert_problem(tx, change.id, path, to_problem(outcome))
        handled += 1
    position = paths[-1] if paths else change.position
    return change._replace(done=done, failed=failed, handled=handled, position=position, cursor=files.read_cursor(tx))


def _alone(tx: Tx, changes: FileChanges, person: Person, change: FolderChangeRow, path: str, number: int) -> None:
    with tx.savepoint():
        do_file(tx, changes, person, change, path, number)


def _exists(reader: Reader, bucket: str, path: str) -> bool:
    return reader.one(files.CURRENT, bucket=bucket, path=path) is not None


def ended(change: FolderChangeRow, state: FolderChangeState, reason: str, clock: FolderClock) -> FolderChangeRow:
    """Return the change, ended now."""
    return change._replace(state=state, reason=reason, ended_at=clock.wall(), ended_time=clock.now())
