"""GetBucketLogging and PutBucketLogging. The directory decides where a log may go; `access_log` writes it."""

from __future__ import annotations

import json
from collections.abc import Callable

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.messages.s3 import LOGGING


class BucketLoggingHandlers:
    """Reads and changes the logging of buckets. Thread-safe; calls `changed` with each bucket that was changed."""

    def __init__(self, settings: StoredSettings, changed: Callable[[str], None]) -> None:
        self._settings = settings
        self._changed = changed

    def handlers(self) -> Handlers:
        return {"GetBucketLogging": self.get, "PutBucketLogging": self.put}

    def get(self, call: S3Call) -> Values:
        values: Values = json.loads(self._settings.of_bucket(call, LOGGING) or "{}")
        return values

    def put(self, call: S3Call) -> Values:
        enabled = call.values["BucketLoggingStatus"].get("LoggingEnabled")
        value = None
        if enabled is not None:
            if enabled.get("TargetGrants"):
                raise S3Error("NotImplemented", "TargetGrants are not supported: logs belong to the bucket's owner")
            if len(enabled.get("TargetObjectKeyFormat") or {"SimplePrefix": {}}) != 1:
                raise S3Error(
                    "MalformedXML", "a TargetObjectKeyFormat must have either a SimplePrefix or a PartitionedPrefix"
                )
            value = json.dumps({"LoggingEnabled": enabled})
        self._settings.put_of_bucket(call, LOGGING, value)
        self._changed(call.bucket)
        return {}
