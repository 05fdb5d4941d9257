"""CopyObject and RenameObject: new versions out of old ones; no byte moves unless a key changes the bytes.

The copy is one transaction at the directory. Conditions on the source are judged here, against one version, and the
directory copies only while that very version is what the source is; if not, it is looked up again. Conditions on the
target are the directory's to judge, as for any write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from client_proxy.core.requests import Copy, Read, Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects import conditional
from client_proxy.doors.s3.objects.object_encryption import (
    first_facts,
    key_of,
    new_seal,
    parts_of,
    plain_version,
    same_bytes,
    unseal,
)
from client_proxy.doors.s3.objects.object_metadata import (
    UNKNOWN_TYPE,
    checksums_of,
    content_facts,
    copied_metadata,
    etag_of,
    expiration_of,
    has_checksum,
    replaced_metadata,
    said_metadata,
    written_metadata,
)
from client_proxy.doors.s3.objects.objects import MAX_PUT_BYTES, lock_number
from client_proxy.doors.s3.objects.rewrites import Rewrite, source_key
from client_proxy.doors.s3.objects.tagging import tags_in, tags_setting
from client_proxy.doors.s3.objects.version_settings import written_settings
from client_proxy.doors.s3.ports import S3Files
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import check_version_id, version_id_of
from client_proxy.doors.s3.security.encryption import chosen_key, customer_key, said
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.named_keys import NewKey
from client_proxy.encryption.sealed_content import Parts
from lockstep_store.wire.errors import LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, Preconditions
from lockstep_store.wire.names import check_key

MAX_TRIES = 10
"""How often a source is looked up again that is overwritten under the copy's hands."""
_VERSION = re.compile(r"\?versionId=([^&]*)$")
R = TypeVar("R")


@dataclass(frozen=True)
class CopySource:
    """What is to be copied. Without `version` whatever is current."""

    bucket: str
    key: str
    version: str | None = None


def read_source(text: str, header: str = "x-amz-copy-source") -> CopySource:
    """The source that a header names: `bucket/key`, percent-encoded, with or without a slash before and
    `?versionId=` after it. S3Error when it names none."""
    found = _VERSION.search(text)
    address = text[: found.start()] if found else text
    try:
        name = unquote_to_bytes(address.encode("latin-1")).decode("utf-8")
        version = unquote_to_bytes(found[1]).decode("utf-8") if found else None
    except UnicodeError as error:
        raise _bad_source(header, "it is not UTF-8, percent-encoded") from error
    if name.startswith("arn:"):
        raise S3Error("NotImplemented", f"{header} names an access point, which this server does not have")
    bucket, _, key = name.removeprefix("/").partition("/")
    if not bucket or not key:
        raise _bad_source(header, "it must be bucket/key")
    if version is not None:
        check_version_id(version, f"{header}: versionId")
    return CopySource(bucket, check_key(key), version)


