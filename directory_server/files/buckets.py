"""Buckets: who may use one, and making, changing and deleting them.

The bucket `files` is everybody's and always there. Any other belongs to its owner; a shared one may be read and
written by everybody, but only its owner or an administrator changes or deletes it. That is how it is as long as nobody
has said anything else of it by a policy or a list (see `access`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from directory_server.access import settings as access_settings
from directory_server.access.decisions import Standing, standing
from directory_server.features import object_lock
from directory_server.files.bucket import Bucket as Bucket
from directory_server.metadata.statements import files, journal, s3_settings, uploads
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BucketNotEmpty, Conflict, Forbidden, NotFound
from lockstep_store.wire.messages.files import (
    BucketInfo,
    BucketsReply,
    ChangeBucketRequest,
    CreateBucketRequest,
    Versioning,
)
from lockstep_store.wire.messages.s3 import LOCATION, OBJECT_LOCK
from lockstep_store.wire.names import FILES_BUCKET, check_bucket


class WallClock(Protocol):
    """Seconds since 1970, for people to read."""

    def wall(self) -> float: ...


def find(reader: Reader, name: str) -> Bucket:
    """The bucket, whoever asks; NotFound when there is none of that name."""
    row = reader.one(files.BUCKET, name=name)
    if row is None:
        raise NotFound(f"there is no bucket {name!r}: create it first", bucket=name)
    return Bucket(*row)


def ensure_files_bucket(store: MetadataStore, owner: str, at: float) -> None:
    """Make the bucket that everybody starts with; safe to repeat."""

    def work(tx: Tx) -> None:
        if tx.one(files.BUCKET, name=FILES_BUCKET) is None:
            tx.run(
                files.INSERT_BUCKET, name=FILES_BUCKET, owner=owner, versioning="enabled", shared=True, created_at=at
            )

    store.write(work)


class Buckets:
    """The calls about buckets."""

    def __init__(
        self, store: MetadataStore, clock: WallClock, end_locks: Callable[[Tx, str], None] = lambda tx, bucket: None
    ) -> None:
        """`end_locks(tx, bucket)` ends a deleted bucket's locks and queues."""
        self._store = store
        self._clock = clock
        self._end_locks = end_locks

    def all(self, person: Person) -> BucketsReply:
        """The buckets that `person` may use, by name."""
        with self._store.read() as reader:
            rows = [Bucket(*row) for row in reader.all(files.BUCKETS)]
        return BucketsReply([b.info() for b in rows if b.shared or person.admin or b.owner == person.account])

    def get(self, person: Person, name: str) -> BucketInfo:
        with self._store.read() as reader:
            place = standing(reader, name, person, self._clock.wall())
            return place.demand(place.asked("s3:ListBucket"), place.path_asked).info()

    def create(self, person: Person, request: CreateBucketRequest) -> BucketInfo:
        """AlreadyExists for a taken name, also when it is the caller's own."""
        versioning: Versioning = "enabled" if request.object_lock else request.versioning
        made = Bucket(check_bucket(request.bucket), person.account, versioning, request.shared, self._clock.wall())

        def work(tx: Tx) -> None:
            row = tx.one(files.BUCKET, name=made.name)
            if row is not None:
                whose = "you" if row[1] == person.account else "somebody else"
                raise AlreadyExists(f"{whose} already made a bucket {made.name!r}", bucket=made.name, owner=row[1])
            tx.run(files.INSERT_BUCKET, **made._asdict())
            if request.object_lock:
                s3_settings.put_bucket_value(tx, made.name, OBJECT_LOCK, object_lock.ENABLED)
            settings = dict(request.settings)
            location = settings.pop(LOCATION, None)
            if location is not None:
                s3_settings.put_bucket_value(tx, made.name, LOCATION, location)
            for setting in access_settings.in_order(settings):
                place = standing(tx, made.name, person, made.created_at)
                access_settings.put(tx, place, setting, settings[setting])

        self._store.write(work)
        return made.info()

    def change(self, person: Person, request: ChangeBucketRequest) -> BucketInfo:
        """New settings for the versions and files still to come; those that exist are left as they are."""

        def work(tx: Tx) -> BucketInfo:
            found = self._owned(tx, request.bucket, person, "s3:PutBucketVersioning").bucket
            if request.shared is not None and not (person.admin or found.owner == person.account):
                raise Forbidden(f"only {found.owner} or an administrator may share bucket {found.name!r}")
            versioning = found.versioning if request.versioning is None else request.versioning
            shared = found.shared if request.shared is None else request.shared
            if versioning == "off" != found.versioning:
                raise Conflict("a bucket that has kept versions cannot forget them: set versioning to 'suspended'")
            object_lock.check_versioning(tx, found, versioning)
            if found.name == FILES_BUCKET and not shared:
                raise Conflict(f"bucket {FILES_BUCKET!r} is everybody's and stays shared")
            tx.run(files.CHANGE_BUCKET, bucket_name=found.name, versioning=versioning, shared=shared)
            return found._replace(versioning=versioning, shared=shared).info()

        return self._store.write(work)

    def delete(self, person: Person, name: str) -> None:
        """BucketNotEmpty as long as it has any version, delete markers included: deleting must not lose history.

        Its locks, the places in line and, as in S3, uploads under way end with it."""

        def work(tx: Tx) -> None:
            found = self._owned(tx, name, person, "s3:DeleteBucket").bucket
            if found.name == FILES_BUCKET:
                raise Conflict(f"bucket {FILES_BUCKET!r} is part of every cluster and cannot be deleted")
            if tx.one(files.ANY_VERSION, bucket=name) is not None:
                raise BucketNotEmpty(f"bucket {name!r} still has files or versions: delete those first", bucket=name)
            tx.run(journal.REMEMBER_BUCKET, name=name)
            s3_settings.drop_bucket_values(tx, name)
            uploads.drop_of_bucket(tx, name)
            self._end_locks(tx, name)
            tx.run(files.DELETE_BUCKET, name=name)

        self._store.write(work)

    def _owned(self, tx: Tx, name: str, person: Person, action: str) -> Standing:
        """What the person may do with a bucket of their own, or that its policy lets them change."""
        place = standing(tx, name, person, self._clock.wall())
        place.demand(action, owners_only=True)
        return place
