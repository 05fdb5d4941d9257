"""Parts of multipart uploads: sent, or copied from a range of what is there already.

A part is stored like any other content, in as many copies and flushed, before it is answered; it becomes visible only
with the version that its upload is completed to.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from client_proxy.core.composition import Stored
from client_proxy.core.ports import Directory
from client_proxy.core.requests import Compose, Read, Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.multipart.chosen_parts import checksum_algorithm
from client_proxy.doors.s3.multipart.multipart import upload_id
from client_proxy.doors.s3.objects.copies import CopySource, read_source
from client_proxy.doors.s3.objects.object_encryption import key_of, late_facts, part_seal, parts_of, unseal, upload_key
from client_proxy.doors.s3.objects.object_metadata import (
    OWN,
    checksums_of,
    content_facts,
    etag_of,
    has_checksum,
    sums_in,
)
from client_proxy.doors.s3.objects.rewrites import Rewrite, source_key
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.ports import S3Files
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.security.encryption import customer_key, said
from client_proxy.encryption.content_keys import ContentKey
from client_proxy.encryption.sealed_content import Seal
from lockstep_store.wire.messages.files import MAX_PART_NUMBER, CommittedReply, FileVersion, Holder, UploadStep
from lockstep_store.wire.messages.uploads import UPLOAD_PARTS, UploadInfo, UploadPartsReply, UploadPartsRequest
from lockstep_store.wire.names import check_key

MAX_PART_BYTES = 5 * 1024**3
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")
SourceVersion = Callable[[S3Call, CopySource], FileVersion]


class PartHandlers:
    """`source_version` gives the version that a copy names, if it is as the request's conditions say."""

    def __init__(self, files: S3Files, directory: Directory, source_version: SourceVersion) -> None:
        self._files = files
        self._directory = directory
        self._source_version = source_version

    def handlers(self) -> Handlers:
        return {"UploadPart": self.put, "UploadPartCopy": self.copy}

    # ------------------------------------------------------------ sent

    def put(self, call: S3Call) -> Values:
        """UploadPart."""
        step, path = _step(call), check_key(call.key)
        told = self._upload(call)
        upload, key = told.upload, upload_key(told, customer_key(call.values))
        seal = part_seal(upload, step.part, key)
        algorithm = _algorithm(call.request, upload, call.get("ChecksumAlgorithm"))
        body = UploadBody(call.request, call.principal, algorithm, is_content=True)
        if body.length > MAX_PART_BYTES:
            raise S3Error("EntityTooLarge", f"a part has at most {MAX_PART_BYTES} bytes")
        committed = self._files.write(
            Write(
                call.credential,
                call.bucket,
                path,
                size=body.length,
                upload=step,
                metadata=seal.metadata if seal else {},
                raw=True,
            ),
            seal.blocks(body.blocks()) if seal else body.blocks(),
            lambda: late_facts(content_facts(body.md5, body.checksums), seal),
        )
        call.headers.append(("x-lockstep-copies", f"{committed.copies}/{committed.copies} fsynced"))
        return _said(committed.version, key) | said(upload.metadata, customer_key(call.values))

    def _upload(self, call: S3Call) -> UploadPartsReply:
        request = UploadPartsRequest(call.credential, call.bucket, call.key, upload_id(call), limit=0)
        told: UploadPartsReply = self._directory.call(UPLOAD_PARTS, request)
        return told

    # ------------------------------------------------------------ copied

    def copy(self, call: S3Call) -> Values:
        """UploadPartCopy: of a whole version, or of a range of it."""
        step = _step(call)
        source = read_source(call.values["CopySource"])
        told = self._upload(call)
        upload, to_key = told.upload, upload_key(told, customer_key(call.values))
        version = self._source_version(call, source)
        from_key = key_of(version, source_key(call.values))
        start, stop = _copied_range(call.get("CopySourceRange"), version.size)
        if stop - start > MAX_PART_BYTES:
            raise S3Error("InvalidRequest", f"a part has at most {MAX_PART_BYTES} bytes; copy a smaller range")
        algorithm = checksum_algorithm(upload)
        whole = (start, stop) == (0, version.size)
        if whole and from_key is None and to_key is None and _is_known(version, algorithm):
            made = self._link(call, step, version, algorithm).version
        else:
            seal = part_seal(upload, step.part, to_key)
            made = self._copy_bytes(call, step, version, from_key, start, stop, seal, algorithm).version
        values: Values = {"CopyPartResult": {"LastModified": made.created_at, **_said(made, to_key)}}
        values |= said(upload.metadata, customer_key(call.values))
        copied = version_id_of(version)
        return values | {"CopySourceVersionId": copied["VersionId"]} if copied else values

    def _link(
        self, call: S3Call, step: UploadStep, version: FileVersion, algorithm: Algorithm | None
    ) -> CommittedReply:
        """All of a version whose MD5 is known: no byte is read."""
        sums = {algorithm.name: checksums_of(version)[algorithm.member]} if algorithm is not None else {}

        def holders_now() -> list[Holder]:
            return self._files.stat(
                Stat(call.credential, version.bucket, version.path, version=version.version)
            ).holders

        stored = Stored(repr(version.path), version.digest, version.size, version.holders, holders_now)
        return self._files.compose(
            Compose(
                call.credential,
                call.bucket,
                check_key(call.key),
                upload=step,
                metadata=content_facts(etag_of(version), sums),
            ),
            [stored],
        )

    def _copy_bytes(
        self,
        call: S3Call,
        step: UploadStep,
        version: FileVersion,
        from_key: ContentKey | None,
        start: int,
        stop: int,
        seal: Seal | None,
        algorithm: Algorithm | None,
    ) -> CommittedReply:
        """A range is cut anew, and its MD5 must be made: the bytes pass through here, nothing more."""
        opened = self._files.open(
            Read(call.credential, version.bucket, version.path, version=version.version, raw=True)
        )
        try:
            plain = unseal(opened, from_key, parts_of(self._files, call.credential, version, from_key))
            content = Rewrite(plain.blocks(start, stop), seal, [algorithm] if algorithm else [])
            return self._files.write(
                Write(
                    call.credential,
                    call.bucket,
                    check_key(call.key),
                    size=stop - start,
                    upload=step,
                    metadata=seal.metadata if seal else {},
                    raw=True,
                ),
                content.blocks(),
                content.facts,
            )
        finally:
            opened.close()


