"""The namespace: the changes that move no bytes (delete, copy, move, restore).

Each call is one transaction. `lookups` reads; writes that bring bytes are in `writes` and `commits`; `versions` makes
and removes the version rows.
"""

from __future__ import annotations

from typing import Protocol

from directory_server.access.decisions import Standing, standing
from directory_server.access.version_settings import may_bypass_governance
from directory_server.files import past_writes
from directory_server.files.announcements import Announced, unannounced
from directory_server.files.hooks import Hooks
from directory_server.files.lookups import version_row
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.new_version import NewVersion, copied_metadata
from directory_server.files.object_changes import cause_of
from directory_server.files.preconditions import check_preconditions
from directory_server.files.versions import Versions
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import People, Person
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import BadRequest, NotFound, PreconditionFailed, TooFewHolders
from lockstep_store.wire.messages.files import (
    CommittedReply,
    CopyRequest,
    DeleteReply,
    DeleteRequest,
)
from lockstep_store.wire.messages.journal import ChangeKind
from lockstep_store.wire.messages.s3 import TAGS
from lockstep_store.wire.names import check_key


class Locks(Protocol):
    """The locks that a change needs, inside its own transaction."""

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """Return the number of the lock that covers the write, or 0. Raises Locked or LockStale."""
        ...

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None: ...


