"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from typing import Any, Protocol

from client_proxy.core.requests import Delete, Stat
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects import conditional
from client_proxy.doors.s3.objects.object_write import read_write_conditions
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import NULL_VERSION, check_version_id
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.files import DeleteReply, FileVersion, Preconditions
from lockstep_store.wire.names import check_key

MAX_DELETES = 1000


class DeleteFiles(Protocol):
    """The file store as deletions use it."""

    def stat(self, request: Stat) -> FileVersion: ...
    def delete(self, request: Delete) -> DeleteReply: ...


class DeleteHandlers:
    """DeleteObject and DeleteObjects."""

    def __init__(self, files: DeleteFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"DeleteObject": self.delete, "DeleteObjects": self.delete_many}

    def delete(self, call: S3Call) -> Values:
        """DeleteObject."""
        wanted = (call.get("IfMatch"), call.get("IfMatchSize"), call.get("IfMatchLastModifiedTime"))
        return self._delete(call, call.key, call.get("VersionId"), self._to_delete(call, call.key, *wanted))

    def _to_delete(
        self, call: S3Call, key: str, etag: str | None, size: int | None, modified_at: float | None
    ) -> Preconditions:
        """What the deletion must check of the key's current version."""
        if etag is None and size is None and modified_at is None:
            return Preconditions()
        current = conditional.current_version(self._files, call.credential, call.bucket, check_key(key))
        if current is not None:
            conditional.check_size_and_time(current, size, modified_at)
        return conditional.for_commit("*" if etag is None else etag, None, current)

    def _delete(self, call: S3Call, key: str, version: str | None, preconditions: Preconditions) -> Values:
        reply = self._files.delete(
            Delete(
                call.credential,
                call.bucket,
                check_key(key),
                version=version,
                lock_number=read_write_conditions(call).lock_number,
                preconditions=preconditions,
                mark_missing=True,
                bypass_governance=bool(call.get("BypassGovernanceRetention")),
            )
        )
        values: Values = {"DeleteMarker": True} if reply.delete_marker else {}
        if version is not None:
            values["VersionId"] = version  # also when it was gone already
        elif reply.version and reply.delete_marker:
            values["VersionId"] = NULL_VERSION if reply.null_version else reply.version
        return values

    def delete_many(self, call: S3Call) -> Values:
        """DeleteObjects: each key by itself; the error of one is its own line in the reply."""
        wanted = call.values["Delete"]
        if not 1 <= len(wanted["Objects"]) <= MAX_DELETES:
            raise S3Error("MalformedXML", f"between 1 and {MAX_DELETES} keys can be deleted at once")
        deleted, errors = [], []
        for item in wanted["Objects"]:
            try:
                deleted.append(self._delete_one(call, item))
            except S3Error as error:
                errors.append(_error_line(item, error))
            except LockstepError as error:
                mapped = as_s3_error(error, version_asked="VersionId" in item)
                if mapped.code == "NoSuchBucket" or "expected" in error.facts:  # of the request, not of one key
                    raise
                errors.append(_error_line(item, mapped))
        return {"Deleted": [] if wanted.get("Quiet") else deleted, "Errors": errors}

    def _delete_one(self, call: S3Call, item: Values) -> Values:
        key, version = item["Key"], item.get("VersionId") or None
        if version is not None:
            check_version_id(version, "VersionId")
        wanted = (item.get("ETag"), item.get("Size"), item.get("LastModifiedTime"))
        conditions = self._to_delete(call, key, *wanted)
        done = self._delete(call, key, version, conditions)
        line: dict[str, Any] = {"Key": key}
        if version is not None:
            line["VersionId"] = version
        if done.get("DeleteMarker"):
            line |= {"DeleteMarker": True, "DeleteMarkerVersionId": done.get("VersionId")}
        return line


def _error_line(item: Values, error: S3Error) -> Values:
    line = {"Key": item["Key"], "Code": error.code, "Message": error.message}
    if "VersionId" in item:
        line["VersionId"] = item["VersionId"]
    return line
