"""The trash: deleted files of a bucket that keeps versions, restored or removed for good.

It stores nothing of its own. A delete marker and the versions behind it are an entry, whichever door deleted the file,
and only a bucket's number of days is a setting. Removing an entry removes its versions by the rules of any removal:
rights, object lock, notifications and quotas.
"""

from __future__ import annotations

import msgspec

from directory_server.access.decisions import Standing, standing
from directory_server.access.known_content import hide_unreadable
from directory_server.files.batch import attempt
from directory_server.files.hooks import Feature, Hooks
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.namespace import Locks, Namespace
from directory_server.files.object_changes import BY_LIFECYCLE, Cause, cause_of
from directory_server.files.preconditions import check_preconditions
from directory_server.files.versions import Versions
from directory_server.metadata.statements import buckets, files, locks, s3_settings, trash
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import People, Person
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    LockstepError,
    NotFound,
    PreconditionFailed,
    to_problem,
)
from lockstep_store.wire.messages.files import CopyRequest, FileVersion, Preconditions
from lockstep_store.wire.messages.locks import LockPath
from lockstep_store.wire.messages.trash import (
    TRASH_SETTING,
    EmptyTrashReply,
    EmptyTrashRequest,
    KeptTrash,
    RestoreTrashRequest,
    TrashDays,
    TrashEntry,
    TrashReply,
    TrashRequest,
    TrashTotals,
)
from lockstep_store.wire.names import check_key

DAY_SECONDS = 86_400.0
AT_ONCE = 20
"""Deleted files that are removed in one transaction."""
PAUSE_SECONDS = 0.2
MAX_ROUND_PAUSE_SECONDS = 3600.0
_ONLY_IF_ABSENT = Preconditions(if_none_match=["*"])


class TrashRule(msgspec.Struct, forbid_unknown_fields=True):
    """The bucket's setting."""

    days: TrashDays


_rules = decoder(TrashRule)


