"""CompleteMultipartUpload. No content is copied: the directory makes the version in the transaction ending the upload.

The steps, and where each lives:

1. `completion` reads what the request names: parts, checksums, conditions, perhaps a key.
2. The directory lists the upload's parts and their holders; those of an encrypted upload are decrypted where the key is
   there (`objects.object_encryption`).
3. `chosen_parts` checks the named parts against the uploaded ones and computes size, ETag and checksum of the whole.
4. The file store joins the parts' manifests and sends them to a master that has the chunks; the directory commits.
5. The reply. The write is named after the upload, so a client that lost it and completes again gets the same reply:
   while the version exists, and for a day after it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

import msgspec

from client_proxy.core.composition import Stored
from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Compose, Stat
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.multipart.chosen_parts import Choice, bare_etag, choose, stored_metadata, whole_etag
from client_proxy.doors.s3.multipart.completion import Completion, read_completion
from client_proxy.doors.s3.multipart.uploads import upload_id, upload_request
from client_proxy.doors.s3.objects.conditional import write_preconditions
from client_proxy.doors.s3.objects.object_encryption import (
    decrypted_part,
    decrypted_version,
    is_encrypted,
    key_of,
    needs_customer_key,
    parts_of,
    upload_key,
)
from client_proxy.doors.s3.objects.object_metadata import (
    OWN,
    checksums_of,
    etag_of,
    expiration_of,
)
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import copies_header
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import written_version_id
from client_proxy.doors.s3.security.encryption import encryption_members
from client_proxy.encryption.content_keys import ContentKey
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, Holder
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.uploads import (
    UPLOAD_PARTS,
    PartInfo,
    UploadPartsReply,
    UploadPartsRequest,
    VersionPart,
)
from lockstep_store.wire.messages.writes import UploadStep

_ATTEMPTS = 3
"""A part that is sent again during the completion makes another look necessary."""


class CompletionFiles(Protocol):
    """The file store as CompleteMultipartUpload uses it."""

    def stat(self, request: Stat) -> FileVersion: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...
    def compose(self, request: Compose, contents: Sequence[Stored]) -> CommittedReply: ...
    def composed_before(self, request: Compose) -> FileVersion | None: ...


class CompleteHandlers:
    """CompleteMultipartUpload."""

    def __init__(self, files: CompletionFiles, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def handlers(self) -> Handlers:
        return {"CompleteMultipartUpload": self.complete}

    def complete(self, call: S3Call) -> Values:
        """CompleteMultipartUpload."""
        completion = read_completion(call)
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                return self._complete(call, completion)
            except Conflict:
                if not attempts_left:
                    raise
        raise AssertionError("unreachable")

    def _complete(self, call: S3Call, completion: Completion) -> Values:
        id = upload_id(call)
        try:
            found, parts = self._all_parts(call)
        except NotFound as error:
            if "upload" not in error.facts:
                raise
            return self._completed_before(call, completion)
        upload, key = found.upload, _completing_key(found, completion)
        choice = choose(completion, upload, {number: decrypted_part(part, key) for number, part in parts.items()})
        committed = self._commit(call, completion, choice, is_encrypted(upload))
        if etag_of(committed.version) != choice.metadata[f"{OWN}etag"]:  # a completion of other parts was first
            raise _no_such_upload(id)
        call.headers.append(copies_header(committed.copies))
        made = committed.version
        return _reply(call, msgspec.structs.replace(made, metadata=made.metadata | choice.metadata))

    def _commit(self, call: S3Call, completion: Completion, choice: Choice, encrypted: bool) -> CommittedReply:
        id = upload_id(call)
        numbers, mark = choice.step_mark
        return self._files.compose(
            Compose(
                call.credential,
                call.bucket,
                call.key,
                upload=UploadStep(id, chosen=numbers, mark=mark),
                write_id=_write_id(id),
                lock_number=completion.conditions.lock_number,
                preconditions=write_preconditions(
                    self._files, call.credential, call.bucket, call.key, completion.conditions
                ),
                metadata=stored_metadata(choice.metadata) if encrypted else choice.metadata,
            ),
            [self._stored(call, part) for part in choice.parts],
        )

    def _completed_before(self, call: S3Call, completion: Completion) -> Values:
        """The reply of an earlier completion of the same parts; NoSuchUpload when there was none."""
        id = upload_id(call)
        version = self._files.composed_before(
            Compose(call.credential, call.bucket, call.key, upload=UploadStep(id), write_id=_write_id(id))
        )
        if version is None or etag_of(version) != whole_etag([bare_etag(part["ETag"]) for part in completion.parts]):
            raise _no_such_upload(id)
        return _reply(call, self._with_checksum(call, completion, version))

    def _with_checksum(self, call: S3Call, completion: Completion, version: FileVersion) -> FileVersion:
        """Return `version` with the checksum that can only be computed with its key.

        Without it when the version is gone, or when the caller may complete but not read.
        """
        if KMS_ENTRY not in version.metadata and completion.customer_key is None:
            return version
        try:
            found = self._files.stat(Stat(call.credential, call.bucket, call.key, version=version.version))
            key = key_of(found, completion.customer_key)
            return decrypted_version(found, key, parts_of(self._files, call.credential, found, key))
        except (NotFound, Forbidden):
            return version

    def _all_parts(self, call: S3Call) -> tuple[UploadPartsReply, dict[int, PartInfo]]:
        found: dict[int, PartInfo] = {}
        after = 0
        while True:
            request = upload_request(UploadPartsRequest, call)
            request.after, request.with_holders = after, True
            reply = self._directory.call(UPLOAD_PARTS, request)
            found |= {part.number: part for part in reply.parts}
            if not reply.truncated:
                return reply, found
            after = reply.parts[-1].number

    def _stored(self, call: S3Call, part: PartInfo) -> Stored:
        def holders_now() -> list[Holder]:
            request = upload_request(UploadPartsRequest, call)
            request.after, request.limit, request.with_holders = part.number - 1, 1, True
            found: list[PartInfo] = self._directory.call(UPLOAD_PARTS, request).parts
            return found[0].holders if found else []

        return Stored(f"part {part.number} of {call.key!r}", part.digest, part.size, part.holders, holders_now)


def _no_such_upload(id: str) -> S3Error:
    return S3Error(
        "NoSuchUpload",
        "there is no such upload: it was completed or aborted, or its id is wrong",
        UploadId=id[:256],
    )


def _write_id(upload_id: str) -> str:
    return f"complete-{upload_id:0>7}"  # padded to the least length of a write id


def _completing_key(found: UploadPartsReply, completion: Completion) -> ContentKey | None:
    """The key of the parts. A customer's key is needed only to compare checksums."""
    key = completion.customer_key
    if key is not None or not needs_customer_key(found.upload):
        return upload_key(found, key)
    if completion.has_checksums:
        raise S3Error(
            "InvalidRequest",
            "the upload is encrypted with a customer's key (SSE-C): send that key to have its checksums compared",
        )
    return None


def _reply(call: S3Call, version: FileVersion) -> Values:
    environ = call.request.environ
    place = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{quote(call.request.resource)}"
    return {
        "Location": place,
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{etag_of(version)}"',
        **checksums_of(version),
        **written_version_id(version),
        **expiration_of(version),
        **encryption_members(version.metadata),
    }
