"""Moves and deletes folders: in one transaction where they are small, else by a job (`job.py`).

A small folder's change is one moment for readers, and happens as a whole or not at all. A job's change happens file by
file. It continues after a restart, and names each file that it could not do.
"""

from __future__ import annotations

from collections.abc import Callable

from directory_server.access.decisions import access_of, standing
from directory_server.features.folders.job import FolderJob
from directory_server.features.folders.steps import FileChanges, FolderClock, do_all, ended, target_of, touched
from directory_server.files.announcements import Announced, unannounced
from directory_server.metadata.statements import files, folders
from directory_server.metadata.statements.folders import FolderChangeRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import People, Person
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Conflict, Forbidden, NotFound, Overloaded
from lockstep_store.wire.messages.folders import (
    DeleteFolderRequest,
    FolderChange,
    FolderChangeKind,
    FolderChangeRequest,
    FolderChangesReply,
    FolderChangesRequest,
    MoveFolderRequest,
    SteerFolderChangeRequest,
)
from lockstep_store.wire.names import check_key

AT_ONCE = 500
"""Files of a folder that is changed in one transaction. Other writers wait for it."""
MAX_RUNNING = 20
"""Changes of one account that run at a time."""
KEPT_SECONDS = 7 * 24 * 3600.0
"""How long a change that ended can be looked at."""


