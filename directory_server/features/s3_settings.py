"""What S3 lets people say of buckets and versions, kept for them.

Here it is only settled who may, and handed to whoever knows what a setting means: `access` for policies and lists,
`object_lock`, `lifecycle_rules`, `access_logs`; the rest (tags, CORS, …) means something at the S3 door alone. Sharing
a bucket does not share its settings. A version's change without making a version, and go when the version does.
"""

from __future__ import annotations

import json

from directory_server.access import settings as access_settings
from directory_server.access.decisions import Standing, standing
from directory_server.features import access_logs, object_lock
from directory_server.features.lifecycle import rules
from directory_server.files import buckets, versions
from directory_server.files.bucket import Bucket
from directory_server.files.namespace import not_found
from directory_server.files.object_changes import cause_of
from directory_server.files.versions import Moment
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import Person
from directory_server.ports import Clock, People
from lockstep_store.wire.errors import BadRequest, NotFound, TooLarge
from lockstep_store.wire.messages.files import Nothing
from lockstep_store.wire.messages.kms import BucketEncryptionRequest
from lockstep_store.wire.messages.s3 import (
    ENCRYPTION,
    LOGGING,
    NOTIFICATION,
    RETENTION,
    TAGS,
    AccessLogReply,
    AccessLogRequest,
    BucketCorsRequest,
    BucketSettingRequest,
    ObjectSettingsReply,
    ObjectSettingsRequest,
    PutBucketSettingRequest,
    PutObjectSettingRequest,
    SettingReply,
)
from lockstep_store.wire.names import check_key

CORS = "cors"
MAX_VERSION_SETTING = 16 * 1024