class Namespace:
    """Deletes, copies, moves and restores files. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        people: People,
        locks: Locks,
        copies: int,
        hooks: Hooks,
        announced: Announced = unannounced,
    ) -> None:
        self._store = store
        self.announced = announced
        self._clock = clock
        self._people = people
        self._locks = locks
        self._copies = copies
        self._hooks = hooks
        self._versions = Versions(hooks)

    def delete(self, request: DeleteRequest) -> DeleteReply:
        """Delete a path, or one version of it for good. Durable on return, safe to repeat with the same write id."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        with self.announced([(request.bucket, request.path)]):
            reply = self._store.write(lambda tx: self.delete_in(tx, person, request))
        crash_point("directory.delete.done")
        return reply

    def delete_in(self, tx: Tx, person: Person, request: DeleteRequest) -> DeleteReply:
        """Delete in a transaction that the caller commits."""
        place = standing(tx, request.bucket, person, self._clock.wall())
        action = "s3:DeleteObject" if request.version is None else "s3:DeleteObjectVersion"
        bucket = place.demand(action, request.path, version=request.version)
        before = past_writes.deleted_before(tx, request.write_id, request.bucket, request.path)
        if before is not None:
            return before
        self._locks.check_write(tx, request.bucket, request.path, person.account, request.lock_number)
        check_preconditions(place, request.path, request.preconditions)
        bypass = request.bypass_governance and may_bypass_governance(place, request.path, request.version)
        reply = self._delete_version(tx, bucket, person, request, bypass=bypass)
        crash_point("directory.delete.inside")
        self._release(tx, person, request.release_lock, request.lock_number)
        return reply

    def _delete_version(
        self, tx: Tx, bucket: Bucket, person: Person, request: DeleteRequest, *, bypass: bool
    ) -> DeleteReply:
        moment = self._moment()
        path, write_id = request.path, request.write_id
        if request.version is None:
            return self._versions.delete(
                tx,
                bucket,
                path,
                person.account,
                write_id,
                moment,
                mark_missing=request.mark_missing,
                cause=cause_of(person),
            )
        row = files.find_version(tx, bucket.name, path, request.version)
        if row is None:
            reply = DeleteReply(files.read_cursor(tx), False)
        else:
            cursor = self._versions.remove(tx, bucket, row, moment, bypass_governance=bypass, cause=cause_of(person))
            reply = DeleteReply(cursor, True, row[2], delete_marker=bool(row[12]), null_version=bool(row[10]))
        past_writes.remember_deletion(tx, write_id, bucket.name, path, reply, moment)
        return reply

    def copy(self, request: CopyRequest) -> CommittedReply:
        """Copy, move or restore in one transaction. Durable on return, safe to repeat with the same write id."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        if request.move and request.source_version is not None:
            raise BadRequest("a move takes the current version; to bring an old one back, copy it")
        if request.move and (request.source_bucket, request.source_path) == (request.bucket, request.path):
            raise BadRequest("a file cannot be moved onto itself")
        changed = [(request.bucket, request.path)]
        if request.move:
            changed.append((request.source_bucket, request.source_path))
        with self.announced(changed):
            reply = self._store.write(lambda tx: self.copy_in(tx, person, request))
        crash_point("directory.copy.done")
        return reply

    def copy_in(self, tx: Tx, person: Person, request: CopyRequest) -> CommittedReply:
        """Copy or move in a transaction that the caller commits."""
        account = person.account
        at = self._clock.wall()
        place = standing(tx, request.bucket, person, at)
        target = place.demand("s3:PutObject", request.path)
        from_place = standing(tx, request.source_bucket, person, at, source_path=request.source_path)
        source_bucket = self._demand_source(from_place, request)
        before = past_writes.written_before(tx, request.write_id, request.bucket, request.path)
        if before is not None:
            before.bucket_versioning = target.versioning
            self._hooks.on_lookup(tx, target, before)
            return CommittedReply(before.cursor, before, past_writes.count_copies(tx, before, self._copies))
        source = self._source(tx, from_place, request)
        number = self._locks.check_write(tx, request.bucket, request.path, account, request.lock_number)
        if request.move:
            self._locks.check_write(tx, source[0], source[1], account, request.source_lock_number)
        check_preconditions(place, request.path, request.preconditions)
        copies = len(tx.all(files.HOLDERS, digest=source[3]))
        if copies < self._copies:
            raise TooFewHolders(
                f"{request.source_path!r} has {copies} of {self._copies} promised copies now: copy it when repair has "
                "made the others",
                up=copies,
                needed=self._copies,
            )
        moment = self._moment()
        self._hooks.before_begin(place, request.path, request.settings, moment.at)
        settings = place.settled(request.settings, account) | s3_settings.parts_of_version(tx, source[2])
        settings = _facts_to_take(tx, from_place, request, source) | settings
        new = NewVersion(
            path=request.path,
            digest=source[3],
            size=source[4],
            author=account,
            write_id=request.write_id,
            content_type=source[5] if request.content_type is None else request.content_type,
            metadata=source[6] if request.metadata is None else copied_metadata(source[6], request.metadata),
            lock_number=number,
            settings=settings,
            keeps_tags=not person.asks_s3,
        )
        made = self._versions.put(tx, target, new, _kind(request), moment, cause_of(person))
        crash_point("directory.copy.inside")
        if request.move:
            write_id = f"{request.write_id}/source"
            self._versions.delete(tx, source_bucket, source[1], account, write_id, moment, cause=cause_of(person))
            self._release(tx, person, request.release_lock, request.source_lock_number)
        self._release(tx, person, request.release_lock, request.lock_number)
        return CommittedReply(made.cursor, made, copies)

    def _demand_source(self, place: Standing, request: CopyRequest) -> Bucket:
        path, version = request.source_path, request.source_version
        access = place.person.access
        # A proxy copies the very version that it looked up, but rights depend on what the person asked for.
        action = access.source_action if access is not None else ""
        action = action or ("s3:GetObject" if version is None else "s3:GetObjectVersion")
        if request.move:
            place.demand("s3:DeleteObject", path)
        if not place.may(action, path, version=version) and place.holds(path, version):
            place.demand(action, path, version=version)
        return place.bucket  # `_source` reports, or hides, a source that does not exist

    def _source(self, tx: Tx, place: Standing, request: CopyRequest) -> Row:
        path = request.source_path
        row = version_row(place, path, request.source_version)
        if request.source_if_version is not None and row[2] != request.source_if_version:
            raise PreconditionFailed(
                f"precondition failed: another version of {path!r} is current", version=row[2], source=True
            )
        if row[12]:
            raise NotFound(f"version {row[2]} of {path!r} is a delete marker and has no content", version=row[2])
        return row

    def _release(self, tx: Tx, person: Person, wanted: bool, lock_number: int | None) -> None:
        if wanted and lock_number is not None:
            self._locks.release_in(tx, person.account, lock_number)

    def _moment(self) -> Moment:
        return Moment.of(self._clock)


def _facts_to_take(tx: Tx, place: Standing, request: CopyRequest, source: Row) -> dict[str, str]:
    """Return what goes along with a file: all of it to a new name; in a copy, only what the copier may read.

    Bringing back an old version changes nothing of it, and in S3 the request says what a copy takes along.
    """
    if _kind(request) == "restore":
        return {}
    facts = s3_settings.facts_of_version(tx, source[2])
    if not facts or request.move:
        return facts
    if place.person.asks_s3 or place.denied("s3:GetObjectTagging", source[1]):
        facts.pop(TAGS, None)
    return facts


def _kind(request: CopyRequest) -> ChangeKind:
    """Return the journal's word: an old version copied onto its own path is that version restored."""
    if request.move:
        return "move"
    same = (request.source_bucket, request.source_path) == (request.bucket, request.path)
    return "restore" if same and request.source_version is not None else "copy"
