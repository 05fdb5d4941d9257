"""Multipart uploads: begun, completed, aborted.

Completing moves no bytes: the directory says what the parts are, their manifests are put one after the other, and the
directory makes the version in the transaction that ends the upload. The write is named after the upload, so whoever
completes again, because an answer was lost, hears the same answer: for as long as the version exists, and for a day
after it is gone. What a part is sent as is `upload_parts`' business.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec

from client_proxy.core.composition import Stored
from client_proxy.core.ports import Directory
from client_proxy.core.requests import Compose, Stat
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.multipart.chosen_parts import (
    bare_etag,
    checksum_members,
    choose,
    kept_facts,
    named_parts,
    whole_etag,
)
from client_proxy.doors.s3.objects.object_encryption import (
    is_sealed,
    key_of,
    needs_customer_key,
    parts_of,
    plain_part,
    plain_version,
    upload_key,
)
from client_proxy.doors.s3.objects.object_metadata import (
    CHECKSUM_ALGORITHM,
    CHECKSUM_TYPE,
    OWN,
    checksums_of,
    etag_of,
    expiration_of,
    written_metadata,
)
from client_proxy.doors.s3.objects.objects import lock_number
from client_proxy.doors.s3.objects.version_settings import written_settings
from client_proxy.doors.s3.ports import S3Files
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.security.encryption import chosen_key, customer_key, said
from client_proxy.encryption.content_keys import ContentKey
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound
from lockstep_store.wire.messages.files import FileVersion, Holder, Preconditions, UploadStep
from lockstep_store.wire.messages.kms import KMS_FACT
from lockstep_store.wire.messages.uploads import (
    ABORT_UPLOAD,
    CREATE_UPLOAD,
    UPLOAD_PARTS,
    CreateUploadRequest,
    PartInfo,
    UploadInfo,
    UploadPartsReply,
    UploadPartsRequest,
    UploadRequest,
)
from lockstep_store.wire.names import check_key

MAX_UPLOAD_ID = 48
_ATTEMPTS = 3
"""A part that is sent again while the upload is completed makes one more look necessary."""


R = TypeVar("R", bound=UploadRequest)


class MultipartHandlers:
    """`preconditions` makes of a write's conditions what the commit shall check; `now` is seconds since 1970."""

    def __init__(
        self,
        files: S3Files,
        directory: Directory,
        preconditions: Callable[[S3Call], Preconditions],
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._directory = directory
        self._preconditions = preconditions
        self._now = now

    def handlers(self) -> Handlers:
        return {
            "CreateMultipartUpload": self.create,
            "CompleteMultipartUpload": self.complete,
            "AbortMultipartUpload": self.abort,
        }

    def create(self, call: S3Call) -> Values:
        """CreateMultipartUpload: everything that the version shall say apart from its bytes."""
        algorithm, kind = _wanted_checksum(call)
        facts = written_metadata(call.values, call.request.get("Expires"))
        if algorithm is not None:
            facts |= {CHECKSUM_ALGORITHM: algorithm.name, CHECKSUM_TYPE: kind}
        new = chosen_key(self._files, call)
        if new is not None:
            facts |= new.key.new_facts() | new.facts
        made: UploadInfo = self._directory.call(
            CREATE_UPLOAD,
            CreateUploadRequest(
                credential=call.credential,
                bucket=call.bucket,
                path=check_key(call.key),
                # Rises with time, so that listings are by age; the rest nobody can guess.
                upload=f"{int(self._now() * 1_000_000):014x}{secrets.token_hex(16)}",
                content_type=call.get("ContentType") or "binary/octet-stream",
                metadata=facts,
                settings=written_settings(call.values),
            ),
        )
        values: Values = {"Bucket": call.bucket, "Key": call.key, "UploadId": made.id}
        values |= abort_members(made) | checksum_members(made)
        return values | said(made.metadata, customer_key(call.values))

    def abort(self, call: S3Call) -> Values:
        """AbortMultipartUpload."""
        self._directory.call(ABORT_UPLOAD, _request(UploadRequest, call))
        return {}

    # ------------------------------------------------------------ completing

    def complete(self, call: S3Call) -> Values:
        """CompleteMultipartUpload."""
        named = named_parts(call)
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                return self._complete(call, named)
            except Conflict:
                if not attempts_left:
                    raise
        raise AssertionError("unreachable")

    def _complete(self, call: S3Call, named: Sequence[Values]) -> Values:
        id = upload_id(call)
        try:
            told, parts = self._all_parts(call)
        except NotFound as error:
            if "upload" not in error.facts:
                raise
            return self._completed_before(call, named)
        upload, key = told.upload, _completing_key(call, told, named)
        choice = choose(call, upload, {number: plain_part(part, key) for number, part in parts.items()}, named)
        numbers, mark = choice.step_mark
        committed = self._files.compose(
            Compose(
                call.credential,
                call.bucket,
                call.key,
                upload=UploadStep(id, chosen=numbers, mark=mark),
                write_id=_write_id(id),
                lock_number=lock_number(call),
                preconditions=self._preconditions(call),
                metadata=kept_facts(choice.facts) if is_sealed(upload) else choice.facts,
            ),
            [self._stored(call, part) for part in choice.parts],
        )
        if etag_of(committed.version) != choice.facts[f"{OWN}etag"]:  # another completion, of other parts, was first
            raise _no_such_upload(id)
        call.headers.append(("x-lockstep-copies", f"{committed.copies}/{committed.copies} fsynced"))
        made = committed.version
        return _answer(call, msgspec.structs.replace(made, metadata=made.metadata | choice.facts))

    def _completed_before(self, call: S3Call, named: Sequence[Values]) -> Values:
        """The answer of a completion of just these parts that was done; NoSuchUpload when there was none."""
        id = upload_id(call)
        version = self._files.composed_before(
            Compose(call.credential, call.bucket, call.key, upload=UploadStep(id), write_id=_write_id(id))
        )
        if version is None or etag_of(version) != whole_etag([bare_etag(part["ETag"]) for part in named]):
            raise _no_such_upload(id)
        return _answer(call, self._with_checksum(call, version))

    def _with_checksum(self, call: S3Call, version: FileVersion) -> FileVersion:
        """A version that was completed before, with the checksum that is made of its parts' when there is a key; and
        without it when the version is gone, or only whoever may read could have it made."""
        customer = customer_key(call.values)
        if KMS_FACT not in version.metadata and customer is None:
            return version
        try:
            found = self._files.stat(Stat(call.credential, call.bucket, call.key, version=version.version))
            key = key_of(found, customer)
            return plain_version(found, key, parts_of(self._files, call.credential, found, key))
        except (NotFound, Forbidden):
            return version

    def _all_parts(self, call: S3Call) -> tuple[UploadPartsReply, dict[int, PartInfo]]:
        found: dict[int, PartInfo] = {}
        after = 0
        while True:
            request = _request(UploadPartsRequest, call)
            request.after, request.with_holders = after, True
            reply = self._directory.call(UPLOAD_PARTS, request)
            found |= {part.number: part for part in reply.parts}
            if not reply.truncated:
                return reply, found
            after = reply.parts[-1].number

    def _stored(self, call: S3Call, part: PartInfo) -> Stored:
        def holders_now() -> list[Holder]:
            request = _request(UploadPartsRequest, call)
            request.after, request.limit, request.with_holders = part.number - 1, 1, True
            found: list[PartInfo] = self._directory.call(UPLOAD_PARTS, request).parts
            return found[0].holders if found else []

        return Stored(f"part {part.number} of {call.key!r}", part.digest, part.size, part.holders, holders_now)


def abort_members(upload: UploadInfo) -> Values:
    """The members `AbortDate` and `AbortRuleId`, where the bucket's lifecycle does not wait for ever."""
    goes = upload.aborted
    return {} if goes is None else {"AbortDate": goes.at, "AbortRuleId": goes.rule}


def _request(kind: type[R], call: S3Call) -> R:
    return kind(call.credential, call.bucket, check_key(call.key), upload_id(call))


def upload_id(call: S3Call) -> str:
    """The call's UploadId as the directory can be asked for it: what is too long to be one stays none when it is cut.

    It is asked in any case, because who may not know of the bucket must not hear of its uploads either.
    """
    text: str = call.values["UploadId"]
    return text[:MAX_UPLOAD_ID] or "-"


def _no_such_upload(id: str) -> S3Error:
    return S3Error(
        "NoSuchUpload", "there is no such upload: it was completed or aborted, or its id is wrong", UploadId=id[:256]
    )


def _write_id(upload_id: str) -> str:
    return f"complete-{upload_id:0>7}"  # as long as a write's name must be, whatever somebody calls an upload


def _wanted_checksum(call: S3Call) -> tuple[Algorithm | None, str]:
    name, kind = call.get("ChecksumAlgorithm"), call.get("ChecksumType")
    if name is None:
        if kind is not None:
            raise S3Error("InvalidRequest", "x-amz-checksum-type needs an x-amz-checksum-algorithm")
        return None, ""
    algorithm = checksums.by_name(name)
    kind = kind or ("FULL_OBJECT" if algorithm.name == "CRC64NVME" else "COMPOSITE")
    if kind == "FULL_OBJECT" and algorithm.combine is None:
        raise S3Error("InvalidRequest", f"{algorithm.name} has no FULL_OBJECT form for multipart uploads")
    if kind == "COMPOSITE" and algorithm.name == "CRC64NVME":
        raise S3Error("InvalidRequest", "CRC64NVME has no COMPOSITE form")
    return algorithm, kind


def _completing_key(call: S3Call, told: UploadPartsReply, named: Sequence[Values]) -> ContentKey | None:
    """What the parts are under. A customer's key need not come with a completion, unless checksums do."""
    key = customer_key(call.values)
    if key is not None or not needs_customer_key(told.upload):
        return upload_key(told, key)
    members = {algorithm.member for algorithm in checksums.ALGORITHMS.values()}
    if any(members & values.keys() for values in (call.values, *named)):
        raise S3Error(
            "InvalidRequest",
            "the upload was begun with a customer's key (SSE-C): its checksums can only be compared when that key is "
            "sent along",
        )
    return None


def _answer(call: S3Call, version: FileVersion) -> Values:
    environ = call.request.environ
    place = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{quote(call.request.resource)}"
    return {
        "Location": place,
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{etag_of(version)}"',
        **checksums_of(version),
        **version_id_of(version),
        **expiration_of(version),
        **said(version.metadata),
    }