class Trash:
    """The calls about the trash, and the job that removes what has been there for long enough. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        people: People,
        locks: Locks,
        namespace: Namespace,
        hooks: Hooks,
        day: float = DAY_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._locks = locks
        self._namespace = namespace
        self._versions = Versions(hooks)
        self._day = day
        self._done = ""
        self._after = ""

    # ------------------------------------------------------------ looking

    def page(self, request: TrashRequest) -> TrashReply:
        """Return a page of deleted files, the last deleted first."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = self._listing(reader, person, request)
            days = days_of(reader, place.bucket)
            rows = trash.markers(reader, request.bucket, request.after, request.limit)
            found = [
                entry
                for row in rows
                if row[1].startswith(request.prefix) and (entry := self._entry(reader, place, row, days)) is not None
            ]
        return TrashReply(found, rows[-1][0] if len(rows) == request.limit else None, days)

    def totals(self, request: TrashRequest) -> TrashTotals:
        """Return how much is in the trash of the bucket."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            self._listing(reader, person, request)
            return TrashTotals(*trash.totals(reader, request.bucket))

    def _listing(self, reader: Reader, person: Person, request: TrashRequest) -> Standing:
        place = standing(reader, request.bucket, person, self._clock.wall())
        place.demand("s3:ListBucketVersions", keys={"s3:prefix": [request.prefix]})
        return place

    def _entry(self, reader: Reader, place: Standing, marker: Row, days: int | None) -> TrashEntry | None:
        id, path, deleted_at, deleted_by = marker
        row = trash.last_version(reader, place.bucket.name, path, id)
        if row is None:
            return None
        last = [files.as_version(row, is_current=False)]
        hide_unreadable(place, last)
        count, size = trash.behind(reader, place.bucket.name, path, id)
        return TrashEntry(
            path=path,
            marker=id,
            deleted_at=deleted_at,
            deleted_by=deleted_by,
            version=last[0].version,
            size=last[0].size,
            content_type=last[0].content_type,
            versions=count,
            bytes=size if last[0].readable else 0,
            ends_at=None if days is None else deleted_at + days * self._day,
        )

    # ------------------------------------------------------------ restoring

    def restore(self, request: RestoreTrashRequest) -> FileVersion:
        """Restore a deleted file. Durable on return.

        Under its own name the marker is removed, so the file is as it was: the same version, with its tags, retention,
        author and date. Raises AlreadyExists if there is a file of that name; NotFound when the entry is gone.
        """
        person = self._people.identify(request.credential)
        check_key(request.path)
        target = check_key(request.to_path or request.path)
        with self._namespace.announced([(request.bucket, request.path), (request.bucket, target)]):
            return self._store.write(lambda tx: self._restore_in(tx, person, request, target))

    def _restore_in(self, tx: Tx, person: Person, request: RestoreTrashRequest, target: str) -> FileVersion:
        place = standing(tx, request.bucket, person, self._clock.wall())
        place.demand("s3:PutObject", target)
        marker = _marker(tx, place, request.path, request.marker)
        last = trash.last_version(tx, request.bucket, request.path, marker[2])
        if last is None:
            raise NotFound(f"nothing is left of {request.path!r} that could be restored", path=request.path)
        newest = tx.one(files.NEWEST, bucket=request.bucket, path=request.path)
        is_newest = newest is not None and newest[2] == marker[2]
        if target != request.path:
            return self._restore_as(tx, person, request, target, last)
        if not is_newest:
            raise AlreadyExists(
                f"there is a file {request.path!r} again: restore the deleted one under another name", path=request.path
            )
        bucket = place.demand("s3:DeleteObjectVersion", request.path, version=marker[2])
        self._locks.check_write(tx, request.bucket, request.path, person.account, request.lock_number)
        check_preconditions(place, request.path, _ONLY_IF_ABSENT)
        self._versions.remove(tx, bucket, marker, Moment.of(self._clock), cause=cause_of(person))
        return files.as_version(last)

    def _restore_as(self, tx: Tx, person: Person, request: RestoreTrashRequest, target: str, last: Row) -> FileVersion:
        """Copy the last version to a new name; the entry stays in the trash."""
        copy = CopyRequest(
            "",
            request.write_id,
            request.bucket,
            request.path,
            last[2],
            request.bucket,
            target,
            lock_number=request.lock_number,
            preconditions=_ONLY_IF_ABSENT,
            settings=s3_settings.facts_of_version(tx, last[2]),
        )
        try:
            return self._namespace.copy_in(tx, person, copy).version
        except PreconditionFailed:
            raise AlreadyExists(f"there is a file {target!r}: choose another name", path=target) from None

    # ------------------------------------------------------------ removing for good

    def empty(self, request: EmptyTrashRequest) -> EmptyTrashReply:
        """Remove one deleted file for good, or a page of all of them. Durable on return, safe to repeat."""
        person = self._people.identify(request.credential)
        if bool(request.path) != bool(request.marker):
            raise BadRequest("to remove one deleted file, give its path and its marker")
        if request.path:
            with self._namespace.announced([(request.bucket, request.path)]):
                count, size = self._store.write(lambda tx: self._remove_one(tx, person, request))
            return EmptyTrashReply(count, size)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucketVersions", keys={"s3:prefix": [request.prefix]})
            rows = trash.markers(reader, request.bucket, request.after, AT_ONCE)
        chosen = [row for row in rows if row[1].startswith(request.prefix)]
        reply = EmptyTrashReply(0, 0, next_after=rows[-1][0] if len(rows) == AT_ONCE else None)
        if not chosen:
            return reply
        with self._namespace.announced((request.bucket, row[1]) for row in chosen):
            outcomes = self._store.write(lambda tx: self._remove_some(tx, person, request.bucket, chosen))
        for row, outcome in zip(chosen, outcomes, strict=True):
            if isinstance(outcome, LockstepError):
                reply.kept.append(KeptTrash(row[1], to_problem(outcome)))
            else:
                reply.removed += outcome[0]
                reply.bytes += outcome[1]
        return reply

    def _remove_one(self, tx: Tx, person: Person, request: EmptyTrashRequest) -> tuple[int, int]:
        place = standing(tx, request.bucket, person, self._clock.wall())
        place.demand("s3:DeleteObjectVersion", request.path, version=request.marker)
        marker = _marker(tx, place, request.path, request.marker)
        return self._remove(tx, place.bucket, marker, place, cause_of(person))

    def _remove_some(
        self, tx: Tx, person: Person, bucket: str, chosen: list[Row]
    ) -> list[tuple[int, int] | LockstepError]:
        place = standing(tx, bucket, person, self._clock.wall())
        cause = cause_of(person)
        return [attempt(self._remove_alone, tx, place.bucket, row, place, cause) for row in chosen]

    def _remove_alone(self, tx: Tx, bucket: Bucket, row: Row, place: Standing | None, cause: Cause) -> tuple[int, int]:
        with tx.savepoint():
            marker = files.find_version(tx, bucket.name, row[1], row[0])
            return (0, 0) if marker is None else self._remove(tx, bucket, marker, place, cause)

    def _remove(self, tx: Tx, bucket: Bucket, marker: Row, place: Standing | None, cause: Cause) -> tuple[int, int]:
        """Remove what a marker deleted, then the marker; return (1, bytes) once all of it is gone.

        `place` is that of the person who asks; None for the job. Of more versions than a transaction should remove, the
        oldest go first, and the rest when it is called again.
        """
        path, moment, freed = marker[1], Moment.of(self._clock), 0
        self._locks.check_write(tx, bucket.name, path, cause.account, None)
        ids = trash.ids_behind(tx, bucket.name, path, marker[2], trash.MAX_VERSIONS)
        for id in ids:
            if place is not None:
                place.demand("s3:DeleteObjectVersion", path, version=id)
            row = files.find_version(tx, bucket.name, path, id)
            if row is not None:
                self._versions.remove(tx, bucket, row, moment, cause=cause)
                freed += int(row[4])
        if len(ids) == trash.MAX_VERSIONS:
            return 0, freed
        if place is not None:
            place.demand("s3:DeleteObjectVersion", path, version=marker[2])
        self._versions.remove(tx, bucket, marker, moment, cause=cause)
        return (1 if ids else 0), freed

    # ------------------------------------------------------------ the job

    def step(self) -> float:
        """Remove a few files that have been in a bucket's trash for long enough; return the seconds until the next."""
        with self._store.read() as reader:
            bucket = next(
                (name for name in s3_settings.buckets_with(reader, TRASH_SETTING) if name >= self._done), None
            )
            found = None if bucket is None else buckets.find(reader, bucket)
            days = None if found is None else days_of(reader, found)
            until_at = 0.0 if days is None else self._clock.calendar() - days * self._day
            rows = [] if bucket is None else trash.old_markers(reader, bucket, until_at, self._after, AT_ONCE)
        if bucket is None:
            self._done = self._after = ""
            return min(MAX_ROUND_PAUSE_SECONDS, self._day / 24)
        if rows:
            with self._namespace.announced((bucket, row[1]) for row in rows):
                self._store.write(lambda tx: self._remove_due(tx, bucket, rows))
        # An entry that something holds is looked at again in the next round.
        if len(rows) < AT_ONCE:
            self._done, self._after = f"{bucket}\0", ""
        else:
            self._done, self._after = bucket, rows[-1][0]
        return PAUSE_SECONDS

    def _remove_due(self, tx: Tx, name: str, rows: list[Row]) -> None:
        bucket = buckets.find(tx, name)
        days = None if bucket is None else days_of(tx, bucket)
        if bucket is None or days is None:
            return
        until_at = self._clock.calendar() - days * self._day
        for row in rows:
            if row[2] <= until_at and locks.lock_on(tx, LockPath(name, row[1])) is None:
                attempt(self._remove_alone, tx, bucket, row, None, BY_LIFECYCLE)


