"""The namespace: lookups and listings, and the changes that move no bytes (delete, copy, move, restore).

Each call is one snapshot or one transaction. Writes that bring bytes are in `writes` and `commits`; `versions` makes
and removes the version rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from prometheus_client import Counter, Histogram

from directory_server.access.decisions import Ground, Standing, standing
from directory_server.access.known_content import hide_unreadable
from directory_server.access.version_settings import may_bypass_governance, shown
from directory_server.files import listing, past_writes
from directory_server.files.batch import attempt, outcome
from directory_server.files.hooks import Hooks
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.new_version import NewVersion, copied_metadata
from directory_server.files.object_changes import cause_of
from directory_server.files.preconditions import check_preconditions
from directory_server.files.versions import Versions
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import Person
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import BadRequest, NotFound, PreconditionFailed, TooFewHolders
from lockstep_store.wire.messages.files import (
    CommittedReply,
    CopyRequest,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    Holder,
    ListReply,
    ListRequest,
    LookupItem,
    LookupReply,
    PathLock,
    VersionsReply,
    VersionsRequest,
)
from lockstep_store.wire.messages.journal import ChangeKind
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.s3 import TAGS
from lockstep_store.wire.names import check_key

LOOKUPS = Counter("lockstep_directory_lookups", "Paths looked up")
LOOKUP_BATCH = Histogram(
    "lockstep_directory_lookup_batch_items", "Lookups that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


class People(Protocol):
    """Who stands behind a credential."""

    def authenticate(self, credential: str) -> Person:
        """NotLoggedIn when nobody does, or nobody any more."""
        ...

    def identify(self, credential: str) -> Person:
        """The same, but an anonymous S3 request is a person without a name."""
        ...


class Locks(Protocol):
    """The locks as a change needs them, inside its own transaction."""

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers the write, or 0; Locked or LockStale."""
        ...

    def lock_on(self, tx: Reader, bucket: str, path: str) -> PathLock | None:
        """The lock on the path, whoever holds it."""
        ...

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None: ...


class ReadingOrder(Protocol):
    """Where the holders of a blob are."""

    def holders_in_reading_order(self, ids: Sequence[str]) -> list[Holder]:
        """`ids`, given in rank order, in the order to read from."""
        ...