class S3Settings:
    """Thread-safe."""

    def __init__(self, store: MetadataStore, clock: Clock, people: People) -> None:
        self._store = store
        self._clock = clock
        self._people = people

    def of_bucket(self, request: BucketSettingRequest) -> SettingReply:
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            is_rule = request.name in access_settings.NAMES
            place.demand(place.asked("s3:ListBucket"), place.path_asked, owners_only=is_rule)
            if request.name == access_settings.POLICY_STATUS:
                return SettingReply(access_settings.policy_status(place))
            if request.name == access_settings.ACL:
                return SettingReply(json.dumps(place.bucket_acl()))
            return SettingReply(s3_settings.bucket_value(reader, request.bucket, request.name))

    def put_of_bucket(self, request: PutBucketSettingRequest) -> Nothing:
        """Durable on return, safe to repeat. Forbidden unless the caller owns the bucket, or its policy lets them."""
        person = self._people.identify(request.credential)
        check_setting_name(request.name)
        if request.name == NOTIFICATION:
            raise BadRequest("a notification configuration names targets, so it has a call of its own")

        def work(tx: Tx) -> Nothing:
            place = standing(tx, request.bucket, person, self._clock.wall())
            bucket = place.demand(place.asked("s3:PutBucketSetting"), owners_only=True)
            if request.name in access_settings.NAMES:
                access_settings.put(tx, place, request.name, request.value)
                return Nothing()
            if request.name == LOGGING and request.value is not None:
                access_logs.check_setting(tx, bucket, person, request.value, self._clock.wall())
            object_lock.check_bucket_setting(bucket, request.name, request.value)
            rules.check_bucket_setting(request.name, request.value)
            s3_settings.put_bucket_value(tx, request.bucket, request.name, request.value)
            return Nothing()

        return self._store.write(work)

    def cors_of_bucket(self, request: BucketCorsRequest) -> SettingReply:
        """What a proxy may know in its own name: nobody's secret, as every answer shows it."""
        return self._of_bucket_itself(request.bucket, CORS)

    def encryption_of_bucket(self, request: BucketEncryptionRequest) -> SettingReply:
        """The same of how the bucket's contents are encrypted, which holds for every door and everybody."""
        return self._of_bucket_itself(request.bucket, ENCRYPTION)

    def _of_bucket_itself(self, bucket: str, name: str) -> SettingReply:
        with self._store.read() as reader:
            buckets.find(reader, bucket)
            return SettingReply(s3_settings.bucket_value(reader, bucket, name))

    def access_log_of_bucket(self, request: AccessLogRequest) -> AccessLogReply:
        """Where a bucket's access log goes. NotFound when there is no such bucket."""
        with self._store.read() as reader:
            return access_logs.find(reader, request.bucket)

    def of_version(self, request: ObjectSettingsRequest) -> ObjectSettingsReply:
        """NotFound for a version that is not there; a delete marker has settings like any other version: none."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            row = _version_row(reader, place, request)
            action = place.asked_to_read(request.path, request.version)
            bucket = place.demand(action, request.path, version=request.version)
            reply = _reply(reader, bucket, row)
            reply.settings |= {access_settings.ACL: json.dumps(place.acl_of(row))}
            return reply

    def put_of_version(self, request: PutObjectSettingRequest) -> ObjectSettingsReply:
        """Durable on return, safe to repeat; the settings as they are then."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        check_setting_name(request.name)
        if request.value is not None and len(request.value) > MAX_VERSION_SETTING:
            raise TooLarge(f"a version's setting has at most {MAX_VERSION_SETTING} characters")

        def work(tx: Tx) -> ObjectSettingsReply:
            place = standing(tx, request.bucket, person, self._clock.wall())
            row = _version_row(tx, place, request)
            bucket = place.demand(place.asked("s3:PutObject"), request.path, version=request.version)
            if row[12]:
                raise NotFound(
                    f"version {row[2]} of {request.path!r} is a delete marker, of which nothing can be said",
                    path=request.path,
                    version=row[2],
                    null_version=bool(row[10]),
                    delete_marker=True,
                )
            bypass = request.bypass_governance and object_lock.may_bypass(place, request.path, request.version)
            object_lock.check_change(tx, bucket, row, request.name, request.value, self._moment(), bypass=bypass)
            value = request.value
            if request.name == access_settings.ACL and value is not None:
                value = place.settled_acl(value, "object", place.owner_of(row))
            before = s3_settings.version_values(tx, row[2]).get(request.name)
            s3_settings.put_version_value(tx, row[2], request.name, value)
            _tell(tx, person, row, request.name, before, value, self._clock.wall())
            return _reply(tx, bucket, row)

        return self._store.write(work)

    def _moment(self) -> Moment:
        return Moment(self._clock.wall(), self._clock.now(), self._clock.calendar())


def check_setting_name(name: str) -> str:
    """`name` itself, when a setting may have it."""
    if not name or not all(part.isascii() and part.isalnum() for part in name.split("-")):
        raise BadRequest(f"{name[:40]!r} is no name of a setting")
    return name


def _tell(tx: Tx, person: Person, row: Row, name: str, before: str | None, value: str | None, at: float) -> None:
    """Let those who follow changes know of a setting that S3 has an event for; a list that is the same is none."""
    if name == TAGS:
        event = "ObjectTagging:Delete" if value is None else "ObjectTagging:Put"
    elif name == access_settings.ACL and value != before:
        event = "ObjectAcl:Put"
    elif name == RETENTION and value is not None:
        event = "ObjectRetention:Put"
    else:
        return
    tx.tell(versions.change_of(row, event, cause_of(person), at))


def _version_row(reader: Reader, place: Standing, request: ObjectSettingsRequest) -> Row:
    if request.version is None:
        row = reader.one(files.CURRENT, bucket=request.bucket, path=request.path)
    else:
        row = versions.find(reader, request.bucket, request.path, request.version)
    if row is None:
        raise place.hide(not_found(reader, request.bucket, request.path, request.version))
    return row


def _reply(reader: Reader, bucket: Bucket, row: Row) -> ObjectSettingsReply:
    version = files.as_version(row)
    version.bucket_versioning = bucket.versioning
    return ObjectSettingsReply(version, s3_settings.version_values(reader, row[2]))
