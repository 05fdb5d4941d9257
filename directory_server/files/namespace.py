"""The namespace: what every path is now, and the changes that move no bytes (delete, copy, move, restore).

Each call is one snapshot or one transaction. Writes that bring bytes are the part of `writes` and `commits`; how a
version row comes and goes is in `versions`; who holds a lock, where servers are and who somebody is comes from the
objects given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from prometheus_client import Counter, Histogram

from directory_server.access.decisions import Ground, Standing, standing
from directory_server.features import object_lock
from directory_server.features.lifecycle.dates import LifecycleDates
from directory_server.files import listing, versions
from directory_server.files.bucket import Bucket
from directory_server.files.object_changes import cause_of
from directory_server.files.versions import Moment, NewVersion
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.outcomes import attempt, outcome
from directory_server.people.person import Person
from directory_server.ports import Clock, Locks, People, ReadingOrder
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import BadRequest, NotFound, PreconditionFailed, TooFewHolders, TooLarge, to_problem
from lockstep_store.wire.messages.files import (
    MAX_METADATA_BYTES,
    CommittedReply,
    CopyRequest,
    DataKey,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    Holder,
    ListReply,
    ListRequest,
    LookupItem,
    LookupReply,
    VersionsReply,
    VersionsRequest,
)
from lockstep_store.wire.messages.journal import ChangeKind
from lockstep_store.wire.messages.kms import KMS_FACT
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_FACT, TAGS
from lockstep_store.wire.names import check_key

LOOKUPS = Counter("lockstep_directory_lookups", "Paths looked up")
LOOKUP_BATCH = Histogram(
    "lockstep_directory_lookup_batch_items", "Lookups that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


def no_data_key(_: Mapping[str, str]) -> DataKey:
    """Of a directory without named keys."""
    return DataKey(problem=to_problem(BadRequest("this directory has no named keys")))


class Namespace:
    """Thread-safe. `data_key` unwraps that of a content under a named key, from its facts."""

    def __init__(
        self,
        store: MetadataStore,
        clock: Clock,
        people: People,
        locks: Locks,
        servers: ReadingOrder,
        copies: int,
        dates: LifecycleDates,
        data_key: Callable[[Mapping[str, str]], DataKey] = no_data_key,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._locks = locks
        self._servers = servers
        self._copies = copies
        self._dates = dates
        self._data_key = data_key

    # ------------------------------------------------------------ reading

    def lookup(self, items: Sequence[LookupItem]) -> LookupReply:
        """Each item's current version (or the version asked for) with its holders, all of one moment."""
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
        if KMS_FACT in found.metadata:
            found.data_key = self._data_key(found.metadata)
        if item.with_settings:
            said = s3_settings.short_version_values(reader, row[2])
            tagging = "s3:GetObjectTagging" if item.version is None else "s3:GetObjectVersionTagging"
            # A copy takes the tags along to where its maker may read them.
            if TAGS in said and access and access.source_action and place.denied(tagging, item.path):
                place.demand(tagging, item.path, version=item.version)
            found.settings = object_lock.shown(place, item.path, item.version, said)
            found.expires = self._dates.of_version(reader, place.ground.lifecycle, found)
        if item.with_lock:
            found.lock = self._locks.lock_on(reader, item.bucket, item.path)
        return found

    def _reading_order(self, named: str) -> tuple[list[Holder], bool]:
        """Where to read a blob, and whether all of these copies are damaged."""
        sound, damaged = files.split_holders(named)
        order = self._servers.holders_in_reading_order(sound)
        if not damaged:
            return order, False
        # Last, but not left out: whoever called them damaged may have been wrong.
        return order + self._servers.holders_in_reading_order(damaged), not sound

    def _last_good_version(self, reader: Reader, item: LookupItem) -> str:
        """The newest version of the path that a living server has undamaged; empty when there is none."""
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
            reply.cursor = files.read_cursor(reader)
        return reply

    def versions(self, request: VersionsRequest) -> VersionsReply:
        """NotFound for a path that never was; an empty page for a prefix without files."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucketVersions", keys=_listing_keys(request))
            reply = listing.list_versions(reader, request)
            place.say_owners(reply.versions)
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
        before = versions.deleted_before(tx, request.write_id, request.bucket, request.path)
        if before is not None:
            return before
        self._locks.check_write(tx, request.bucket, request.path, person.account, request.lock_number)
        current = tx.one(files.CURRENT, bucket=request.bucket, path=request.path)
        versions.check_preconditions(current, request.preconditions)
        bypass = request.bypass_governance and object_lock.may_bypass(place, request.path, request.version)
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
            return versions.delete(
                tx,
                bucket,
                path,
                person.account,
                write_id,
                moment,
                mark_missing=request.mark_missing,
                cause=cause_of(person),
            )
        row = versions.find(tx, bucket.name, path, request.version)
        if row is None:
            reply = DeleteReply(files.read_cursor(tx), False)
        else:
            cursor = versions.remove(tx, row, moment, bypass_governance=bypass, cause=cause_of(person))
            reply = DeleteReply(cursor, True, row[2], delete_marker=bool(row[12]), null_version=bool(row[10]))
        versions.remember_deletion(tx, write_id, bucket.name, path, reply, moment)
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
        before = versions.written_before(tx, request.write_id, request.bucket, request.path)
        if before is not None:
            before.bucket_versioning = target.versioning
            before.expires = self._dates.of_version(tx, place.ground.lifecycle, before)
            return CommittedReply(before.cursor, before, versions.standing_copies(tx, before, self._copies))
        source = self._source(tx, from_place, request)
        number = self._locks.check_write(tx, request.bucket, request.path, account, request.lock_number)
        if request.move:
            self._locks.check_write(tx, source[0], source[1], account, request.source_lock_number)
        versions.check_preconditions(
            tx.one(files.CURRENT, bucket=request.bucket, path=request.path), request.preconditions
        )
        copies = len(tx.all(files.HOLDERS, digest=source[3]))
        if copies < self._copies:
            raise TooFewHolders(
                f"{request.source_path!r} has {copies} of {self._copies} promised copies now; it can be copied when "
                "repair has made the others",
                up=copies,
                needed=self._copies,
            )
        moment = self._moment()
        object_lock.check_new(place, request.path, request.settings, moment.at)
        new = NewVersion(
            path=request.path,
            digest=source[3],
            size=source[4],
            author=account,
            write_id=request.write_id,
            content_type=source[5] if request.content_type is None else request.content_type,
            metadata=source[6] if request.metadata is None else _copied_metadata(source[6], request.metadata),
            lock_number=number,
            settings=place.settled(request.settings, account) | s3_settings.parts_of_version(tx, source[2]),
        )
        made = versions.put(tx, target, new, _kind(request), moment, cause_of(person))
        made.expires = self._dates.of_version(tx, place.ground.lifecycle, made)
        crash_point("directory.copy.inside")
        if request.move:
            write_id = f"{request.write_id}/source"
            versions.delete(tx, source_bucket, source[1], account, write_id, moment, cause=cause_of(person))
            self._release(tx, person, request.release_lock, request.source_lock_number)
        self._release(tx, person, request.release_lock, request.lock_number)
        return CommittedReply(made.cursor, made, copies)

    def _demand_source(self, place: Standing, request: CopyRequest) -> Bucket:
        path, version = request.source_path, request.source_version
        access = place.person.access
        # A proxy copies the very version that it looked at; what the person asked for is what counts.
        action = access.source_action if access is not None else ""
        action = action or ("s3:GetObject" if version is None else "s3:GetObjectVersion")
        if request.move:
            place.demand("s3:DeleteObject", path)
        if not place.may(action, path, version=version) and place.holds(path, version):
            place.demand(action, path, version=version)
        return place.bucket  # what is not there is `_source`'s to say, or to hide

    def _source(self, tx: Tx, place: Standing, request: CopyRequest) -> Row:
        bucket, path, version = request.source_bucket, request.source_path, request.source_version
        if version is None:
            row = tx.one(files.CURRENT, bucket=bucket, path=path)
        else:
            row = versions.find(tx, bucket, path, version)
        if row is None:
            raise place.hide(not_found(tx, bucket, path, version))
        if request.source_if_version is not None and row[2] != request.source_if_version:
            raise PreconditionFailed(
                f"{path!r} is not as the request expects: another version is current", version=row[2], source=True
            )
        if row[12]:
            raise NotFound(f"version {row[2]} of {path!r} is a delete marker and has no content", version=row[2])
        return row

    def _release(self, tx: Tx, person: Person, wanted: bool, lock_number: int | None) -> None:
        if wanted and lock_number is not None:
            self._locks.release_in(tx, person.account, lock_number)

    def _moment(self) -> Moment:
        return Moment(self._clock.wall(), self._clock.now(), self._clock.calendar())


def _kind(request: CopyRequest) -> ChangeKind:
    """What the journal calls it: an old version copied onto its own path is that version restored."""
    if request.move:
        return "move"
    same = (request.source_bucket, request.source_path) == (request.bucket, request.path)
    return "restore" if same and request.source_version is not None else "copy"


def _copied_metadata(source: str, wanted: dict[str, str]) -> str:
    """`wanted`; but what says which key the content is under stays with the content, whoever copies it."""
    is_sealed = CUSTOMER_KEY_FACT in source or KMS_FACT in source
    facts: dict[str, str] = msgspec.json.decode(source) if is_sealed else {}
    kept = {name: text for name, text in facts.items() if name.startswith((CUSTOMER_KEY_FACT, KMS_FACT))}
    return stored_metadata(wanted | kept)


def stored_metadata(metadata: dict[str, str]) -> str:
    """A version's metadata for its column; TooLarge over the bound."""
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise TooLarge(f"the file's metadata has {size} bytes; the limit is {MAX_METADATA_BYTES}")
    return files.as_stored(metadata)


def not_found(reader: Reader, bucket: str, path: str, version: str | None = None) -> NotFound:
    """The refusal for a path without a current version (or without that version); says so when it was deleted."""
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
    if item.version == versions.NULL_VERSION:
        return reader.one(files.NULL_VERSION_HELD, bucket=item.bucket, path=item.path)
    return reader.one(files.VERSION_HELD, bucket=item.bucket, path=item.path, version=item.version)


def _listing_keys(request: ListRequest | VersionsRequest) -> dict[str, list[str]]:
    """What conditions may ask about a listing."""
    keys = {"s3:prefix": [request.prefix], "s3:max-keys": [str(request.limit)]}
    if request.delimiter:
        keys["s3:delimiter"] = [request.delimiter]
    return keys