class CopyHandlers:
    """`preconditions` gives what the commit shall check of a call's target."""

    def __init__(self, files: S3Files, preconditions: Callable[[S3Call], Preconditions]) -> None:
        self._files = files
        self._preconditions = preconditions

    def handlers(self) -> Handlers:
        return {"CopyObject": self.copy, "RenameObject": self.rename}

    # ------------------------------------------------------------ copy

    def copy(self, call: S3Call) -> Values:
        """CopyObject."""
        source = read_source(call.values["CopySource"])
        path = check_key(call.key)
        return _while_overwritten(source, lambda: self._copy(call, source, path))

    def _copy(self, call: S3Call, source: CopySource, path: str) -> Values:
        version = self.source_version(call, source, with_tags=call.get("TaggingDirective") != "REPLACE")
        from_key = key_of(version, source_key(call.values))
        parts = parts_of(self._files, call.credential, version, from_key)
        _check_changes_something(call, source)
        if version.size > MAX_PUT_BYTES:
            raise S3Error(
                "InvalidRequest", f"one copy takes up to {MAX_PUT_BYTES} bytes; copy in parts by a multipart upload"
            )
        new = chosen_key(self._files, call)
        # Of a sealed source the checksums are not at hand, so who asks for another has it made of the bytes.
        if same_bytes(version.metadata, new) and not (from_key and call.get("ChecksumAlgorithm")):
            committed = self._link(call, source, version, path)
            made = plain_version(committed.version, from_key, parts)
        else:
            committed = self._rewrite(call, version, path, from_key, parts, new)
            made = plain_version(committed.version, new.key if new else None, list)
        call.headers.append(("x-lockstep-copies", f"{committed.copies}/{committed.copies} fsynced"))
        values: Values = {
            "CopyObjectResult": {
                "ETag": f'"{etag_of(made)}"',
                "LastModified": made.created_at,
                **checksums_of(made),
            },
            **version_id_of(made),
            **expiration_of(made),
            **said(made.metadata, customer_key(call.values)),
        }
        copied = version_id_of(version)
        return values | {"CopySourceVersionId": copied["VersionId"]} if copied else values

    def _link(self, call: S3Call, source: CopySource, version: FileVersion, path: str) -> CommittedReply:
        """A new version with the same content; no byte is moved."""
        replace = _replaces(call)
        return self._files.copy(
            Copy(
                call.credential,
                call.bucket,
                path,
                source_bucket=source.bucket,
                source_path=source.key,
                source_version=source.version,
                source_if_version=version.version,
                lock_number=lock_number(call),
                preconditions=self._preconditions(call),
                content_type=_content_type(call) if replace else None,
                metadata=self._metadata(call, version, replace=replace),
                settings=self._settings(call, version),
                raw=True,
            )
        )

    def _rewrite(
        self,
        call: S3Call,
        version: FileVersion,
        path: str,
        from_key: ContentKey | None,
        parts: Parts,
        new: NewKey | None,
    ) -> CommittedReply:
        """A new version whose bytes are written anew, because a key changes them."""
        replace = _replaces(call)
        opened = self._files.open(
            Read(call.credential, version.bucket, version.path, version=version.version, raw=True)
        )
        try:
            plain = unseal(opened, from_key, parts)
            seal = new_seal(new)
            known = plain_version(version, from_key, parts)
            content = Rewrite(plain.blocks(), seal, _algorithms(known, call.get("ChecksumAlgorithm")))
            kept = {} if replace else said_metadata(version, call.values)
            asked = written_metadata(call.values, call.request.get("Expires")) if replace else kept
            return self._files.write(
                Write(
                    call.credential,
                    call.bucket,
                    path,
                    size=version.size,
                    lock_number=lock_number(call),
                    preconditions=self._preconditions(call),
                    content_type=_content_type(call) if replace else version.content_type,
                    metadata=asked | first_facts(seal, new),
                    settings=self._settings(call, version),
                    raw=True,
                ),
                content.blocks(),
                content.facts,
            )
        finally:
            opened.close()

    def source_version(self, call: S3Call, source: CopySource, *, with_tags: bool = False) -> FileVersion:
        """The version to copy; S3Error unless it is there, and as the request's conditions say."""
        bucket, key = source.bucket, source.key
        try:
            version = self._files.stat(
                Stat(call.credential, bucket, key, version=source.version, with_settings=with_tags)
            )
        except LockstepError as error:
            raise as_s3_error(error, version_asked=source.version is not None) from error
        if version.delete_marker:
            raise S3Error("InvalidRequest", "the version to copy is a delete marker, which has no content")
        conditional.check_copy_source(version, conditional.Conditions.of(call.values, "CopySource"))
        return version

    def _metadata(self, call: S3Call, version: FileVersion, *, replace: bool) -> dict[str, str]:
        if replace:
            metadata = replaced_metadata(version, call.values, call.request.get("Expires"))
        else:
            metadata = copied_metadata(version, call.values)
        algorithm = call.get("ChecksumAlgorithm")
        if algorithm and not has_checksum(version, algorithm):
            metadata = {name: text for name, text in metadata.items() if not name.startswith("s3:checksum-")}
            sums = {algorithm: self._checksum(call, version, algorithm)}
            metadata |= content_facts(etag_of(version), sums)
        return metadata

    def _checksum(self, call: S3Call, version: FileVersion, algorithm: str) -> str:
        """Of the whole content, which is read once for it."""
        running = checksums.by_name(algorithm).start()
        opened = self._files.open(Read(call.credential, version.bucket, version.path, version=version.version))
        try:
            for block in opened.blocks():
                running.update(block)
        finally:
            opened.close()
        return checksums.encode(running)

    def _settings(self, call: S3Call, version: FileVersion) -> dict[str, str]:
        if call.get("TaggingDirective") == "REPLACE":
            return written_settings(call.values)
        sent = {name: value for name, value in call.values.items() if name != "Tagging"}
        return written_settings(sent) | tags_setting(tags_in(version.settings))

    # ------------------------------------------------------------ rename

    def rename(self, call: S3Call) -> Values:
        """RenameObject: the other name and the deletion of the first in one transaction."""
        source = read_source(_in_bucket(call), "x-amz-rename-source")
        if source.version is not None:
            raise S3Error("InvalidArgument", "the current version is renamed; no other can be named")
        path = check_key(call.key)
        if source.key == path:
            raise S3Error("InvalidRequest", "the object has this name already")
        return _while_overwritten(source, lambda: self._rename(call, source, path))

    def _rename(self, call: S3Call, source: CopySource, path: str) -> Values:
        try:
            version = self._files.stat(Stat(call.credential, source.bucket, source.key, with_settings=True))
        except LockstepError as error:
            raise as_s3_error(error) from error
        conditional.check_copy_source(version, conditional.Conditions.of(call.values, "Source"))
        self._files.copy(
            Copy(
                call.credential,
                call.bucket,
                path,
                source_bucket=source.bucket,
                source_path=source.key,
                move=True,
                lock_number=lock_number(call),
                preconditions=self._target_conditions(call, path),
                settings=tags_setting(tags_in(version.settings)),
                source_if_version=version.version,
            )
        )
        return {}

    def _target_conditions(self, call: S3Call, path: str) -> Preconditions:
        """What the commit shall check of the target. Its dates are judged now, and then of that very version."""
        asked = conditional.Conditions.of(call.values, "Destination")
        if asked._replace(if_none_match=None) == conditional.Conditions():
            return conditional.for_commit(None, asked.if_none_match, None)
        current = _current(self._files, call.credential, call.bucket, path)
        if current is not None:
            conditional.check_copy_source(current, asked._replace(if_match=None, if_none_match=None))
        if_match = asked.if_match or ("*" if current is not None else None)
        return conditional.for_commit(if_match, asked.if_none_match, current)


