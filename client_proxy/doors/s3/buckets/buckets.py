"""Buckets: list, create, head, delete; location and versioning."""

from __future__ import annotations

import re

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.listings import check_echoed, owner_of
from client_proxy.doors.s3.objects.tagging import MAX_BUCKET_TAGS, check_tags, tag_settings
from client_proxy.doors.s3.protocol.parameters import Values, select
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.acls import ACL, ACL_MEMBERS, acl_settings
from client_proxy.doors.s3.security.policies import ownership_setting
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Forbidden, NotFound
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CHANGE_BUCKET,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketInfo,
    BucketRequest,
    BucketsRequest,
    ChangeBucketRequest,
    CreateBucketRequest,
    Versioning,
)
from lockstep_store.wire.messages.s3 import BUCKET_SETTING, LOCATION, REGION, BucketSettingRequest
from lockstep_store.wire.names import check_bucket

MAX_BUCKETS_PAGE = 10_000
_PRIVATE = '{"canned": "private"}'
_LOCATION = re.compile(r"EU|[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")


class BucketHandlers:
    """Operations on a bucket as a whole. With `list_shared`, ListBuckets names buckets of others, too."""

    def __init__(self, directory: Directory, *, list_shared: bool = False) -> None:
        self._directory = directory
        self._list_shared = list_shared
        self._settings = StoredSettings(directory)

    def handlers(self) -> Handlers:
        return {
            "ListBuckets": self.list,
            "CreateBucket": self.create,
            "HeadBucket": self.head,
            "DeleteBucket": self.delete,
            "GetBucketLocation": self.location,
            "GetBucketVersioning": self.versioning,
            "PutBucketVersioning": self.set_versioning,
        }

    def list(self, call: S3Call) -> Values:
        """The account's own buckets, by name, in pages; with a setting, also other people's that it may use."""
        if call.principal.anonymous:
            raise S3Error("AccessDenied", "sign the request, or send an API key: only accounts can list buckets")
        check_echoed(call, ("Prefix", "ContinuationToken"))
        found = self._directory.call(BUCKETS, BucketsRequest(call.credential)).buckets
        if not self._list_shared:
            found = [bucket for bucket in found if bucket.owner == call.principal.account]
        prefix, after = call.get("Prefix", ""), call.get("ContinuationToken", "")
        wanted = [b for b in found if b.name.startswith(prefix) and b.name > after]
        if "BucketRegion" in call.values:
            wanted = [b for b in wanted if self._region_of(call, b.name) == call.values["BucketRegion"]]
        limit = min(call.get("MaxBuckets", MAX_BUCKETS_PAGE), MAX_BUCKETS_PAGE)
        if limit < 1:
            raise S3Error("InvalidArgument", "max-buckets must be 1 to 10000", ArgumentName="max-buckets")
        page = wanted[:limit]
        values: Values = {
            "Owner": owner_of(call.principal.account),
            "Buckets": [{"Name": b.name, "CreationDate": b.created_at} for b in page],
        }
        if prefix:
            values["Prefix"] = prefix
        if len(wanted) > len(page):
            values["ContinuationToken"] = page[-1].name
        return values

    def create(self, call: S3Call) -> Values:
        """CreateBucket; as in S3's oldest region, creating one's own bucket again only resets its ACL."""
        name = check_bucket(call.bucket)
        configuration = call.get("CreateBucketConfiguration") or {}
        if configuration.get("Location") or configuration.get("Bucket"):
            raise S3Error("NotImplemented", "directory buckets are not supported")
        if call.get("BucketNamespace", "global") != "global":
            raise S3Error("NotImplemented", "only the global bucket namespace is supported")
        try:
            locking = bool(call.get("ObjectLockEnabledForBucket"))
            settings = ownership_setting(call.get("ObjectOwnership")) | acl_settings(select(call.values, ACL_MEMBERS))
            settings |= _location_setting(configuration.get("LocationConstraint"))
            settings |= tag_settings(check_tags(configuration.get("Tags") or [], MAX_BUCKET_TAGS))
            request = CreateBucketRequest(call.credential, name, object_lock=locking, settings=settings)
            self._directory.call(CREATE_BUCKET, request)
        except AlreadyExists as error:
            if error.facts.get("owner") != call.principal.account:
                raise
            if LOCATION in settings:
                raise S3Error("BucketAlreadyOwnedByYou", str(error), BucketName=name) from error
            self._reset_acl(call, settings.get(ACL))
        return {"Location": f"/{name}"}

    def _reset_acl(self, call: S3Call, wanted: str | None) -> None:
        """Set the bucket's ACL as if the bucket was new. Where ACLs are disabled only an explicit one is rejected."""
        try:
            self._settings.put_of_bucket(call, ACL, wanted or _PRIVATE)
        except BadRequest as error:
            if wanted is not None or error.facts.get("s3_code") != "AccessControlListNotSupported":
                raise

    def head(self, call: S3Call) -> Values:
        return {"BucketRegion": _region(self._settings.of_bucket(call, LOCATION))}

    def delete(self, call: S3Call) -> Values:
        self._directory.call(DELETE_BUCKET, BucketRequest(call.credential, call.bucket))
        return {}

    def location(self, call: S3Call) -> Values:
        return {"LocationConstraint": self._settings.of_bucket(call, LOCATION) or ""}

    def versioning(self, call: S3Call) -> Values:
        state = self._info(call).versioning
        return {} if state == "off" else {"Status": state.capitalize()}

    def set_versioning(self, call: S3Call) -> Values:
        wanted = call.values["VersioningConfiguration"]
        if wanted.get("MFADelete") == "Enabled":
            raise S3Error("NotImplemented", "MFA delete is not supported")
        status = wanted.get("Status")
        if status is None:
            raise S3Error("IllegalVersioningConfigurationException", "the Status must be Enabled or Suspended")
        state: Versioning = "enabled" if status == "Enabled" else "suspended"
        self._directory.call(CHANGE_BUCKET, ChangeBucketRequest(call.credential, call.bucket, versioning=state))
        return {}

    def _region_of(self, call: S3Call, bucket: str) -> str | None:
        """Return the bucket's region; None if the account may not read the bucket."""
        try:
            reply = self._directory.call(BUCKET_SETTING, BucketSettingRequest(call.credential, bucket, LOCATION))
        except (Forbidden, NotFound):
            return None
        return _region(reply.value)

    def _info(self, call: S3Call) -> BucketInfo:
        info: BucketInfo = self._directory.call(GET_BUCKET, BucketRequest(call.credential, call.bucket))
        return info


def _location_setting(text: str | None) -> dict[str, str]:
    """Return the setting for a region. Any name is accepted; REGION is the default, and not stored."""
    if text and not _LOCATION.fullmatch(text):
        raise S3Error(
            "InvalidLocationConstraint", f"{text[:64]!r} is not the name of a region", LocationConstraint=text[:64]
        )
    return {LOCATION: text} if text and text != REGION else {}


def _region(location: str | None) -> str:
    """The region's name. The location EU means the oldest region in Europe."""
    return {None: REGION, "EU": "eu-west-1"}.get(location) or str(location)
