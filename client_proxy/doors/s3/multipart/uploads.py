"""CreateMultipartUpload and AbortMultipartUpload, and what every operation on an upload shares."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol, TypeVar

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.object_metadata import CHECKSUM_ALGORITHM, CHECKSUM_TYPE
from client_proxy.doors.s3.objects.object_write import read_new_version
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import encryption_members
from client_proxy.encryption.named_keys import NamedKeyClient
from lockstep_store.wire.messages.uploads import (
    ABORT_UPLOAD,
    CREATE_UPLOAD,
    CreateUploadRequest,
    UploadInfo,
    UploadRequest,
)
from lockstep_store.wire.names import check_key

MAX_UPLOAD_ID = 48
R = TypeVar("R", bound=UploadRequest)


class HasKeys(Protocol):
    """The file store as CreateMultipartUpload uses it."""

    @property
    def keys(self) -> NamedKeyClient: ...


class UploadHandlers:
    """CreateMultipartUpload and AbortMultipartUpload. `now` is seconds since 1970."""

    def __init__(self, files: HasKeys, directory: Directory, now: Callable[[], float]) -> None:
        self._files = files
        self._directory = directory
        self._now = now

    def handlers(self) -> Handlers:
        return {"CreateMultipartUpload": self.create, "AbortMultipartUpload": self.abort}

    def create(self, call: S3Call) -> Values:
        """CreateMultipartUpload: stores everything that the version will have apart from its bytes."""
        path, version = check_key(call.key), read_new_version(call)
        metadata = version.metadata | _checksum_metadata(version.checksum, call.get("ChecksumType"))
        new = version.encryption.new_key(self._files.keys, call.bucket, call.credential)
        if new is not None:
            metadata |= new.key.new_metadata() | new.metadata
        made: UploadInfo = self._directory.call(
            CREATE_UPLOAD,
            CreateUploadRequest(
                credential=call.credential,
                bucket=call.bucket,
                path=path,
                # Rises with time, so that listings are by age; the rest cannot be guessed.
                upload=f"{int(self._now() * 1_000_000):014x}{secrets.token_hex(16)}",
                content_type=version.content_type,
                metadata=metadata,
                settings=version.settings,
            ),
        )
        values: Values = {"Bucket": call.bucket, "Key": call.key, "UploadId": made.id}
        values |= abort_members(made) | checksum_members(made)
        return values | encryption_members(made.metadata, version.encryption.customer_key)

    def abort(self, call: S3Call) -> Values:
        """AbortMultipartUpload."""
        if "IfMatchInitiatedTime" in call.values:
            raise S3Error("NotImplemented", "x-amz-if-match-initiated-time is not supported: name the upload by its id")
        self._directory.call(ABORT_UPLOAD, upload_request(UploadRequest, call))
        return {}


def upload_request(kind: type[R], call: S3Call) -> R:
    """A request to the directory about the call's upload."""
    return kind(call.credential, call.bucket, check_key(call.key), upload_id(call))


def upload_id(call: S3Call) -> str:
    """The call's UploadId, cut to the length that the directory accepts. A longer id remains unknown.

    The directory must see every id: people without access to the bucket must not learn which uploads it has.
    """
    text: str = call.values["UploadId"]
    return text[:MAX_UPLOAD_ID] or "-"


def abort_members(upload: UploadInfo) -> Values:
    """The members `AbortDate` and `AbortRuleId`, where the bucket's lifecycle aborts the upload."""
    goes = upload.aborted
    return {} if goes is None else {"AbortDate": goes.at, "AbortRuleId": goes.rule}


def checksum_members(upload: UploadInfo) -> Values:
    """The members `ChecksumAlgorithm` and `ChecksumType`, where the upload was created with them."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return {} if name is None else {"ChecksumAlgorithm": name, "ChecksumType": upload.metadata[CHECKSUM_TYPE]}


def _checksum_metadata(algorithm: Algorithm | None, kind: str | None) -> dict[str, str]:
    """The metadata that states which checksums the parts have, and how the whole content's is made of them."""
    if algorithm is None:
        if kind is not None:
            raise S3Error("InvalidRequest", "x-amz-checksum-type needs an x-amz-checksum-algorithm")
        return {}
    kind = kind or ("FULL_OBJECT" if algorithm.name == "CRC64NVME" else "COMPOSITE")
    if kind == "FULL_OBJECT" and algorithm.combine is None:
        raise S3Error("InvalidRequest", f"{algorithm.name} has no FULL_OBJECT form for multipart uploads")
    if kind == "COMPOSITE" and algorithm.name == "CRC64NVME":
        raise S3Error("InvalidRequest", "CRC64NVME has no COMPOSITE form")
    return {CHECKSUM_ALGORITHM: algorithm.name, CHECKSUM_TYPE: kind}