def _algorithms(version: FileVersion, asked: str | None) -> list[Algorithm]:
    """Of the checksums that a copy written anew has: the one asked for, or else the source's."""
    if asked:
        return [checksums.by_name(asked)]
    known = checksums_of(version)
    return [one for one in checksums.ALGORITHMS.values() if one.member in known]


def _replaces(call: S3Call) -> bool:
    return bool(call.get("MetadataDirective") == "REPLACE")


def _content_type(call: S3Call) -> str:
    return call.get("ContentType") or UNKNOWN_TYPE


def _check_changes_something(call: S3Call, source: CopySource) -> None:
    onto_itself = (source.bucket, source.key) == (call.bucket, call.key) and source.version is None
    changes = (
        "StorageClass",
        "WebsiteRedirectLocation",
        "ChecksumAlgorithm",
        "ServerSideEncryption",
        "SSECustomerAlgorithm",
        "CopySourceSSECustomerAlgorithm",
    )
    if onto_itself and call.get("MetadataDirective") != "REPLACE" and not any(call.get(name) for name in changes):
        raise S3Error(
            "InvalidRequest",
            "a copy onto itself must change something: the metadata, storage class, website redirect or encryption",
        )


def _while_overwritten(source: CopySource, attempt: Callable[[], R]) -> R:
    """The result of `attempt`, made again while the version that it looked up is overwritten before it is copied."""
    for _ in range(MAX_TRIES):
        try:
            return attempt()
        except NotFound as error:
            if source.version is not None or error.facts.get("bucket") != source.bucket:
                raise as_s3_error(error, version_asked=source.version is not None) from error
        except PreconditionFailed as error:
            if not error.facts.get("source"):
                raise
    raise S3Error("SlowDown", f"{source.key!r} is being overwritten all the time: try again", {"Retry-After": "1"})


def _current(files: S3Files, credential: str, bucket: str, path: str) -> FileVersion | None:
    try:
        return files.stat(Stat(credential, bucket, path))
    except NotFound as error:
        if "path" not in error.facts:
            raise
        return None


def _in_bucket(call: S3Call) -> str:
    """The source of a rename, which is in the same bucket and may or may not be said with it."""
    text: str = call.values.get("RenameSource") or ""
    rest = text.removeprefix("/")
    return rest if rest.startswith(f"{call.bucket}/") else f"{call.bucket}/{rest}"


def _bad_source(header: str, why: str) -> S3Error:
    return S3Error("InvalidArgument", f"{header} cannot be read: {why}", ArgumentName=header)
