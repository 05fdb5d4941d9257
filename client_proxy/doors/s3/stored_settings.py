"""StoredSettings: reads and changes the settings of buckets and versions, which the directory stores.

The directory decides who may do so. What a setting means, and which values are valid, is up to its handlers' module.
"""

from __future__ import annotations

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import (
    BUCKET_SETTING,
    OBJECT_SETTINGS,
    PUT_BUCKET_SETTING,
    PUT_OBJECT_SETTING,
    BucketSettingRequest,
    ObjectSettingsReply,
    ObjectSettingsRequest,
    PutBucketSettingRequest,
    PutObjectSettingRequest,
)


class StoredSettings:
    """The settings of a call's bucket or version. Thread-safe.

    Every method raises the directory's errors: NotFound, Forbidden, or BadRequest for an invalid value.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def of_bucket(self, call: S3Call, name: str) -> str | None:
        """The setting's text; None when the bucket does not have it."""
        request = BucketSettingRequest(call.credential, call.bucket, name)
        value: str | None = self._directory.call(BUCKET_SETTING, request).value
        return value

    def needed_of_bucket(self, call: S3Call, name: str, code: str, message: str) -> str:
        """The setting's text; S3Error `code` when the bucket does not have it."""
        value = self.of_bucket(call, name)
        if value is None:
            raise S3Error(code, message, BucketName=call.bucket)
        return value

    def put_of_bucket(self, call: S3Call, name: str, value: str | None) -> None:
        """Store the setting, durably; None removes it."""
        request = PutBucketSettingRequest(call.credential, call.bucket, name, value)
        self._directory.call(PUT_BUCKET_SETTING, request)

    def of_version(self, call: S3Call) -> ObjectSettingsReply:
        """The version in the call, else the current one, with its settings; it may be a delete marker."""
        request = ObjectSettingsRequest(call.credential, call.bucket, call.key, call.get("VersionId"))
        reply: ObjectSettingsReply = self._directory.call(OBJECT_SETTINGS, request)
        return reply

    def put_of_version(
        self, call: S3Call, name: str, value: str | None, *, bypass_governance: bool = False
    ) -> FileVersion:
        """Store the setting, durably, and return the changed version; None removes the setting."""
        request = PutObjectSettingRequest(
            call.credential,
            call.bucket,
            call.key,
            call.get("VersionId"),
            name=name,
            value=value,
            bypass_governance=bypass_governance,
        )
        version: FileVersion = self._directory.call(PUT_OBJECT_SETTING, request).version
        return version
