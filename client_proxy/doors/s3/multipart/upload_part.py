"""UploadPart and UploadPartCopy: parts sent, or copied from a range of an object.

A part is stored like any other content, in as many copies and flushed, before the reply. It becomes visible only with
the version that its upload is completed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from client_proxy.core.blob_writer import TrailingMetadata
from client_proxy.core.composition import Stored
from client_proxy.core.directory_calls import Directory
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Compose, Read, Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.multipart.chosen_parts import checksum_algorithm
from client_proxy.doors.s3.multipart.uploads import upload_id
from client_proxy.doors.s3.objects.body_checks import BodyChecks, check_unlocked, read_body_checks
from client_proxy.doors.s3.objects.conditional import Conditions
from client_proxy.doors.s3.objects.copy_source import read_source, source_key, source_version
from client_proxy.doors.s3.objects.object_encryption import PartEncryptor, decrypted, key_of, parts_of, upload_key
from client_proxy.doors.s3.objects.object_metadata import (
    OWN,
    checksums_of,
    content_metadata,
    etag_of,
    has_checksum,
    sums_in,
)
from client_proxy.doors.s3.objects.rewrites import Rewrite
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import copies_header
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.security.encryption import CustomerKey, customer_key, encryption_members
from client_proxy.encryption.content_keys import ContentKey
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, Holder
from lockstep_store.wire.messages.uploads import (
    UPLOAD_PARTS,
    UploadInfo,
    UploadPartsReply,
    UploadPartsRequest,
    VersionPart,
)
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER, UploadStep
from lockstep_store.wire.names import check_key

MAX_PART_BYTES = 5 * 1024**3
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


class PartFiles(Protocol):
    """The file store as parts are written through it."""

    def stat(self, request: Stat) -> FileVersion: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...
    def open(self, request: Read) -> OpenFile: ...
    def write(
        self, request: Write, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = ...
    ) -> CommittedReply: ...
    def compose(self, request: Compose, contents: Sequence[Stored]) -> CommittedReply: ...


class PartWrite(msgspec.Struct, frozen=True):
    """A part to write: of which upload, under which number, perhaps with a key."""

    credential: str
    bucket: str
    path: str
    step: UploadStep
    customer_key: CustomerKey | None


class CopiedRange(NamedTuple):
    """[start, stop) of a version's content, and the key that decrypts it."""

    version: FileVersion
    start: int
    stop: int
    key: ContentKey | None

    @property
    def is_whole(self) -> bool:
        return (self.start, self.stop) == (0, self.version.size)