class Namespace:
    """Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        people: People,
        locks: Locks,
        servers: ReadingOrder,
        copies: int,
        hooks: Hooks,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._locks = locks
        self._servers = servers
        self._copies = copies
        self._hooks = hooks
        self._versions = Versions(hooks)

    # ------------------------------------------------------------ reading

    def lookup(self, items: Sequence[LookupItem]) -> LookupReply:
        """Return each item's current version (or the version asked for) with its holders, from one snapshot."""
        LOOKUPS.inc(len(items))
        LOOKUP_BATCH.observe(len(items))
        grounds: dict[str, Ground] = {}
        orders: dict[str, tuple[list[Holder], bool]] = {}
        with self._store.read() as reader:
            found = [attempt(self._look_up, reader, item, grounds, orders) for item in items]
            cursor = files.read_cursor(reader)
        return LookupReply(cursor, [outcome(result) for result in found])

    def _look_up(
        self,
        reader: Reader,
        item: LookupItem,
        grounds: dict[str, Ground],
        orders: dict[str, tuple[list[Holder], bool]],
    ) -> FileVersion:
        person = self._people.identify(item.credential)
        access = person.access
        is_source = access is not None and access.reads(item.bucket, item.path)
        place = standing(reader, item.bucket, person, self._clock.wall(), is_source=is_source, known=grounds)
        if item.version is None:
            row = reader.one(files.CURRENT_HELD, bucket=item.bucket, path=item.path)
        else:
            row = _held(reader, item)
        if row is None:
            raise place.hide(not_found(reader, item.bucket, item.path, item.version))
        bucket = place.demand(place.asked_to_read(item.path, item.version), item.path, version=item.version)
        if item.reads_content:
            action = "s3:GetObject" if item.version is None else "s3:GetObjectVersion"
            place.demand(action, item.path, version=item.version)
        if item.version is None:
            found = files.as_version(row)
        else:
            current = reader.one(files.CURRENT, bucket=item.bucket, path=item.path)
            found = files.as_version(row, is_current=current is not None and current[2] == row[2])
        named = row[13] or ""
        order = orders.get(named)
        if order is None:
            order = orders[named] = self._reading_order(named)
        found.holders, found.damaged = order
        if found.damaged:
            found.last_good_version = self._last_good_version(reader, item)
        found.bucket_versioning = bucket.versioning
        if KMS_ENTRY in found.metadata:
            found.data_key = self._hooks.data_key(found.metadata)
        if item.with_settings:
            said = s3_settings.short_version_values(reader, row[2])
            tagging = "s3:GetObjectTagging" if item.version is None else "s3:GetObjectVersionTagging"
            # A copy takes the tags along to where its maker may read them.
            if TAGS in said and access and access.source_action and place.denied(tagging, item.path):
                place.demand(tagging, item.path, version=item.version)
            found.settings = shown(place, item.path, item.version, said)
            self._hooks.on_lookup(reader, bucket, found)
        if item.with_lock:
            found.lock = self._locks.lock_on(reader, item.bucket, item.path)
        return found

    def _reading_order(self, named: str) -> tuple[list[Holder], bool]:
        """Return where to read a blob, and whether all of these copies are damaged."""
        sound, damaged = files.split_holders(named)
        order = self._servers.holders_in_reading_order(sound)
        if not damaged:
            return order, False
        # Last, but not left out: the report of the damage may be wrong.
        return order + self._servers.holders_in_reading_order(damaged), not sound

    def _last_good_version(self, reader: Reader, item: LookupItem) -> str:
        """Return the newest version of the path that a running server holds undamaged; empty when there is none."""
        for row in files.newest_held(reader, item.bucket, item.path):
            sound, _ = files.split_holders(row[13])
            if any(holder.up for holder in self._servers.holders_in_reading_order(sound)):
                return str(row[2])
        return ""

    def list(self, request: ListRequest) -> ListReply:
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucket", keys=_listing_keys(request))
            reply = listing.list_files(reader, request)
            place.say_owners(reply.files)
            hide_unreadable(place, reply.files)
            reply.cursor = files.read_cursor(reader)
        return reply

    def versions(self, request: VersionsRequest) -> VersionsReply:
        """Return a page of versions, which may be empty. NotFound for a path that never existed."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucketVersions", keys=_listing_keys(request))
            reply = listing.list_versions(reader, request)
            place.say_owners(reply.versions)
            hide_unreadable(place, reply.versions)
            if request.path is not None and not reply.versions and request.after is None:
                raise not_found(reader, request.bucket, request.path)
            reply.cursor = files.read_cursor(reader)
        return reply

    # ------------------------------------------------------------ changes without bytes

    def delete(self, request: DeleteRequest) -> DeleteReply:
        """Delete a path, or one version of it for good. Durable on return, safe to repeat with the same write id."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        reply = self._store.write(lambda tx: self._delete(tx, person, request))
        crash_point("directory.delete.done")
        return reply

    def _delete(self, tx: Tx, person: Person, request: DeleteRequest) -> DeleteReply:
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
        reply = self._store.write(lambda tx: self._copy(tx, person, request))
        crash_point("directory.copy.done")
        return reply

    def _copy(self, tx: Tx, person: Person, request: CopyRequest) -> CommittedReply:
        account = person.account
        at = self._clock.wall()
        place = standing(tx, request.bucket, person, at)
        target = place.demand("s3:PutObject", request.path)
        from_place = standing(tx, request.source_bucket, person, at, is_source=True)
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
        new = NewVersion(
            path=request.path,
            digest=source[3],
            size=source[4],
            author=account,
            write_id=request.write_id,
            content_type=source[5] if request.content_type is None else request.content_type,
            metadata=source[6] if request.metadata is None else copied_metadata(source[6], request.metadata),
            lock_number=number,
            settings=place.settled(request.settings, account) | s3_settings.parts_of_version(tx, source[2]),
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
        bucket, path, version = request.source_bucket, request.source_path, request.source_version
        if version is None:
            row = tx.one(files.CURRENT, bucket=bucket, path=path)
        else:
            row = files.find_version(tx, bucket, path, version)
        if row is None:
            raise place.hide(not_found(tx, bucket, path, version))
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


def _kind(request: CopyRequest) -> ChangeKind:
    """Return the journal's word: an old version copied onto its own path is that version restored."""
    if request.move:
        return "move"
    same = (request.source_bucket, request.source_path) == (request.bucket, request.path)
    return "restore" if same and request.source_version is not None else "copy"


def not_found(reader: Reader, bucket: str, path: str, version: str | None = None) -> NotFound:
    """Return the error for a path without a current version (or without that version), with who deleted it."""
    if version is not None:
        return NotFound(f"{path!r} has no version {version!r} in bucket {bucket!r}", bucket=bucket, path=path)
    newest = reader.one(files.NEWEST, bucket=bucket, path=path)
    if newest is None:
        return NotFound(f"there is no file {path!r} in bucket {bucket!r}", bucket=bucket, path=path)
    return NotFound(
        f"{path!r} in bucket {bucket!r} was deleted by {newest[7]}; its earlier versions can be restored",
        bucket=bucket,
        path=path,
        version=newest[2],
        null_version=bool(newest[10]),
        delete_marker=True,
    )


def _held(reader: Reader, item: LookupItem) -> Row | None:
    if item.version == files.NULL_ID:
        return reader.one(files.NULL_VERSION_HELD, bucket=item.bucket, path=item.path)
    return reader.one(files.VERSION_HELD, bucket=item.bucket, path=item.path, version=item.version)


def _listing_keys(request: ListRequest | VersionsRequest) -> dict[str, list[str]]:
    """Condition keys of a listing."""
    keys = {"s3:prefix": [request.prefix], "s3:max-keys": [str(request.limit)]}
    if request.delimiter:
        keys["s3:delimiter"] = [request.delimiter]
    return keys
