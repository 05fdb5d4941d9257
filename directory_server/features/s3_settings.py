"""Reads and changes the S3 settings of buckets and versions.

`access` checks policies and lists, and each feature its own settings (see `files.hooks`); the others (tags, CORS, …)
matter only to the S3 door. Sharing a bucket does not share its settings. Changing a version's settings makes no new
version; they are deleted with the version.
"""

from __future__ import annotations

import json

from directory_server.access import settings as access_settings
from directory_server.access.decisions import standing
from directory_server.access.version_settings import may_bypass_governance
from directory_server.files.hooks import Hooks
from directory_server.files.lookups import refuse_marker, version_row
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.object_changes import cause_of
from directory_server.files.versions import change_of
from directory_server.metadata.statements import buckets, files, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import People
from lockstep_store.wire.errors import BadRequest, PreconditionFailed, TooLarge
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.kms import BucketEncryptionRequest
from lockstep_store.wire.messages.s3 import (
    ENCRYPTION,
    NOTIFICATION,
    RETENTION,
    TAGS,
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
    """Serves the calls about S3 settings. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: MomentClock, people: People, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._hooks = hooks

    def of_bucket(self, request: BucketSettingRequest) -> SettingReply:
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            is_rule = request.name in access_settings.NAMES
            usual = "s3:GetBucketPolicy" if is_rule else "s3:ListBucket"
            place.demand(place.asked(usual), place.path_asked, owners_only=is_rule)
            if request.name == access_settings.POLICY_STATUS:
                return SettingReply(access_settings.policy_status(place))
            if request.name == access_settings.ACL:
                return SettingReply(json.dumps(place.lists.of_bucket()))
            return SettingReply(s3_settings.bucket_value(reader, request.bucket, request.name))

    def put_of_bucket(self, request: PutBucketSettingRequest) -> Nothing:
        """Store a setting, durably. Safe to repeat. For the owner, and for callers that the bucket's policy allows."""
        person = self._people.identify(request.credential)
        check_setting_name(request.name)
        if request.name == NOTIFICATION:
            raise BadRequest("a notification configuration has a call of its own, which checks its targets; use that")

        def work(tx: Tx) -> Nothing:
            place = standing(tx, request.bucket, person, self._clock.wall())
            bucket = place.demand(place.asked("s3:PutBucketSetting"), owners_only=True)
            if request.name in access_settings.NAMES:
                access_settings.put(tx, place, request.name, request.value)
                return Nothing()
            at = self._clock.wall()
            self._hooks.check_bucket_setting(tx, bucket, person, request.name, request.value, at)
            s3_settings.put_bucket_value(tx, request.bucket, request.name, request.value)
            return Nothing()

        return self._store.write(work)

    def cors_of_bucket(self, request: BucketCorsRequest) -> SettingReply:
        """Return the bucket's CORS rules to a proxy. They are not secret: every reply shows them."""
        return self._of_bucket_itself(request.bucket, CORS)

    def encryption_of_bucket(self, request: BucketEncryptionRequest) -> SettingReply:
        """Return to a proxy how the bucket's content is encrypted; every door applies it to all writes."""
        return self._of_bucket_itself(request.bucket, ENCRYPTION)

    def _of_bucket_itself(self, bucket: str, name: str) -> SettingReply:
        with self._store.read() as reader:
            buckets.require(reader, bucket)
            return SettingReply(s3_settings.bucket_value(reader, bucket, name))

    def of_version(self, request: ObjectSettingsRequest) -> ObjectSettingsReply:
        """Return a version's settings; a delete marker has none. NotFound when there is no such version."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            row = version_row(place, request.path, request.version)
            action = place.asked_to_read(request.path, request.version)
            bucket = place.demand(action, request.path, version=request.version)
            reply = _reply(reader, bucket, row)
            reply.settings |= {access_settings.ACL: json.dumps(place.lists.of_version(row))}
            return reply

    def put_of_version(self, request: PutObjectSettingRequest) -> ObjectSettingsReply:
        """Change one setting and return all. Durable on return, safe to repeat.

        PreconditionFailed when it, or the current version, is no longer what the caller says that it is.
        """
        person = self._people.identify(request.credential)
        check_key(request.path)
        check_setting_name(request.name)
        if request.value is not None and len(request.value) > MAX_VERSION_SETTING:
            raise TooLarge(f"a version's setting may have at most {MAX_VERSION_SETTING} characters")

        def work(tx: Tx) -> ObjectSettingsReply:
            place = standing(tx, request.bucket, person, self._clock.wall())
            row = version_row(place, request.path, request.version)
            bucket = place.demand(place.asked("s3:PutObject"), request.path, version=request.version)
            if request.if_version not in (None, row[2]):
                raise PreconditionFailed(f"{request.path!r} has another version by now: read it again")
            refuse_marker(row)
            bypass = request.bypass_governance and may_bypass_governance(place, request.path, request.version)
            moment = Moment.of(self._clock)
            self._hooks.check_version_setting(tx, bucket, row, request.name, request.value, moment, bypass=bypass)
            value = request.value
            if request.name == access_settings.ACL and value is not None:
                value = place.lists.settled_acl(value, "object", place.lists.owner_of(row))
            before = s3_settings.version_values(tx, row[2]).get(request.name)
            if request.if_value is not None and before not in (request.if_value or None, value):
                raise PreconditionFailed(f"the setting {request.name!r} has changed: read it again")
            s3_settings.put_version_value(tx, row[2], request.name, value)
            event = _event(request.name, before, value)
            if event:
                self._hooks.after_change(tx, bucket, change_of(row, event, cause_of(person), moment.at))
            return _reply(tx, bucket, row)

        return self._store.write(work)


def check_setting_name(name: str) -> str:
    """Return `name`; BadRequest when no setting can have it."""
    if not name or not all(part.isascii() and part.isalnum() for part in name.split("-")):
        raise BadRequest(f"{name[:40]!r} is not the name of a setting")
    return name


def _event(name: str, before: str | None, value: str | None) -> str:
    """Return S3's event for a change of a setting; empty when it has none. An unchanged list is no change."""
    if name == TAGS:
        return "ObjectTagging:Delete" if value is None else "ObjectTagging:Put"
    if name == access_settings.ACL and value != before:
        return "ObjectAcl:Put"
    if name == RETENTION and value is not None:
        return "ObjectRetention:Put"
    return ""


def _reply(reader: Reader, bucket: Bucket, row: Row) -> ObjectSettingsReply:
    version = files.as_version(row)
    version.bucket_versioning = bucket.versioning
    return ObjectSettingsReply(version, s3_settings.version_values(reader, row[2]))