def read_part_write(call: S3Call) -> PartWrite:
    """The part that a call writes."""
    number = call.values["PartNumber"]
    if not 1 <= number <= MAX_PART_NUMBER:
        raise S3Error(
            "InvalidArgument",
            f"a part's number must be 1 to {MAX_PART_NUMBER}",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    step = UploadStep(upload_id(call), number)
    return PartWrite(call.credential, call.bucket, check_key(call.key), step, customer_key(call.values))


class PartHandlers:
    """UploadPart and UploadPartCopy."""

    def __init__(self, files: PartFiles, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def handlers(self) -> Handlers:
        return {"UploadPart": self.put, "UploadPartCopy": self.copy}

    # ------------------------------------------------------------ sent

    def put(self, call: S3Call) -> Values:
        """UploadPart."""
        write = read_part_write(call)
        upload, key = self._upload(write)
        checks = read_body_checks(call.request, call.principal, needs_length=True)
        if not checks.has_checksum:
            check_unlocked(upload.settings)
        algorithm = _algorithm(checks, upload)
        if checks.length > MAX_PART_BYTES:
            raise S3Error("EntityTooLarge", f"a part may have at most {MAX_PART_BYTES} bytes")
        body = UploadBody(call.request.read, checks, algorithm)
        encryptor = PartEncryptor(upload, write.step.part, key) if key else None
        blocks = body.blocks()

        def trailing_metadata() -> dict[str, str]:
            metadata = content_metadata(body.md5, body.checksums)
            return encryptor.trailing_metadata(metadata) if encryptor else metadata

        committed = self._files.write(
            _write(write, body.length, encryptor, unchecked=not checks.has_checksum),
            encryptor.blocks(blocks) if encryptor else blocks,
            trailing_metadata,
        )
        call.headers.append(copies_header(committed.copies))
        return {
            "ETag": f'"{etag_of(committed.version)}"',
            **{one.member: body.checksums[one.name] for one in checks.algorithms or [algorithm]},
            **encryption_members(upload.metadata, write.customer_key),
        }

    def _upload(self, write: PartWrite) -> tuple[UploadInfo, ContentKey | None]:
        """The upload, and the key of its parts."""
        request = UploadPartsRequest(write.credential, write.bucket, write.path, write.step.id, limit=0)
        reply: UploadPartsReply = self._directory.call(UPLOAD_PARTS, request)
        return reply.upload, upload_key(reply, write.customer_key)

    # ------------------------------------------------------------ copied

    def copy(self, call: S3Call) -> Values:
        """UploadPartCopy: a whole version, or a range of it."""
        write = read_part_write(call)
        source = read_source(call.values["CopySource"])
        upload, key = self._upload(write)
        version = source_version(self._files, call.credential, source, Conditions.of(call.values, "CopySource"))
        from_key = key_of(version, source_key(call.values))
        start, stop = _read_range(call.get("CopySourceRange"), version.size)
        if stop - start > MAX_PART_BYTES:
            raise S3Error("InvalidRequest", f"a part may have at most {MAX_PART_BYTES} bytes; copy a smaller range")
        content = CopiedRange(version, start, stop, from_key)
        algorithm = checksum_algorithm(upload)
        if content.is_whole and from_key is None and key is None and _is_known(version, algorithm):
            made = self._link(write, version, algorithm or checksums.DEFAULT).version
        else:
            encryptor = PartEncryptor(upload, write.step.part, key) if key else None
            made = self._copy_bytes(write, content, encryptor, algorithm or checksums.DEFAULT).version
        values: Values = {"CopyPartResult": {"LastModified": made.created_at, **_part_members(made, key)}}
        values |= encryption_members(upload.metadata, write.customer_key)
        copied = version_id_of(version)
        return values | {"CopySourceVersionId": copied["VersionId"]} if copied else values

    def _link(self, write: PartWrite, version: FileVersion, algorithm: Algorithm) -> CommittedReply:
        """Link a whole version, of which no byte is read: its MD5 and the checksum that the upload needs are known."""
        sums = {}
        if has_checksum(version, algorithm.name):
            sums[algorithm.name] = checksums_of(version)[algorithm.member]

        def holders_now() -> list[Holder]:
            lookup = Stat(write.credential, version.bucket, version.path, version=version.version)
            return self._files.stat(lookup).holders

        stored = Stored(repr(version.path), version.digest, version.size, version.holders, holders_now)
        return self._files.compose(
            Compose(
                write.credential,
                write.bucket,
                write.path,
                upload=write.step,
                metadata=content_metadata(etag_of(version), sums),
            ),
            [stored],
        )

    def _copy_bytes(
        self, write: PartWrite, content: CopiedRange, encryptor: PartEncryptor | None, algorithm: Algorithm
    ) -> CommittedReply:
        """Copy through the proxy, because a range is cut into other chunks and its MD5 must be computed."""
        version, key = content.version, content.key
        opened = self._files.open(
            Read(write.credential, version.bucket, version.path, version=version.version, raw=True)
        )
        try:
            plain = decrypted(opened, key, parts_of(self._files, write.credential, version, key))
            blocks = plain.blocks(content.start, content.stop)
            rewrite = Rewrite(blocks, encryptor, [algorithm])
            return self._files.write(
                _write(write, content.stop - content.start, encryptor), rewrite.blocks(), rewrite.trailing_metadata
            )
        finally:
            opened.close()


def _write(write: PartWrite, size: int, encryptor: PartEncryptor | None, *, unchecked: bool = False) -> Write:
    return Write(
        write.credential,
        write.bucket,
        write.path,
        size=size,
        upload=write.step,
        metadata=encryptor.metadata if encryptor else {},
        unchecked=unchecked,
        raw=True,
    )


def _algorithm(checks: BodyChecks, upload: UploadInfo) -> Algorithm:
    """Return the algorithm of every part's checksum; S3Error when the part was sent with another one."""
    wanted = checksum_algorithm(upload)
    for sent in checks.algorithms:
        if wanted is not None and sent is not wanted:
            raise S3Error(
                "InvalidRequest",
                f"the upload was created with {wanted.name} checksums, but the part has a {sent.name} checksum",
            )
    return wanted or checksums.DEFAULT


def _read_range(text: str | None, size: int) -> tuple[int, int]:
    """Return [start, stop) of the bytes to copy."""
    if text is None:
        return 0, size
    found = _RANGE.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise S3Error(
            "InvalidArgument",
            "x-amz-copy-source-range must be bytes=first-last, both counted from 0",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text[:128],
        )
    start, last = int(found[1]), int(found[2])
    if last >= size:
        raise S3Error(
            "InvalidArgument",
            f"the source has {size} bytes; the range {start} to {last} is not within them",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    return start, last + 1


def _is_known(version: FileVersion, algorithm: Algorithm | None) -> bool:
    """Whether a version's MD5, and the checksum that the part needs, are known without reading it."""
    etag = version.metadata.get(f"{OWN}etag", "-")
    return "-" not in etag and (algorithm is None or has_checksum(version, algorithm.name))


def _part_members(part: FileVersion, key: ContentKey | None) -> Values:
    """The members by which the replies of writes describe a part."""
    return {"ETag": f'"{etag_of(part)}"', **sums_in(key.decrypted(part.metadata) if key else part.metadata)}
