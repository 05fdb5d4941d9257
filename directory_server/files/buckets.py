"""Buckets: listing, creating, changing and deleting them.

The bucket `files` always exists, and is shared until an administrator stops that. Any other belongs to its owner;
everybody may read and write a shared one, but only its owner or an administrator changes or deletes it. A policy or an
access control list can decide otherwise (see `access`).
"""

from __future__ import annotations

from collections.abc import Callable

from directory_server.access import limits
from directory_server.access import settings as access_settings
from directory_server.access.decisions import Standing, standing
from directory_server.files.hooks import Hooks
from directory_server.files.moment import WallClock
from directory_server.metadata.statements import buckets as rows
from directory_server.metadata.statements import files, journal, quotas, s3_settings, share_links, totals, uploads
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BucketNotEmpty, Conflict, Forbidden
from lockstep_store.wire.messages.buckets import (
    BucketInfo,
    BucketsReply,
    ChangeBucketRequest,
    CreateBucketRequest,
    Versioning,
)
from lockstep_store.wire.messages.s3 import LOCATION, OBJECT_LOCK, TAGS
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, tenant_of


def ensure_files_bucket(store: MetadataStore, owner: str, at: float) -> None:
    """Create the bucket that every cluster starts with; safe to repeat."""

    def work(tx: Tx) -> None:
        if rows.find(tx, FILES_BUCKET) is None:
            rows.insert_bucket(tx, Bucket(FILES_BUCKET, owner, "enabled", True, at))

    store.write(work)


class Buckets:
    """The calls about buckets."""

    def __init__(
        self,
        store: MetadataStore,
        clock: WallClock,
        hooks: Hooks,
        end_locks: Callable[[Tx, str], None] = lambda tx, bucket: None,
        *,
        private: bool = False,
    ) -> None:
        """`end_locks(tx, bucket)` ends a deleted bucket's locks and queues.

        With `private`, new buckets have lists disabled and public access blocked, as at AWS since April 2023.
        """
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._end_locks = end_locks
        self._private = private

    def all(self, person: Person) -> BucketsReply:
        """Return the buckets that `person` may use, by name. Forbidden unless the key's limits allow it."""
        limits.demand(person, "s3:ListAllMyBuckets", "*", self._clock.wall())
        admin = person.of_administrator
        with self._store.read() as reader:
            found = rows.all_buckets(reader)
        if person.tenant or not admin:
            found = [b for b in found if tenant_of(b.owner) == person.tenant]
        return BucketsReply([b.info() for b in found if b.shared or admin or b.owner == person.account])

    def get(self, person: Person, name: str) -> BucketInfo:
        with self._store.read() as reader:
            place = standing(reader, name, person, self._clock.wall())
            return place.demand(place.asked("s3:ListBucket"), place.path_asked).info()

    def create(self, person: Person, request: CreateBucketRequest) -> BucketInfo:
        """Create a bucket. Forbidden for a read-only account, and unless the key's limits allow it.

        AlreadyExists for a taken name, also when the bucket is the caller's own, or another tenant's: a name is there
        once in the cluster.
        """
        if person.read_only:
            raise Forbidden(f"{person.account} may only read: it cannot make buckets")
        limits.demand(person, "s3:CreateBucket", request.bucket, self._clock.wall())
        versioning: Versioning = "enabled" if request.object_lock else request.versioning
        made = Bucket(check_bucket(request.bucket), person.account, versioning, request.shared, self._clock.wall())

        def work(tx: Tx) -> None:
            taken = rows.find(tx, made.name)
            if taken is not None:
                whose = "you" if taken.owner == person.account else "somebody else"
                hidden = tenant_of(taken.owner) != person.tenant
                facts = {} if hidden else {"owner": taken.owner}
                raise AlreadyExists(f"{whose} already created a bucket {made.name!r}", bucket=made.name, **facts)
            quotas.demand_room(tx, quotas.ACCOUNT, person.account, "buckets")
            if person.tenant:
                quotas.demand_room(tx, quotas.TENANT, person.tenant, "buckets")
            rows.insert_bucket(tx, made)
            if request.object_lock:
                s3_settings.put_bucket_value(tx, made.name, OBJECT_LOCK, s3_settings.OBJECT_LOCK_WITHOUT_RULE)
            settings = dict(request.settings)
            if self._private:
                settings = access_settings.PRIVATE_OWNERSHIP | settings
            for name in (LOCATION, TAGS):
                value = settings.pop(name, None)
                if value is not None:
                    s3_settings.put_bucket_value(tx, made.name, name, value)
            for setting in access_settings.in_order(settings):
                place = standing(tx, made.name, person, made.created_at)
                if person.limits is not None:
                    place.demand(access_settings.ACTIONS[setting])
                access_settings.put(tx, place, setting, settings[setting])
            if self._private:
                access_settings.block_public_access(tx, made.name)

        self._store.write(work)
        return made.info()

    def change(self, person: Person, request: ChangeBucketRequest) -> BucketInfo:
        """Change the settings for versions and files still to come; existing ones stay as they are."""

        def work(tx: Tx) -> BucketInfo:
            place = self._owned(tx, request.bucket, person, "s3:PutBucketVersioning")
            found = place.bucket
            if request.shared is not None and not (person.limits is None and place.trusted):
                raise Forbidden(f"only {found.owner} or an administrator may share bucket {found.name!r}")
            versioning = found.versioning if request.versioning is None else request.versioning
            shared = found.shared if request.shared is None else request.shared
            if versioning == "off" != found.versioning:
                raise Conflict("versioning cannot be turned off once a bucket has kept versions: set it to 'suspended'")
            self._hooks.check_versioning(tx, found, versioning)
            if found.name == FILES_BUCKET and shared != found.shared and not person.admin:
                raise Forbidden(f"only an administrator may share bucket {FILES_BUCKET!r} or stop sharing it")
            rows.change_bucket(tx, found.name, versioning, shared=shared)
            return found._replace(versioning=versioning, shared=shared).info()

        return self._store.write(work)

    def delete(self, person: Person, name: str) -> None:
        """Delete a bucket and its uploads, as S3 does.

        BucketNotEmpty as long as it has any version, delete markers included: deleting must not lose history. Its
        locks and the places in line end with it.
        """

        def work(tx: Tx) -> None:
            found = self._owned(tx, name, person, "s3:DeleteBucket").bucket
            if found.name == FILES_BUCKET:
                raise Conflict(f"bucket {FILES_BUCKET!r} is part of every cluster and cannot be deleted")
            if tx.one(files.ANY_VERSION, bucket=name) is not None:
                raise BucketNotEmpty(f"bucket {name!r} still has files or versions: delete those first", bucket=name)
            tx.run(journal.REMEMBER_BUCKET, name=name)
            s3_settings.drop_bucket_values(tx, name)
            uploads.drop_of_bucket(tx, name)
            share_links.drop_of_bucket(tx, name)
            totals.forget_bucket(tx, name)
            self._end_locks(tx, name)
            rows.delete_bucket(tx, name)
            quotas.drop_quotas(tx, quotas.BUCKET, name)

        self._store.write(work)

    def _owned(self, tx: Tx, name: str, person: Person, action: str) -> Standing:
        """Return the person's standing in a bucket that they own, or that its policy lets them change."""
        place = standing(tx, name, person, self._clock.wall())
        place.demand(action, owners_only=True)
        return place
