"""Objects: get, head, put, delete, and delete of many.

What S3 says of an object beyond its bytes is in `object_metadata`, conditions are in `conditional`.
"""

from __future__ import annotations

from typing import Any

from client_proxy.core.file_body import WHOLE_ANSWER_BYTES, FileBody
from client_proxy.core.requests import Delete, Read, Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects import conditional
from client_proxy.doors.s3.objects.object_encryption import (
    first_facts,
    key_of,
    late_facts,
    new_seal,
    parts_of,
    plain_version,
    unseal,
)
from client_proxy.doors.s3.objects.object_metadata import (
    checksums_of,
    content_facts,
    etag_of,
    expiration_of,
    expires_of,
    read_values,
    written_metadata,
)
from client_proxy.doors.s3.objects.part_reads import wanted_part
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.objects.version_settings import setting_values, written_settings
from client_proxy.doors.s3.ports import S3Files
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import write_reply
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import NULL_VERSION, check_version_id, version_id_of
from client_proxy.doors.s3.security import encryption
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.sealed_content import Parts
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.conditions import wanted_range
from lockstep_store.runtime.http.header_text import header_text
from lockstep_store.wire.errors import LockstepError, NotFound
from lockstep_store.wire.messages.files import FileVersion, Preconditions
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, RETENTION
from lockstep_store.wire.names import check_key

MAX_PUT_BYTES = 5 * 1024**3
ASK_FIRST_BYTES = 1024 * 1024
"""Larger bodies whose client waits for `100 Continue` are not asked for before the directory was."""
MAX_DELETES = 1000
LOCK_HEADER = "x-lockstep-lock"
_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
}

# What a 304 says again (RFC 9110, 15.4.5), and which version it is about.
_NOT_MODIFIED = frozenset({"ETag", "LastModified", "CacheControl", "VersionId"})