def days_of(reader: Reader, bucket: Bucket) -> int | None:
    """Return how many days the bucket's trash keeps files; None: until they are removed by hand."""
    if TRASH_SETTING not in bucket.settings:
        return None
    value = s3_settings.bucket_value(reader, bucket.name, TRASH_SETTING)
    return None if value is None else _rule(value).days


def _rule(value: str) -> TrashRule:
    try:
        return _rules.decode(value)
    except (msgspec.DecodeError, LockstepError) as error:
        raise BadRequest(f"the trash keeps files for 1 to 36500 days: {error}") from error


def _marker(tx: Tx, place: Standing, path: str, id: str) -> Row:
    row = files.find_version(tx, place.bucket.name, path, id)
    if row is None or not row[12]:
        missing = NotFound(f"{path!r} is not in the trash of bucket {place.bucket.name!r} (any more)", path=path)
        raise place.hide(missing)
    return row


def _check_setting(reader: Reader, bucket: Bucket, person: Person, value: str | None, at: float) -> None:
    if value is None:
        return
    _rule(value)
    if bucket.versioning != "enabled":
        raise Conflict(
            f"bucket {bucket.name!r} keeps no versions, so deleted files are gone at once: turn versioning on first"
        )


def _check_versioning(reader: Reader, bucket: Bucket, wanted: str) -> None:
    if wanted != "enabled":
        raise Conflict(
            f"bucket {bucket.name!r} has a trash, which needs versions: turn the trash off first", state="trash"
        )


FEATURE = Feature(TRASH_SETTING, check_bucket_setting=_check_setting, check_versioning=_check_versioning)
