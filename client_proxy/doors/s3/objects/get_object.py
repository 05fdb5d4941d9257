"""GetObject and HeadObject."""

from __future__ import annotations

from typing import Protocol

from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Read
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects import conditional
from client_proxy.doors.s3.objects.object_encryption import decrypted, decrypted_version, key_of, parts_of
from client_proxy.doors.s3.objects.object_lock import lock_members
from client_proxy.doors.s3.objects.object_metadata import checksums_of, etag_of, expires_of, read_values
from client_proxy.doors.s3.objects.object_write import LOCK_HEADER
from client_proxy.doors.s3.objects.part_reads import wanted_part
from client_proxy.doors.s3.objects.tagging import tags_in
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import Headers, write_reply
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.security import encryption
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.encrypted_content import Parts
from client_proxy.metrics import CONTENT_METRICS
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.conditions import wanted_range
from lockstep_store.runtime.http.content import StreamedContent, content_body
from lockstep_store.runtime.http.header_text import header_text
from lockstep_store.wire.errors import NotModified
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.uploads import VersionPart
from lockstep_store.wire.names import check_key

_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
}

# What a 304 says again (RFC 9110, 15.4.5), and which version it is about.
_NOT_MODIFIED = frozenset({"ETag", "LastModified", "CacheControl", "VersionId"})


class GetFiles(Protocol):
    """The file store as GetObject uses it."""

    def open(self, request: Read) -> OpenFile: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...


class GetHandlers:
    """GetObject and HeadObject."""

    def __init__(self, files: GetFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"GetObject": self.get, "HeadObject": self.get}

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
        body: list[bytes] | StreamedContent = []
        try:
            call.headers += _lock_headers(opened.version)
            customer = encryption.customer_key(call.values)
            key = key_of(opened.version, customer)
            parts = parts_of(self._files, call.credential, opened.version, key)
            opened = decrypted(opened, key, parts)
            version = opened.version
            try:
                conditional.check_read(version, conditional.Conditions.of(call.values))
            except NotModified:
                values = {name: value for name, value in read_values(version).items() if name in _NOT_MODIFIED}
                return RawReply(304, self._headers(call, values), [])
            values = self._read_values(call, version, key, parts) | encryption.encryption_members(
                version.metadata, customer
            )
            start, stop = self._wanted(call, version, values, parts)
            values["ContentLength"] = stop - start
            headers = self._headers(call, values)
            status = 206 if "ContentRange" in values else 200
            if call.operation.method == "HEAD":
                return RawReply(status, headers, [])
            whole = call.request.may_send_whole(stop - start)
            body = content_body(opened, start, stop, CONTENT_METRICS, whole=whole)
            return RawReply(status, headers, body)
        finally:
            if not isinstance(body, StreamedContent):
                opened.close()

    def _read_values(self, call: S3Call, version: FileVersion, key: ContentKey | None, parts: Parts) -> Values:
        values = read_values(version) | _setting_members(version.settings)
        if call.get("ChecksumMode", "").upper() == "ENABLED" and "Range" not in call.values:
            values |= checksums_of(decrypted_version(version, key, parts))
        overrides = {name: call.get(asked) for asked, name in _OVERRIDES.items() if asked in call.values}
        if (overrides or "ResponseExpires" in call.values) and call.principal.anonymous:
            raise S3Error("InvalidRequest", "response- arguments are for signed requests only")
        return values | overrides

    def _headers(self, call: S3Call, values: Values) -> Headers:
        headers, _ = write_reply(call.operation, values)
        return headers + call.headers

    def _wanted(self, call: S3Call, version: FileVersion, values: Values, parts: Parts) -> tuple[int, int]:
        """[start, stop) of the bytes to return. Adds what describes them to `values`."""
        expires = call.request.arguments.get("response-expires") or expires_of(version)
        if expires is not None:
            call.headers.append(("Expires", expires))
        if "PartNumber" in call.values:
            if "Range" in call.values:
                raise S3Error("InvalidRequest", "a range and a part number cannot both be requested")
            return wanted_part(parts, call.values["PartNumber"], version, values)
        if "Range" not in call.values:
            return 0, version.size
        part = wanted_range(call.request.environ, etag_of(version), version.created_at, version.size)
        if part is None:
            return 0, version.size
        values["ContentRange"] = f"bytes {part[0]}-{part[1] - 1}/{version.size}"
        return part


def _setting_members(settings: dict[str, str]) -> Values:
    """What a read tells of a version's tags and lock."""
    if not settings:
        return {}
    members = lock_members(settings)
    tags = tags_in(settings)
    return members | {"TagCount": len(tags)} if tags else members


def _lock_headers(version: FileVersion) -> Headers:
    """The lock on the key: its number, its holder and its end."""
    lock = version.lock
    if lock is None:
        return []
    return [
        (LOCK_HEADER, str(lock.number)),
        (f"{LOCK_HEADER}-holder", header_text(lock.holder)),
        (f"{LOCK_HEADER}-until", write_time(lock.until_at, "iso8601")),
    ]