class Folders:
    """Serves the calls about folders. Thread-safe. `wake` is called when a change begins that the job continues."""

    def __init__(
        self,
        store: MetadataStore,
        clock: FolderClock,
        people: People,
        changes: FileChanges,
        announced: Announced = unannounced,
        at_once: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._changes = changes
        self._announced = announced
        self._at_once = at_once
        self.wake: Callable[[], None] = lambda: None
        self.job = FolderJob(store, clock, changes, announced)

    # ------------------------------------------------------------ beginning

    def move(self, request: MoveFolderRequest) -> FolderChange:
        """Move a folder. Durable on return, safe to repeat with the same write id.

        Raises AlreadyExists, naming the path, when the target is taken; and, of a small folder, whatever refuses one of
        its files.
        """
        path, to_path = _folder(request.path), _folder(request.to_path)
        if request.to_bucket == request.bucket and to_path.startswith(path):
            raise BadRequest(
                f"{path!r} cannot be moved to {to_path!r}, which is "
                + ("the same folder" if to_path == path else "inside it")
            )
        return self._begin("move", request, request.to_bucket, to_path, merge=request.merge)

    def delete(self, request: DeleteFolderRequest) -> FolderChange:
        """Delete a folder. Durable on return, safe to repeat with the same write id."""
        return self._begin("delete", request)

    def _begin(
        self,
        kind: FolderChangeKind,
        request: MoveFolderRequest | DeleteFolderRequest,
        to_bucket: str = "",
        to_path: str = "",
        *,
        merge: bool = False,
    ) -> FolderChange:
        person = self._people.identify(request.credential)
        wanted = FolderChangeRow(
            id=request.write_id,
            kind=kind,
            bucket=request.bucket,
            path=_folder(request.path),
            to_bucket=to_bucket,
            to_path=to_path,
            account=person.account,
            access=access_of(person),
            limited_by=person.limits.key if person.limits is not None else "",
            state="running",
            total=0,
            done=0,
            failed=0,
            handled=0,
            position="",
            cursor=0,
            reason="",
            began_at=self._clock.wall(),
            ended_at=None,
            ended_time=None,
        )
        with self._store.read() as reader:
            paths = folders.paths_below(reader, wanted.bucket, wanted.path, self._at_once + 1)
        small = len(paths) <= self._at_once
        with self._announced(touched(wanted, paths) if small else ()):
            change = self._store.write(lambda tx: self._begin_in(tx, person, wanted, merge=merge))
        return change.info()

    def _begin_in(self, tx: Tx, person: Person, wanted: FolderChangeRow, *, merge: bool) -> FolderChangeRow:
        before = folders.find_change(tx, wanted.id)
        if before is not None:
            return _same(before, wanted)
        place = standing(tx, wanted.bucket, person, self._clock.wall())
        place.demand("s3:ListBucket", keys={"s3:prefix": [wanted.path]})
        paths = folders.paths_below(tx, wanted.bucket, wanted.path, self._at_once + 1)
        if not paths:
            raise NotFound(f"there is no folder {wanted.path!r} in bucket {wanted.bucket!r}", path=wanted.path)
        is_job = len(paths) > self._at_once
        if is_job or wanted.kind == "move":  # before the target is judged: who is told that it is taken may clear it
            place.demand("s3:DeleteObject", paths[0])
        if wanted.kind == "move":
            target = standing(tx, wanted.to_bucket, person, self._clock.wall())
            target.demand("s3:PutObject", target_of(wanted, paths[0]))
            _check_target(tx, wanted, merge=merge)
        if is_job:
            return self._begin_job(tx, wanted)
        do_all(tx, self._changes, person, wanted, paths)
        count = len(paths)
        done = wanted._replace(
            state="done",
            total=count,
            done=count,
            handled=count,
            cursor=files.read_cursor(tx),
            ended_at=self._clock.wall(),
            ended_time=self._clock.now(),
        )
        folders.insert_change(tx, done)
        return done

    def _begin_job(self, tx: Tx, wanted: FolderChangeRow) -> FolderChangeRow:
        self._check_running(tx, wanted.account)
        begun = wanted._replace(total=folders.count_below(tx, wanted.bucket, wanted.path), cursor=files.read_cursor(tx))
        folders.insert_change(tx, begun)
        tx.after_commit(lambda: self.wake())
        return begun

    def _check_running(self, tx: Tx, account: str) -> None:
        if not account:
            raise Forbidden("a folder of this size needs a log-in: the job that changes it acts in somebody's name")
        if folders.count_running(tx, account) >= MAX_RUNNING:
            raise Overloaded(f"{MAX_RUNNING} changes of folders are running for {account}: wait until one has ended")

    # ------------------------------------------------------------ looking, and steering

    def all(self, request: FolderChangesRequest) -> FolderChangesReply:
        """Return the person's newest changes."""
        person = self._people.authenticate(request.credential)
        with self._store.read() as reader:
            found = folders.changes_of(reader, person.account, request.limit)
        return FolderChangesReply([change.info() for change in found])

    def get(self, request: FolderChangeRequest) -> FolderChange:
        """Return one change of the person's, or anybody's for administrators, with a page of its problems."""
        person = self._people.authenticate(request.credential)
        with self._store.read() as reader:
            info = _own(reader, person, request.id).info()
            info.problems = folders.problems_of(reader, info.id, request.after, request.limit + 1)
        if len(info.problems) > request.limit:
            info.problems.pop()
            info.next_after = info.problems[-1].path
        return info

    def steer(self, request: SteerFolderChangeRequest) -> FolderChange:
        """Retry what a change could not do, or stop it. Durable on return, safe to repeat."""
        person = self._people.authenticate(request.credential)

        def work(tx: Tx) -> FolderChangeRow:
            change = _own(tx, person, request.id)
            steered = self._stop(change, person) if request.action == "stop" else self._retry(tx, change)
            folders.update_change(tx, steered)
            return steered

        return self._store.write(work).info()

    def _stop(self, change: FolderChangeRow, person: Person) -> FolderChangeRow:
        if change.state != "running":
            return change
        return ended(change, "stopped", f"{person.account} stopped it", self._clock)

    def _retry(self, tx: Tx, change: FolderChangeRow) -> FolderChangeRow:
        if change.state == "done":
            raise Conflict("everything is done already: there is nothing to retry")
        if change.state == "running":
            return change
        self._check_running(tx, change.account)
        folders.delete_problems(tx, change.id)
        tx.after_commit(lambda: self.wake())
        return change._replace(state="running", failed=0, position="", reason="", ended_at=None, ended_time=None)

    def remove_ended(self, tx: Tx) -> None:
        """Forget changes that ended long ago, for housekeeping."""
        folders.forget_ended(tx, self._clock.now() - KEPT_SECONDS)


def _folder(path: str) -> str:
    """Return the folder's path, checked, with the slash at its end."""
    return check_key(path if path.endswith("/") else f"{path}/")


def _same(before: FolderChangeRow, wanted: FolderChangeRow) -> FolderChangeRow:
    what = (before.account, before.kind, before.bucket, before.path, before.to_bucket, before.to_path)
    if what != (wanted.account, wanted.kind, wanted.bucket, wanted.path, wanted.to_bucket, wanted.to_path):
        raise BadRequest("this write id was used for another change: use a new id for each request")
    return before


def _check_target(reader: Reader, wanted: FolderChangeRow, *, merge: bool) -> None:
    name = f"{wanted.to_bucket}/{wanted.to_path}"
    if reader.one(files.CURRENT, bucket=wanted.to_bucket, path=wanted.to_path[:-1]) is not None:
        raise AlreadyExists(
            f"there is a file {name[:-1]}: choose another name for the folder", path=wanted.to_path[:-1]
        )
    if not merge and folders.paths_below(reader, wanted.to_bucket, wanted.to_path, 1):
        raise AlreadyExists(
            f"there is a folder {name} already: choose another name, or ask to merge the two", path=wanted.to_path
        )


def _own(reader: Reader, person: Person, id: str) -> FolderChangeRow:
    found = folders.find_change(reader, id)
    if found is None or (found.account != person.account and not person.administers(found.account)):
        raise NotFound(f"you have no change of a folder with the id {id!r}; those that ended are kept for a week")
    return found