def _step(call: S3Call) -> UploadStep:
    number = call.values["PartNumber"]
    if not 1 <= number <= MAX_PART_NUMBER:
        raise S3Error(
            "InvalidArgument",
            f"a part's number is 1 to {MAX_PART_NUMBER}",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    return UploadStep(upload_id(call), number)


def _algorithm(request: S3Request, upload: UploadInfo, asked: str | None) -> Algorithm | None:
    """The algorithm of a part's checksum: the upload's own; S3Error when the part comes with another."""
    wanted = checksum_algorithm(upload)
    announced = [name.strip().lower() for name in (request.get("x-amz-trailer") or "").split(",")]
    for sent in checksums.ALGORITHMS.values():
        comes = request.get(sent.header) is not None or sent.header in announced
        if comes and wanted is not None and sent is not wanted:
            raise S3Error(
                "InvalidRequest",
                f"the upload was begun with checksums by {wanted.name}, and this part comes with one by {sent.name}",
            )
    return wanted or (checksums.by_name(asked) if asked else None)


def _copied_range(text: str | None, size: int) -> tuple[int, int]:
    """[start, stop) of what is to be copied."""
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
            "InvalidRange",
            f"the bytes {start} to {last} are not within the source's {size}",
            ActualObjectSize=str(size),
            RangeRequested=text,
        )
    return start, last + 1


def _is_known(version: FileVersion, algorithm: Algorithm | None) -> bool:
    """Whether what S3 says of a part is known of a whole version: its MD5, and the checksum that is asked for."""
    etag = version.metadata.get(f"{OWN}etag", "-")
    return "-" not in etag and (algorithm is None or has_checksum(version, algorithm.name))


def _said(part: FileVersion, key: ContentKey | None) -> Values:
    """Of a part in the shape in which writes answer, under the upload's `key`."""
    return {"ETag": f'"{etag_of(part)}"', **sums_in(key.opened(part.metadata) if key else part.metadata)}