class ObjectHandlers:
    """What a bucket-and-object client uses most; kept short, because every byte passes here."""

    def __init__(self, files: S3Files) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {
            "GetObject": self.get,
            "HeadObject": self.get,
            "PutObject": self.put,
            "DeleteObject": self.delete,
            "DeleteObjects": self.delete_many,
        }

    # ------------------------------------------------------------ reading

    def get(self, call: S3Call) -> Values | RawReply:
        """GetObject and HeadObject."""
        opened = self._files.open(
            Read(
                call.credential,
                call.bucket,
                check_key(call.key),
                version=call.get("VersionId"),
                with_settings=True,
                with_lock=call.operation.method == "HEAD" and not call.principal.anonymous,
                raw=True,
            )
        )
        streaming = False
        try:
            call.headers += _lock_headers(opened.version)
            customer = encryption.customer_key(call.values)
            key = key_of(opened.version, customer)
            parts = parts_of(self._files, call.credential, opened.version, key)
            opened = unseal(opened, key, parts)
            version = opened.version
            try:
                conditional.check_read(version, conditional.Conditions.of(call.values))
            except conditional.NotModified:
                values = {name: value for name, value in read_values(version).items() if name in _NOT_MODIFIED}
                return RawReply(304, self._headers(call, values), [])
            values = self._read_values(call, version, key, parts) | encryption.said(version.metadata, customer)
            start, stop = self._wanted(call, version, values, parts)
            values["ContentLength"] = stop - start
            headers = self._headers(call, values)
            status = 206 if "ContentRange" in values else 200
            if call.operation.method == "HEAD":
                return RawReply(status, headers, [])
            if stop - start > WHOLE_ANSWER_BYTES:
                body = FileBody(opened, start, stop)
                streaming = True
                return RawReply(status, headers, body)
            whole = stop - start == version.size  # the part asked for may be an empty one
            data = opened.read_all() if whole else b"".join(opened.blocks(start, stop))
            return RawReply(status, headers, [data])
        finally:
            if not streaming:
                opened.close()

    def _read_values(self, call: S3Call, version: FileVersion, key: ContentKey | None, parts: Parts) -> Values:
        values = read_values(version) | setting_values(version.settings)
        if call.get("ChecksumMode", "").upper() == "ENABLED" and "Range" not in call.values:
            values |= checksums_of(plain_version(version, key, parts))
        overrides = {name: call.get(asked) for asked, name in _OVERRIDES.items() if asked in call.values}
        if (overrides or "ResponseExpires" in call.values) and call.principal.anonymous:
            raise S3Error("InvalidRequest", "response- arguments are for signed requests only")
        return values | overrides

    def _headers(self, call: S3Call, values: Values) -> list[tuple[str, str]]:
        headers, _ = write_reply(call.operation, values)
        return headers + call.headers

    def _wanted(self, call: S3Call, version: FileVersion, values: Values, parts: Parts) -> tuple[int, int]:
        """[start, stop) of the bytes asked for, and what the answer says of them."""
        expires = call.request.arguments.get("response-expires") or expires_of(version)
        if expires is not None:
            call.headers.append(("Expires", expires))
        if "PartNumber" in call.values:
            return wanted_part(parts, call, version, values)
        if "Range" not in call.values:
            return 0, version.size
        part = wanted_range(call.request.environ, etag_of(version), version.created_at, version.size)
        if part is None:
            return 0, version.size
        values["ContentRange"] = f"bytes {part[0]}-{part[1] - 1}/{version.size}"
        return part

    # ------------------------------------------------------------ writing

    def put(self, call: S3Call) -> Values:
        """PutObject."""
        path = check_key(call.key)
        algorithm = call.get("ChecksumAlgorithm")
        body = UploadBody(
            call.request, call.principal, checksums.by_name(algorithm) if algorithm else None, is_content=True
        )
        if body.length > MAX_PUT_BYTES:
            raise S3Error(
                "EntityTooLarge", f"one PUT takes up to {MAX_PUT_BYTES} bytes; use a multipart upload for more"
            )
        return self.save(call, path, body, size=body.length)

    def save(self, call: S3Call, path: str, body: UploadBody, *, size: int | None) -> Values:
        """Write `body` as the call's parameters say. `size` in bytes, where it is known before the end."""
        new = encryption.chosen_key(self._files, call)
        seal = new_seal(new)
        said = written_metadata(call.values, call.request.get("Expires"))
        committed = self._files.write(
            Write(
                call.credential,
                call.bucket,
                path,
                size=size,
                lock_number=lock_number(call),
                preconditions=self.preconditions(call),
                content_type=call.get("ContentType") or "binary/octet-stream",
                metadata=said | first_facts(seal, new),
                settings=self._settings(call, body),
                ask_first=body.length > ASK_FIRST_BYTES and call.request.get("Expect") is not None,
                raw=True,
            ),
            seal.blocks(body.blocks()) if seal else body.blocks(),
            lambda: late_facts(content_facts(body.md5, body.checksums), seal),
        )
        version = plain_version(committed.version, new.key if new else None, list)
        call.headers.append(("x-lockstep-copies", f"{committed.copies}/{committed.copies} fsynced"))
        values = {"ETag": f'"{etag_of(version)}"', **version_id_of(version), **checksums_of(version)}
        values |= expiration_of(version)
        return values | encryption.said(version.metadata, encryption.customer_key(call.values))

    def _settings(self, call: S3Call, body: UploadBody) -> dict[str, str]:
        settings = written_settings(call.values)
        if settings.keys() & {RETENTION, LEGAL_HOLD} and not body.is_vouched_for:
            raise S3Error(
                "InvalidRequest", "what is to be locked needs a Content-MD5 or an x-amz-checksum- header over it"
            )
        return settings

    def preconditions(self, call: S3Call) -> Preconditions:
        """What the commit shall check of the path's current version."""
        current = self._current(call, call.key) if "IfMatch" in call.values else None
        return conditional.for_commit(call.get("IfMatch"), call.get("IfNoneMatch"), current)

    def _current(self, call: S3Call, key: str) -> FileVersion | None:
        try:
            return self._files.stat(Stat(call.credential, call.bucket, key))
        except NotFound as error:
            if "path" not in error.facts:
                raise
            return None

    # ------------------------------------------------------------ deleting

    def delete(self, call: S3Call) -> Values:
        """DeleteObject."""
        wanted = (call.get("IfMatch"), call.get("IfMatchSize"), call.get("IfMatchLastModifiedTime"))
        return self._delete(call, call.key, call.get("VersionId"), self._to_delete(call, call.key, *wanted))

    def _to_delete(
        self, call: S3Call, key: str, etag: str | None, size: int | None, modified_at: float | None
    ) -> Preconditions:
        """What the deletion shall check of the key's current version."""
        if etag is None and size is None and modified_at is None:
            return Preconditions()
        current = self._current(call, check_key(key))
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
                lock_number=lock_number(call),
                preconditions=preconditions,
                mark_missing=True,
                bypass_governance=bool(call.get("BypassGovernanceRetention")),
            )
        )
        values: Values = {"DeleteMarker": True} if reply.delete_marker else {}
        if reply.version and (version is not None or reply.delete_marker):
            made = NULL_VERSION if reply.null_version else reply.version
            values["VersionId"] = made if version is None else version
        return values

    def delete_many(self, call: S3Call) -> Values:
        """DeleteObjects: each key by itself; a refusal of one is its own line in the answer."""
        wanted = call.values["Delete"]
        if not 1 <= len(wanted["Objects"]) <= MAX_DELETES:
            raise S3Error("MalformedXML", f"between 1 and {MAX_DELETES} keys can be deleted at once")
        deleted, errors = [], []
        for item in wanted["Objects"]:
            try:
                deleted.append(self._delete_one(call, item))
            except S3Error as refusal:
                errors.append(_error_line(item, refusal))
            except LockstepError as error:
                refused = as_s3_error(error, version_asked="VersionId" in item)
                if refused.code == "NoSuchBucket" or "expected" in error.facts:  # of the request, not of one key
                    raise
                errors.append(_error_line(item, refused))
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


def lock_number(call: S3Call) -> int | None:
    """The lock under which the caller writes, from x-lockstep-lock."""
    text = call.request.get(LOCK_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise S3Error("InvalidArgument", f"{LOCK_HEADER} must be a lock number", ArgumentName=LOCK_HEADER)
    return int(text)


def _lock_headers(version: FileVersion) -> list[tuple[str, str]]:
    """Who has the key locked, under which number and until when."""
    lock = version.lock
    if lock is None:
        return []
    return [
        (LOCK_HEADER, str(lock.number)),
        (f"{LOCK_HEADER}-holder", header_text(lock.holder)),
        (f"{LOCK_HEADER}-until", write_time(lock.until_at, "iso8601")),
    ]


def _error_line(item: Values, refusal: S3Error) -> Values:
    line = {"Key": item["Key"], "Code": refusal.code, "Message": refusal.message}
    if "VersionId" in item:
        line["VersionId"] = item["VersionId"]
    return line
