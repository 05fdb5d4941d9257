"""BucketSetting: one setting of a bucket, which the directory stores as JSON.

The directory decides who may read and change it, and which values are valid.
"""

from __future__ import annotations

import json
from typing import Any

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.wire.messages.s3 import (
    BUCKET_SETTING,
    PUT_BUCKET_SETTING,
    BucketSettingRequest,
    PutBucketSettingRequest,
)


class BucketSetting:
    """The setting `name` of any bucket. Thread-safe.

    Every method raises the directory's errors: NotFound, Forbidden, or BadRequest for an invalid value.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name

    def read(self, request: RestRequest) -> Any:
        """The value for the bucket in the request's address; None if it does not have the setting."""
        asked = BucketSettingRequest(request.access(), request.bucket(), self._name)
        value = self._directory.call(BUCKET_SETTING, asked).value
        return None if value is None else json.loads(value)

    def put(self, credential: str, bucket: str, value: Any) -> None:
        """Store the value, durably; None removes the setting."""
        text = None if value is None else json.dumps(value)
        self._directory.call(PUT_BUCKET_SETTING, PutBucketSettingRequest(credential, bucket, self._name, text))
