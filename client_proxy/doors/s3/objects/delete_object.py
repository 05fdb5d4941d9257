"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from collections.abc import Sequence
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
    def delete_many(self, requests: Sequence[Delete]) -> list[DeleteReply | LockstepError]: ...


class DeleteHandlers:
    """DeleteObject and DeleteObjects."""

    def __init__(self, files: DeleteFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"DeleteObject": self.delete, "DeleteObjects": self.delete_many}

    def delete(self, call: S3Call) -> Values:
        """DeleteObject."""
        wanted = (call.get("IfMatch"), call.get("IfMatchSize"), call.get("IfMatchLastModifiedTime"))
        version = call.get("VersionId")
        reply = self._files.delete(self._request(call, call.key, version, self._to_delete(call, call.key, *wanted)))
        return _reply_values(version, reply)

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

    def _request(self, call: S3Call, key: str, version: str | None, preconditions: Preconditions) -> Delete:
        return Delete(
            call.credential,
            call.bucket,
            check_key(key),
            version=version,
            lock_number=read_write_conditions(call).lock_number,
            preconditions=preconditions,
            mark_missing=True,
            bypass_governance=bool(call.get("BypassGovernanceRetention")),
        )

    def delete_many(self, call: S3Call) -> Values:
        """DeleteObjects: one call for all keys; an error of one appears in the reply and does not fail the others."""
        wanted = call.values["Delete"]
        items = wanted["Objects"]
        if not 1 <= len(items) <= MAX_DELETES:
            raise S3Error("MalformedXML", f"between 1 and {MAX_DELETES} keys can be deleted at once")
        checked = [self._checked(call, item) for item in items]
        replies = iter(self._files.delete_many([request for request in checked if isinstance(request, Delete)]))
        deleted, errors = [], []
        for item, request in zip(items, checked, strict=True):
            result = next(replies) if isinstance(request, Delete) else request
            if isinstance(result, DeleteReply):
                deleted.append(_deleted_line(item, result))
            else:
                errors.append(_error_line(item, _of_one_key(item, result)))
        return {"Deleted": [] if wanted.get("Quiet") else deleted, "Errors": errors}

    def _checked(self, call: S3Call, item: Values) -> Delete | LockstepError | S3Error:
        key, version = item["Key"], item.get("VersionId") or None
        wanted = (item.get("ETag"), item.get("Size"), item.get("LastModifiedTime"))
        try:
            if version is not None:
                check_version_id(version, "VersionId")
            return self._request(call, key, version, self._to_delete(call, key, *wanted))
        except (S3Error, LockstepError) as error:
            return error


def _of_one_key(item: Values, error: LockstepError | S3Error) -> S3Error:
    """The error of one key's line; raises one that is of the whole request."""
    if isinstance(error, S3Error):
        return error
    mapped = as_s3_error(error, version_asked="VersionId" in item)
    if mapped.code == "NoSuchBucket" or "expected" in error.facts:
        raise error
    return mapped


def _reply_values(version: str | None, reply: DeleteReply) -> Values:
    values: Values = {"DeleteMarker": True} if reply.delete_marker else {}
    if version is not None:
        values["VersionId"] = version  # also when it was gone already
    elif reply.version and reply.delete_marker:
        values["VersionId"] = NULL_VERSION if reply.null_version else reply.version
    return values


def _deleted_line(item: Values, reply: DeleteReply) -> Values:
    version = item.get("VersionId") or None
    done = _reply_values(version, reply)
    line: dict[str, Any] = {"Key": item["Key"]}
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
