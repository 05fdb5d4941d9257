"""The settings of buckets and versions as they are kept: at the directory, which decides who may read and change them.

What a setting means, and which values are good, is for the module that has its handlers.
"""

from __future__ import annotations

from client_proxy.core.ports import Directory
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
    """Reads and changes the settings of a call's own bucket or version, as its caller. Thread-safe.

    Every method raises what the directory refuses: NotFound, Forbidden, or BadRequest for a value that it checks.
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
        """None removes the setting. Durable on return."""
        request = PutBucketSettingRequest(call.credential, call.bucket, name, value)
        self._directory.call(PUT_BUCKET_SETTING, request)

    def of_version(self, call: S3Call) -> ObjectSettingsReply:
        """The version that the call names, else the current one, with all its settings; it may be a delete marker."""
        request = ObjectSettingsRequest(call.credential, call.bucket, call.key, call.get("VersionId"))
        reply: ObjectSettingsReply = self._directory.call(OBJECT_SETTINGS, request)
        return reply

    def put_of_version(
        self, call: S3Call, name: str, value: str | None, *, bypass_governance: bool = False
    ) -> FileVersion:
        """None removes the setting. Durable on return; gives the version that was changed."""
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
